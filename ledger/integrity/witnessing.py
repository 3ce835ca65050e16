"""Having checkpoints cosigned by the witnesses of a policy.

Nothing waits for it: a witness that does not answer, or refuses, stops no recording and no sealing. It is told of in
the log of the process, in /readyz and in /metrics.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from typing import NamedTuple
from uuid import UUID

from ledger.errors import InputError, IntegrityFailed, NotFound, Unavailable
from ledger.integrity.cosignatures import (
    WitnessState,
    add_cosignature,
    forget_others,
    read_states,
    write_state,
)
from ledger.integrity.policy import Policy, Witness, parse_policy
from ledger.integrity.tree import StoredCheckpoint, consistency_of, read_newest_checkpoint
from ledger.integrity.witness import Asked, Cosignature, Post, post_body, request_cosignature
from ledger.settings import Settings
from ledger.store.database import Database
from ledger.store.leases import give_lease_back, take_lease

log = logging.getLogger(__name__)

WITNESS_EVERY_S = 5.0
"""How long a log that goes on waits after it was cosigned: public witnesses want few requests a day."""
BACK_OFF_MAX_S = 300.0
POLL_S = 1.0
LEASE_S = 60.0
_PURPOSE = "witness"
_HEADS = "SELECT account_id, name, head FROM ledger_heads() ORDER BY name"


class Witnessed(NamedTuple):
    """What came of asking all witnesses of an account: the size asked about, and how each fared."""

    size: int
    states: tuple[WitnessState, ...]
    is_met: bool
    """Whether the cosignatures of this size meet the policy."""


class AccountWitnessing:
    """Has the checkpoints of one account cosigned."""

    def __init__(
        self, database: Database, account_id: UUID, account: str, policy: Policy, *, post: Post = post_body
    ) -> None:
        self._database = database
        self._account_id = account_id
        self._account = account
        self._policy = policy
        self._post = post

    def witness(self, among: Callable[[Witness], bool] = lambda _: True) -> Witnessed:
        """Asks those `among` the witnesses that have a URL about the newest checkpoint. Raises NotFound where there is
        none yet."""
        with self._database.transaction(self._account_id) as connection:
            newest = read_newest_checkpoint(connection, self._account_id)
            known = read_states(connection, self._account_id)
            forget_others(connection, self._account_id, [each.key for each in self._policy.witnesses.values()])
        if newest is None:
            raise NotFound(f"The log of account {self._account} has no checkpoint yet that could be witnessed.")
        states = [
            self._ask(each, newest, known.get(each.key) or WitnessState(each.key, 0))
            for each in self._policy.witnesses.values()
            if each.url is not None and among(each)
        ]
        cosigned = {state.key for state in {**known, **{each.key: each for each in states}}.values()
                    if state.size == newest.size}  # fmt: skip
        return Witnessed(newest.size, tuple(states), self._policy.is_met(cosigned))

    def _ask(self, witness: Witness, newest: StoredCheckpoint, before: WitnessState) -> WitnessState:
        """One witness. The cosignature and the state are written together: lost, it is asked for again."""
        if before.size == newest.size and before.failure is None:
            return before
        assert witness.url is not None
        cosignature: Cosignature | None = None
        asked = Asked(newest.size, newest.note, lambda old: self._prove(old, newest.size))
        try:
            cosignature = request_cosignature(witness.url, witness.key, asked, old=before.size, post=self._post)
            after = WitnessState(witness.key, newest.size)
        except (IntegrityFailed, Unavailable) as error:
            after = WitnessState(witness.key, before.size, error.message, isinstance(error, IntegrityFailed))
        if after.failure is not None and (after.failure, after.refused) != (before.failure, before.refused):
            level = logging.ERROR if after.refused else logging.WARNING
            log.log(level, "the log of account %s is not cosigned: %s", self._account, after.failure)
        with self._database.transaction(self._account_id) as connection:
            if cosignature is not None:
                add_cosignature(connection, self._account_id, newest.size, witness.key, cosignature)
            write_state(connection, self._account_id, after)
        return after

    def _prove(self, old: int, size: int) -> list[bytes]:
        with self._database.transaction(self._account_id) as connection:
            proof = consistency_of(connection, self._account_id, old, size)
        if proof is None:
            raise IntegrityFailed(f"The log of account {self._account} has lost tiles. `ledger verify` tells more.")
        return proof


@dataclass(slots=True)
class _Turn:
    """When an account or a witness is asked next."""

    head: int = -1
    not_before: float = 0.0
    failures: int = 0


class Witnessing:
    """Has the logs of all accounts cosigned. Any number may run."""

    def __init__(self, database: Database, policy: Policy, *, post: Post = post_body) -> None:
        self._database = database
        self._policy = policy
        self._post = post
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._accounts: dict[UUID, _Turn] = {}
        self._witnesses: dict[tuple[UUID, str], _Turn] = {}

    def follow(self, stop_event: Event) -> None:
        """Asks until `stop_event` is set. Outlives the database and the witnesses."""
        while not stop_event.is_set():
            try:
                self.look_once(stop_event)
            except Unavailable as error:
                log.warning("witnessing waits for the database: %s", error)
            stop_event.wait(POLL_S)

    def look_once(self, stop_event: Event | None = None) -> None:
        """Asks about each account that has new events, or that a witness still owes a cosignature, and whose turn it
        is."""
        with self._database.connection() as connection:
            heads = connection.execute(_HEADS).fetchall()
        for account_id, account, head in heads:
            if stop_event is not None and stop_event.is_set():
                return
            turn = self._accounts.setdefault(account_id, _Turn())
            if head and head != turn.head and time.monotonic() >= turn.not_before:
                turn.not_before = time.monotonic() + WITNESS_EVERY_S
                self._look_at(account_id, account, head, turn)

    def _look_at(self, account_id: UUID, account: str, head: int, turn: _Turn) -> None:
        with self._database.transaction(account_id) as connection:
            if not take_lease(connection, account_id, _PURPOSE, self._holder, seconds=LEASE_S):
                return
        try:
            witnessing = AccountWitnessing(self._database, account_id, account, self._policy, post=self._post)
            witnessed = witnessing.witness(lambda witness: self._is_due(account_id, witness))
            for state in witnessed.states:
                self._note(account_id, state)
            asked = len(witnessed.states) == sum(each.url is not None for each in self._policy.witnesses.values())
            if asked and all(state.size == head and state.failure is None for state in witnessed.states):
                turn.head = head
        except NotFound:
            return  # not sealed yet
        finally:
            with self._database.transaction(account_id) as connection:
                give_lease_back(connection, account_id, _PURPOSE, self._holder)

    def _is_due(self, account_id: UUID, witness: Witness) -> bool:
        return time.monotonic() >= self._turn(account_id, witness.key.name).not_before

    def _note(self, account_id: UUID, state: WitnessState) -> None:
        """A witness that failed is left alone for longer each time."""
        turn = self._turn(account_id, state.key.name)
        turn.failures = 0 if state.failure is None else turn.failures + 1
        pause = min(WITNESS_EVERY_S * 2**turn.failures, BACK_OFF_MAX_S) if turn.failures else 0.0
        turn.not_before = time.monotonic() + pause

    def _turn(self, account_id: UUID, witness: str) -> _Turn:
        return self._witnesses.setdefault((account_id, witness), _Turn())


def open_policy(settings: Settings) -> Policy | None:
    """The policy that the settings name. Raises InputError, Unavailable where it cannot be read."""
    return None if settings.witness_policy is None else read_policy(settings.witness_policy)


def read_policy(path: Path) -> Policy:
    """The policy in a file. Raises InputError, Unavailable where it cannot be read."""
    try:
        return parse_policy(path.read_bytes())
    except OSError as error:
        raise Unavailable(f"The witness policy {path} cannot be read: {error}.") from error
    except InputError as error:
        raise InputError(f"{path}: {error.message}") from error
