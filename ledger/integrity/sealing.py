"""Sealing: the events of an account become leaves of its tree, and the tree's head is signed.

Every step says what a crash before and after it leaves behind. Two things must never happen, whoever is killed when,
and whatever the database says: that one size gets two roots, and that a head is signed over events that are not there.

What they rest on:

- events are never changed, and positions have no gap: the leaves of positions 1 to n are the same whoever makes them,
  whenever, so a tree that is built again is the same tree;
- the tree moves by compare-and-set in the transaction that writes its tiles, under a lock on its row;
- a head is signed only when it extends, by a checked consistency proof, the last head that this key signed, which is
  kept in a file outside the database (ledger.integrity.signed_heads).
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from threading import Event
from uuid import UUID

from ledger.errors import IntegrityFailed, LedgerError, Unavailable
from ledger.integrity.checkpoint import Checkpoint, format_checkpoint
from ledger.integrity.entries import WINDOW_EVENTS, EntryReader
from ledger.integrity.merkle import check_consistency, leaf_hash
from ledger.integrity.note import sign_note
from ledger.integrity.signed_heads import SignedHeads
from ledger.integrity.states import forget_failure, note_failure
from ledger.integrity.tiles import grow, root_in_tiles
from ledger.integrity.tree import (
    StoredCheckpoint,
    Tree,
    add_checkpoint,
    consistency_of,
    move_tree,
    open_checkpoint,
    read_edge,
    read_head,
    read_newest_checkpoint,
    read_tree,
)
from ledger.store.database import Database
from ledger.store.leases import give_lease_back, take_lease

log = logging.getLogger(__name__)

SEAL_EVERY_S = 0.5
"""How long an account with new events waits after its last checkpoint: at most 1 s from append to checkpoint, with room
for the work itself, and no more than two checkpoints a second."""
POLL_S = 0.2
"""How often the heads are looked at."""
LEASE_S = 20.0
ADVANCE_S = 0.4
"""A tree that is far behind gets a checkpoint about this often, and other accounts get their turn."""
LOOK_AGAIN_S = 30.0
"""When a log that was found altered is looked at again."""
ACCOUNTS_KEPT_MAX = 1_000
_PURPOSE = "seal"
_HEADS = "SELECT account_id, name, head FROM ledger_heads() ORDER BY name"


class AccountSealer:
    """Seals the log of one account. Any number may, in one process or many."""

    def __init__(self, database: Database, account_id: UUID, account: str, heads: SignedHeads) -> None:
        self._database = database
        self._account_id = account_id
        self._account = account
        self._keys = heads.keys
        self._heads = heads
        self._reader = EntryReader(account_id)

    def seal(self, *, within_s: float | None = None) -> Checkpoint | None:
        """Moves the tree on to the head of the log, or as far as it comes in `within_s`, and signs it.

        Returns the newest checkpoint, None for an account without events. Raises IntegrityFailed where the database
        does not continue what was signed.
        """
        tree = self._advance(within_s)
        return self._publish() if tree.size else None

    def check(self) -> None:
        """Before the first seal: the database still holds what was signed. Raises IntegrityFailed where it was put back
        to an older state, or where the log went another way."""
        with self._heads.locked(self._account_id):
            signed = self._signed()
            tree = self._tree()
            if any(each.size > tree.size for each in signed):  # tiles may be made again, events may not
                tree = self._advance(None)
            for each in signed:
                self._check_extends(each, tree)

    def _advance(self, within_s: float | None) -> Tree:
        """Adds leaves for the events that have none. Windows of events, a transaction each.

        Killed before a commit: PostgreSQL takes the window back, tiles and size together. After one: the next sealer
        goes on behind it. Nothing was signed in either case.
        """
        deadline = None if within_s is None else time.monotonic() + within_s
        while True:
            tree, is_behind = self._advance_window()
            if not is_behind or (deadline is not None and time.monotonic() > deadline):
                return tree

    def _advance_window(self) -> tuple[Tree, bool]:
        """The tree after one window of events, and whether there may be more."""
        with self._database.transaction(self._account_id) as connection:
            # A bulk append may commit without waiting for the disk. What is signed must be on the disk: the log is
            # written in order, so when this commit has reached the disk, so have the events that it read.
            connection.execute("SET LOCAL synchronous_commit = on")
            before = read_tree(connection, self._account_id, lock=True)
            head = read_head(connection, self._account_id)
            if head < before.size:
                raise self._went_back(head, before.size)
            entries = self._reader.read(connection, before.size, before.size + WINDOW_EVENTS)
            if not entries:
                return before, False
            # A root in the database is believed only as far as its tiles give it, and in the end only as far as it
            # extends what was signed: see _publish.
            edge = read_edge(connection, self._account_id, before)
            tiles = grow(before.size, edge, [leaf_hash(entry) for entry in entries])
            size = before.size + len(entries)
            known = edge | tiles
            after = Tree(size, root_in_tiles(size, lambda level, number: known[level, number]))
            if not move_tree(connection, self._account_id, before, after, tiles):
                return before, True  # another sealer began the tree in this moment; its tiles are as good as ours
        return after, len(entries) == WINDOW_EVENTS

    def _publish(self) -> Checkpoint:
        """Signs the tree and stores the checkpoint. The order is the point.

        1. The tree was committed, and with it the events it covers are on the disk (_advance_window). It is read again
           under the file lock: whoever moved it on since, it is at least what was signed by anybody here.
        2. The head extends the last one signed, or nothing happens.
        3. It is signed, in memory. A crash here: the signature is gone and nobody saw it.
        4. The signed head goes into the file, durably. A crash after this: the head is signed but not published. The
           next sealer finds it in the file, larger than the newest checkpoint, and goes on from it; the tree has it
           (1), so its own head extends it.
        5. The checkpoint goes into the database. Failed, or done with the answer lost: as after 4. Done by another
           sealer with the same tree: the signature is the same too, for Ed25519 is deterministic.
        """
        with self._heads.locked(self._account_id):
            tree = self._tree()
            for each in self._signed():
                self._check_extends(each, tree)
            checkpoint = Checkpoint(self._keys.origin(self._account), tree.size, tree.root)
            note = sign_note(format_checkpoint(checkpoint), [self._keys.signer(self._account)])
            self._heads.write(self._account_id, note)
        self._store(StoredCheckpoint(tree.size, tree.root, note.format()))
        return checkpoint

    def _signed(self) -> list[Checkpoint]:
        """What this log must go on from: the head in the file, and the newest checkpoint in the database, which another
        machine may have signed. Where the file was lost, the latter alone."""
        seen = self._heads.read(self._account_id, self._account)
        with self._database.transaction(self._account_id) as connection:
            newest = read_newest_checkpoint(connection, self._account_id)
        if newest is None:
            return [] if seen is None else [seen]
        try:
            return [*([] if seen is None else [seen]), open_checkpoint(newest, self._keys.trusted(self._account))]
        except LedgerError as error:
            raise IntegrityFailed(
                f"The newest checkpoint of account {self._account} in the database is not one of this key: "
                f"{error.message} Nothing is signed. If the key was replaced, put the public key of the old one below "
                "the new one in the key file."
            ) from error

    def _tree(self) -> Tree:
        with self._database.transaction(self._account_id) as connection:
            return read_tree(connection, self._account_id)

    def _check_extends(self, signed: Checkpoint, tree: Tree) -> None:
        """That the tree begins with a head that was signed, shown by a proof from the tiles, as a witness would ask
        for: whatever the tiles are, none that lie can pass it."""
        if signed.size > tree.size:
            raise self._went_back(tree.size, signed.size)
        with self._database.transaction(self._account_id) as connection:
            proof = consistency_of(connection, self._account_id, signed.size, tree.size)
        if proof is None or not check_consistency(signed.size, tree.size, signed.root, tree.root, proof):
            raise IntegrityFailed(
                f"The log of account {self._account} with {tree.size} events does not begin with the {signed.size} "
                "that were signed: events or tiles were altered, or the database went another way than the one that "
                "was signed. Nothing is signed. `ledger verify` tells where (docs/integrity.md, 'After a restore')."
            )

    def _went_back(self, found: int, signed: int) -> IntegrityFailed:
        return IntegrityFailed(
            f"The log of account {self._account} has {found} events, but {signed} were signed: the database was put "
            "back to an older state, or events were removed. Nothing is signed. Restore a newer backup, one with at "
            f"least {signed} events of this account (docs/integrity.md, 'After a restore')."
        )

    def _store(self, checkpoint: StoredCheckpoint) -> None:
        """The newest checkpoint is this one or a larger one afterwards."""
        with self._database.transaction(self._account_id) as connection:
            connection.execute("SET LOCAL synchronous_commit = on")
            read_tree(connection, self._account_id, lock=True)  # others who store one wait here
            newest = read_newest_checkpoint(connection, self._account_id)
            if newest is None or newest.size < checkpoint.size:
                add_checkpoint(connection, self._account_id, checkpoint)


class Sealer:
    """Seals the logs of all accounts. Any number may run."""

    def __init__(self, database: Database, heads: SignedHeads) -> None:
        self._database = database
        self._heads = heads
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._sealers: dict[UUID, AccountSealer] = {}
        self._sealed: dict[UUID, int] = {}
        self._not_before: dict[UUID, float] = {}
        self._told_sound: set[UUID] = set()

    def account(self, account_id: UUID, account: str) -> AccountSealer:
        if account_id not in self._sealers:
            while len(self._sealers) >= ACCOUNTS_KEPT_MAX:
                self._sealers.pop(next(iter(self._sealers)))
            self._sealers[account_id] = AccountSealer(self._database, account_id, account, self._heads)
        return self._sealers[account_id]

    def check(self) -> None:
        """Before anything is served: no log is other than it was signed. Raises IntegrityFailed."""
        for account_id, account, _ in self._accounts():
            self.account(account_id, account).check()

    def follow(self, stop_event: Event) -> None:
        """Seals what is appended until `stop_event` is set. Outlives the database; an account whose log is not as it
        was signed is left alone and told of in the log of the process, /readyz and /metrics, again and again."""
        while not stop_event.is_set():
            try:
                self.look_once(stop_event)
            except Unavailable as error:
                log.warning("sealing waits for the database: %s", error)
            stop_event.wait(POLL_S)

    def look_once(self, stop_event: Event | None = None) -> None:
        """Seals each account that has new events and whose turn it is."""
        for account_id, account, head in self._accounts():
            if stop_event is not None and stop_event.is_set():
                return
            now = time.monotonic()
            if head > self._sealed.get(account_id, 0) and now >= self._not_before.get(account_id, 0.0):
                self._not_before[account_id] = now + SEAL_EVERY_S
                self._seal(account_id, account)

    def _seal(self, account_id: UUID, account: str) -> None:
        """Under a lease, which saves two sealers from doing the same work; what keeps it right is in AccountSealer."""
        with self._database.transaction(account_id) as connection:
            if not take_lease(connection, account_id, _PURPOSE, self._holder, seconds=LEASE_S):
                return
        try:
            checkpoint = self.account(account_id, account).seal(within_s=ADVANCE_S)
            self._sealed[account_id] = checkpoint.size if checkpoint else 0
            self._tell_sound(account_id)
        except IntegrityFailed as error:
            log.error("the log of account %s is not sealed: %s", account, error)
            self._not_before[account_id] = time.monotonic() + LOOK_AGAIN_S
            self._told_sound.discard(account_id)
            with self._database.transaction(account_id) as connection:
                note_failure(connection, account_id, error.message)
        finally:
            with self._database.transaction(account_id) as connection:
                give_lease_back(connection, account_id, _PURPOSE, self._holder)

    def _tell_sound(self, account_id: UUID) -> None:
        """Once in this process, and again after each failure: another one may have failed before."""
        if account_id not in self._told_sound:
            with self._database.transaction(account_id) as connection:
                forget_failure(connection, account_id)
            self._told_sound.add(account_id)

    def _accounts(self) -> list[tuple[UUID, str, int]]:
        with self._database.connection() as connection:
            return connection.execute(_HEADS).fetchall()
