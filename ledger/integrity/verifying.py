"""Verifying an account's log: everything is computed again from the events and compared with what was signed.

Nothing that was stored is believed but the signatures of trusted keys. The events give leaves, the leaves a tree; its
roots must be those of every checkpoint, of the last head signed and of the last head that the verifier saw. Then the
stored tiles are compared too: where the roots are wrong, the first leaf that differs from its tile is the first event
that was altered; where they are right, a tile was.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection

from ledger.domain.tally import Tally
from ledger.errors import IntegrityFailed, LedgerError
from ledger.integrity.checkpoint import Checkpoint
from ledger.integrity.entries import WINDOW_EVENTS, read_erased, read_not_erased, read_sealed_versions, tally_of_batch
from ledger.integrity.leaf import Commitments, LeafEncoder, Sealed
from ledger.integrity.merkle import EMPTY_ROOT, HASH_SIZE, leaf_hash, node_hash, paired
from ledger.integrity.note import Key
from ledger.integrity.signed_heads import SignedHeads
from ledger.integrity.tiles import TILE_HEIGHT, TILE_WIDTH, split_hashes
from ledger.integrity.tree import (
    StoredCheckpoint,
    Tree,
    open_checkpoint,
    read_checkpoints,
    read_head,
    read_last_position,
    read_tile_counts,
    read_tiles,
    read_tree,
    read_upper_tiles,
)
from ledger.store.database import Database
from ledger.store.mapper import is_record_topic

ALTERED_KEPT_MAX = 64
"""Altered events that are looked at more closely, to tell how they were altered."""
FINDINGS_MAX = 100
_COUNTED = {
    "record-created": "created",
    "record-deleted": "deleted",
    "record-unmodified": "unmodified",
    "record-failed": "failed",
}

_OF_EVENTS = frozenset(("changed", "removed", "inserted", "swapped", "moved", "emptied"))
"""Kinds that say which event was altered; what its batch counts follows from it."""

OnProgress = Callable[[int, int], None]
"""Told how many events were verified, of how many."""


class Finding(NamedTuple):
    """Something that is not as it must be. `position`: the first that is wrong, None where no event is."""

    kind: str
    detail: str
    position: int | None = None

    def as_dict(self) -> dict[str, Any]:
        return self._asdict()


class Expected(NamedTuple):
    """A root that the tree must have at a size, and who says so."""

    checkpoint: Checkpoint
    source: str


@dataclass(slots=True)
class Verdict:
    """What was verified: `size` events, of which the first `signed` are under a signed head."""

    size: int = 0
    root: bytes = EMPTY_ROOT
    signed: int = 0
    checkpoints: int = 0
    newest: StoredCheckpoint | None = None
    findings: list[Finding] = field(default_factory=list)

    def add(self, kind: str, detail: str, position: int | None = None) -> None:
        if len(self.findings) < FINDINGS_MAX:
            self.findings.append(Finding(kind, detail, position))

    def as_dict(self) -> dict[str, Any]:
        """JSON values."""
        return {
            "verified": not self.findings,
            "events": self.size,
            "signed": self.signed,
            "checkpoints": self.checkpoints,
            "root": self.root.hex(),
            "first_position": self.first_position,
            "findings": [each.as_dict() for each in self.findings],
        }

    @property
    def first_position(self) -> int | None:
        """The first position that is wrong."""
        return min((each.position for each in self.findings if each.position is not None), default=None)


def verify_log(
    database: Database,
    account_id: UUID,
    trusted: Sequence[Key],
    seen: Sequence[Expected] = (),
    on_progress: OnProgress = lambda _done, _all: None,
) -> Verdict:
    """Verifies the whole log. `seen`: heads known from elsewhere, which the log must extend."""
    return _LogVerification(database, account_id, trusted, seen, on_progress).run()


def signed_last(signing: SignedHeads, account_id: UUID, account: str) -> list[Expected]:
    """The last head that the key signed, where it is kept here. Raises IntegrityFailed for a damaged one."""
    with signing.locked(account_id):
        signed = signing.read(account_id, account)
    return [] if signed is None else [Expected(signed, "head signed last")]


class _Altered(NamedTuple):
    """An event whose leaf is not the one in its tile."""

    event: Sealed
    tally: Tally | None
    erased: Commitments | None
    stored: bytes


class _LogVerification:
    def __init__(
        self, database: Database, account_id: UUID, trusted: Sequence[Key], seen: Sequence[Expected], tell: OnProgress
    ) -> None:
        self._database = database
        self._account_id = account_id
        self._trusted = trusted
        self._tell = tell
        self._encoder = LeafEncoder(account_id)
        self._verdict = Verdict()
        self._expected: dict[int, list[Expected]] = {}
        for each in seen:
            self._expected.setdefault(each.checkpoint.size, []).append(each)
        self._rules = _StreamRules(self._verdict)
        self._stack: list[tuple[int, bytes]] = []
        """Complete subtrees from the left, each with its number of leaves: their fold is the root."""
        self._size = 0
        self._sizes: list[int] = []
        """At which a root is wanted."""
        self._tree_size = 0
        self._tree_root: bytes | None = None
        self._upper: dict[int, list[bytes]] = {}
        """The hashes of each level of tiles from 1 on, computed from the events."""
        self._altered: list[_Altered] = []
        self._altered_count = 0
        self._wrong_roots: list[Expected] = []
        self._right_size = 0

    def run(self) -> Verdict:
        verdict = self._verdict
        with self._database.transaction(self._account_id) as connection:
            stored = read_checkpoints(connection, self._account_id)
            tree = read_tree(connection, self._account_id)
            last = read_last_position(connection)  # before the head: an append in between moves that on
            head = read_head(connection, self._account_id)
        self._expect_checkpoints(stored)
        if last > head:
            verdict.add("inserted", f"Events stand after the head {head} of the log.", head + 1)
        if tree.size > head:
            verdict.add("removed", f"The tree has {tree.size} events, the log {head}: the newest are gone.", head + 1)
        self._tree_size = tree.size
        self._sizes = sorted({*self._expected, tree.size})
        at = 0
        while at < head:
            end = min(at + WINDOW_EVENTS, head)
            with self._database.transaction(self._account_id) as connection:
                self._window(connection, at, end, tree)
            at = end
            self._tell(at, head)
        self._rules.end()
        self._judge()
        with self._database.transaction(self._account_id) as connection:
            self._compare_tiles(connection, tree)
        verdict.size, verdict.root = self._size, self._root()
        if any(each.kind in _OF_EVENTS for each in verdict.findings):  # a batch may be wrong before its wrong event
            verdict.findings = [each for each in verdict.findings if each.kind != "counts"]
        verdict.findings.sort(key=_by_position)
        return verdict

    # What is expected.

    def _expect_checkpoints(self, stored: Sequence[StoredCheckpoint]) -> None:
        verdict = self._verdict
        for each in stored:
            try:
                checkpoint = open_checkpoint(each, self._trusted)
            except LedgerError as error:
                verdict.add("checkpoint", f"The checkpoint of size {each.size} is not one: {error.message}", each.size)
                continue
            self._expected.setdefault(each.size, []).append(Expected(checkpoint, "checkpoint"))
            verdict.newest = each
        verdict.checkpoints = len(stored)
        verdict.signed = max(self._expected, default=0)
        newest = verdict.newest.size if verdict.newest else 0
        for size, heads in self._expected.items():
            for head in heads:
                if size > newest:
                    verdict.add("checkpoint", f"The {head.source} of size {size} has no checkpoint in the log.", size)

    # The pass over the events.

    def _window(self, connection: Connection[Any], after: int, last: int, tree: Tree) -> None:
        rows = read_sealed_versions(connection, after, last)
        stored = self._stored_leaves(connection, after, min(last, tree.size))
        if len(rows) == last - after and rows[0][0].position == after + 1 and rows[-1][0].position == last:
            events = [event for event, _ in rows]
        else:
            events = self._tell_missing(rows, after, last)
        counts = self._rules.read(rows)
        emptied = [each.position for each in events if each.salt is None or each.payload is None]
        erased = self._erased(connection, emptied) if emptied else {}
        usable = [each for each in events if each.salt is not None or each.position in erased] if emptied else events
        leaves = list(map(leaf_hash, self._encoder.encode(usable, counts, erased)))
        if len(leaves) < last - after or b"".join(leaves[: len(stored)]) != b"".join(stored):
            leaves = self._compare_leaves(usable, leaves, stored, after, last, counts, erased)
        self._extend(leaves)

    def _compare_leaves(
        self,
        events: Sequence[Sealed],
        leaves: Sequence[bytes],
        stored: Sequence[bytes],
        after: int,
        last: int,
        counts: Mapping[int, Tally],
        erased: Mapping[int, Commitments],
    ) -> list[bytes]:
        """Notes the events whose leaf is not the stored one. One leaf a position; in place of one that is missing, what
        is stored, so that the positions after it are still looked at."""
        known = {event.position: (event, leaf) for event, leaf in zip(events, leaves, strict=True)}
        found: list[bytes] = []
        for position in range(after + 1, last + 1):
            kept = stored[position - after - 1] if position - after <= len(stored) else None
            if position not in known:
                found.append(kept or EMPTY_ROOT)
                continue
            event, leaf = known[position]
            found.append(leaf)
            if kept is not None and kept != leaf:
                self._altered_count += 1
                if len(self._altered) < ALTERED_KEPT_MAX:
                    self._altered.append(_Altered(event, counts.get(position), erased.get(position), kept))
        return found

    def _tell_missing(self, rows: Sequence[tuple[Sealed, int]], after: int, last: int) -> list[Sealed]:
        known = {event.position for event, _ in rows}
        for position in range(after + 1, last + 1):
            if position not in known:
                self._verdict.add("removed", f"The event at position {position} is missing.", position)
        return [event for event, _ in rows]

    def _erased(self, connection: Connection[Any], emptied: Sequence[int]) -> Mapping[int, Commitments]:
        for position in read_not_erased(connection, emptied):
            self._verdict.add("emptied", "Salt and payload are gone, and no event says who erased them.", position)
        try:
            return read_erased(connection, emptied)
        except IntegrityFailed:
            pass
        found: dict[int, Commitments] = {}
        for position in emptied:
            try:
                found |= read_erased(connection, [position])
            except IntegrityFailed as error:
                self._verdict.add("emptied", error.message, position)
        return found

    def _stored_leaves(self, connection: Connection[Any], after: int, last: int) -> list[bytes]:
        """The leaf hashes in the tiles, of the positions from after + 1 on; fewer where a tile is not whole."""
        if last <= after:
            return []
        numbers = range(after // TILE_WIDTH, (last - 1) // TILE_WIDTH + 1)
        tiles = read_tiles(connection, self._account_id, [(0, number) for number in numbers])
        found: list[bytes] = []
        for number in numbers:
            hashes = split_hashes(tiles.get((0, number), b""))[: last - number * TILE_WIDTH]
            found += hashes
            if len(hashes) < min(TILE_WIDTH, last - number * TILE_WIDTH):
                first = number * TILE_WIDTH + len(hashes) + 1
                self._verdict.add("tile", f"The tile of level 0, number {number} is not whole.", first)
                break
        return found

    # The tree.

    def _extend(self, leaves: Sequence[bytes]) -> None:
        """Adds leaves: whole tiles at once, where no root is asked for within."""
        at = 0
        while at < len(leaves):
            end = self._size + TILE_WIDTH
            if self._size % TILE_WIDTH == 0 and len(leaves) - at >= TILE_WIDTH and not self._expects(self._size, end):
                row: Sequence[bytes] = leaves[at : at + TILE_WIDTH]
                while len(row) > 1:
                    row = paired(row)
                self._push(row[0], TILE_WIDTH)
                at += TILE_WIDTH
            else:
                self._push(leaves[at], 1)
                at += 1

    def _expects(self, after: int, before: int) -> bool:
        """Whether a root is expected at a size between these two, both excluded."""
        at = bisect_right(self._sizes, after)
        return at < len(self._sizes) and self._sizes[at] < before

    def _push(self, node: bytes, leaves: int) -> None:
        self._size += leaves
        stack = self._stack
        while True:
            level, height = divmod(leaves.bit_length() - 1, TILE_HEIGHT)
            if level and not height:  # over 256, 65,536 ... leaves: a hash of an upper tile
                self._upper.setdefault(level, []).append(node)
            if not stack or stack[-1][0] != leaves:
                break
            node = node_hash(stack.pop()[1], node)
            leaves *= 2
        stack.append((leaves, node))
        if self._size == self._tree_size:
            self._tree_root = self._root()
        if self._size in self._expected:
            self._compare_root()

    def _root(self) -> bytes:
        root = b""
        for _, node in reversed(self._stack):
            root = node_hash(node, root) if root else node
        return root or EMPTY_ROOT

    def _compare_root(self) -> None:
        root = self._root()
        for each in self._expected[self._size]:
            if each.checkpoint.root == root:
                self._right_size = max(self._right_size, self._size)
            else:
                self._wrong_roots.append(each)

    # What it comes to.

    def _judge(self) -> None:
        verdict = self._verdict
        for size, heads in self._expected.items():
            for head in heads:
                if size > self._size:
                    verdict.add(
                        "went-back", f"The {head.source} is of {size} events, the log has {self._size}.", self._size + 1
                    )
        if self._altered and (self._wrong_roots or self._altered[0].event.position > self._right_size):
            first = self._altered[0].event.position
            verdict.add(*self._describe(first))
        elif self._altered:
            first = self._altered[0].event.position
            verdict.add("tile", f"The tile of level 0, number {(first - 1) // TILE_WIDTH} was altered.", first)
        elif self._wrong_roots:
            wrong = self._wrong_roots[0]
            is_signed_twice = any(each.position is not None for each in verdict.findings)
            if not is_signed_twice:
                verdict.add(
                    "rewritten",
                    f"Events and tiles were rewritten together: the {wrong.source} of size {wrong.checkpoint.size} "
                    f"has another root, that of size {self._right_size} the right one. The first altered event is at "
                    f"one of the positions {self._right_size + 1} to {wrong.checkpoint.size}.",
                    self._right_size + 1,
                )

    def _describe(self, first: int) -> tuple[str, str, int]:
        """How the first altered event was altered, as far as the events around it tell."""
        here, by_position = self._altered[0], {each.event.position: each for each in self._altered}
        more = f" {self._altered_count - 1} more events differ." if self._altered_count > 1 else ""
        for at, other in by_position.items():
            if at != first and self._hash_at(here, at) == other.stored:
                if self._hash_at(other, first) == here.stored:
                    return "swapped", f"The events at positions {first} and {at} changed places.{more}", first
                if at == first + 1:
                    return "inserted", f"An event was inserted at position {first}.{more}", first
                return "moved", f"The event of position {at} stands at position {first}.{more}", first
        following = by_position.get(first + 1)
        if following is not None and self._hash_at(here, first + 1) == following.stored:
            return "removed", f"The event of position {first} was removed, those after it were renumbered.{more}", first
        return "changed", f"The event at position {first} was changed after it was recorded.{more}", first

    def _hash_at(self, altered: _Altered, position: int) -> bytes:
        """The leaf that the event would have at another position."""
        event = altered.event._replace(position=position)
        counts = {} if altered.tally is None else {position: altered.tally}
        erased = {} if altered.erased is None else {position: altered.erased}
        return leaf_hash(next(self._encoder.encode([event], counts, erased)))

    def _compare_tiles(self, connection: Connection[Any], tree: Tree) -> None:
        """The upper tiles and the tree's row against what the events give, where that is what was signed. The tree may
        have grown since it was looked at; it stands still here."""
        verdict = self._verdict
        if verdict.findings:
            return  # all of it follows from what was found
        if self._tree_root is not None and self._tree_root != tree.root:
            verdict.add("tree", "The root in log_trees is not the one that the events give.", tree.size)
        now = read_tree(connection, self._account_id, lock=True).size
        stored = read_upper_tiles(connection, self._account_id)
        for level, hashes in self._upper.items():
            width = tree.size // TILE_WIDTH**level
            for number in range((width + TILE_WIDTH - 1) // TILE_WIDTH):
                expected = hashes[number * TILE_WIDTH : min((number + 1) * TILE_WIDTH, width)]
                found = split_hashes(stored.pop((level, number), b""))
                if now > tree.size:
                    found = found[: len(expected)]
                if found != expected:
                    pairs = enumerate(zip(expected, found, strict=False))
                    at = next((at for at, (one, other) in pairs if one != other), min(len(expected), len(found)))
                    position = (number * TILE_WIDTH + at) * TILE_WIDTH**level + 1
                    verdict.add("tile", f"The tile of level {level}, number {number} was altered.", position)
        for level, number in stored:
            if now > tree.size and number * TILE_WIDTH < now // TILE_WIDTH**level:
                continue
            verdict.add("tile", f"There is a tile of level {level}, number {number} too many.")
        count, size = read_tile_counts(connection, self._account_id)
        full = (now + TILE_WIDTH - 1) // TILE_WIDTH
        if (count, size) != (full, now * HASH_SIZE):
            verdict.add("tile", f"{count} tiles of level 0 hold {size // HASH_SIZE} hashes: not {full}, {now}.")


class _StreamRules:
    """Rules of the log itself: streams count their events, batches count their changes."""

    def __init__(self, verdict: Verdict) -> None:
        self._verdict = verdict
        self._versions: Counter[bytes] = Counter()
        self._totals: dict[bytes, Tally] = {}
        self._batch: list[Sealed] = []

    def read(self, events: Sequence[tuple[Sealed, int]]) -> dict[int, Tally]:
        """The counts of the leaves that have them, by position; what breaks a rule is told."""
        counts: dict[int, Tally] = {}
        batch = self._batch
        for event, version in events:
            if is_record_topic(event.topic):
                if version != event.position:
                    self._wrong_version(event, version, event.position)
                batch.append(event)
                continue
            self._versions[event.stream] += 1
            if version != self._versions[event.stream]:
                self._wrong_version(event, version, self._versions[event.stream])
                self._versions[event.stream] = version
            if event.topic == "run-started":
                counts[event.position] = self._totals[event.stream] = Tally()
            elif event.topic == "changes-recorded":
                tally = self._read_batch(event)
                if tally is not None:
                    counts[event.position] = tally
                    self._totals[event.stream] = self._totals.get(event.stream, Tally()) + tally
            elif event.topic in ("run-finished", "run-failed"):
                counts[event.position] = self._totals.get(event.stream, Tally())
            if batch:
                self._uncounted(batch)
                batch.clear()
        return counts

    def end(self) -> None:
        if self._batch:
            self._uncounted(self._batch)

    def _read_batch(self, event: Sealed) -> Tally | None:
        batch, self._batch[:] = list(self._batch), []
        try:
            tally = tally_of_batch(event.position, event.payload)
        except IntegrityFailed as error:
            self._verdict.add("changed", error.message, event.position)
            return None
        first = self._totals.get(event.stream, Tally()).processed + 1
        for number, change in enumerate(batch, first):
            if change.run_id != event.run_id or change.sequence != number:
                found = f"sequence {change.sequence} of run {change.run_id}"
                self._verdict.add(
                    "counts", f"Change {number} of run {event.run_id} must stand here; found {found}.", change.position
                )
                return tally
        if _counted(batch) != _comparable(tally):
            self._verdict.add(
                "counts",
                f"The batch counts {tally.processed} changes of run {event.run_id}; before it stand {len(batch)}, or "
                "of other kinds.",
                event.position,
            )
        return tally

    def _uncounted(self, batch: Sequence[Sealed]) -> None:
        at = batch[-1].position + 1
        self._verdict.add("counts", f"{len(batch)} changes stand before it, and it is not what counts them.", at)

    def _wrong_version(self, event: Sealed, version: int, expected: int) -> None:
        self._verdict.add(
            "version", f"The event has version {version} in its stream, it must be {expected}.", event.position
        )


def _by_position(finding: Finding) -> tuple[bool, int, bool]:
    """The first position first; at one position, what was altered before what follows from it."""
    follows = finding.kind in ("counts", "version", "checkpoint", "went-back")
    return finding.position is None, finding.position or 0, follows


def _counted(batch: Sequence[Sealed]) -> dict[str, int]:
    """Numbers by kind, as far as the topics tell: an update with a word of the producer's counts as `other`."""
    kinds = Counter(_COUNTED.get(each.topic, "updated or other") for each in batch)
    return {name: kinds[name] for name in (*_COUNTED.values(), "updated or other")}


def _comparable(tally: Tally) -> dict[str, int]:
    known = {name: getattr(tally, name) for name in _COUNTED.values()}
    return known | {"updated or other": tally.updated + tally.other}
