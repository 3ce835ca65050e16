"""The short way: updates that nothing came after are taken back by turning them round, many at once.

What an undo of 100,000 plain updates consists of. A change that is the only event of its record since the runs began is
all there is to know of it: its before and after are exchanged. That the record still is as the run left it is held by
the append where the ledger is the book of record (LedgerReverser, here), and by the target's own compare-and-set where
it is not (ledger.undo.reversing_target). What cannot go this way is left to the planner.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Raw

from ledger.connectors.port import Connector, TypeSchema
from ledger.domain.run import Run
from ledger.domain.tally import Tally
from ledger.errors import StreamMoved
from ledger.json_text import join_fields, split_fields
from ledger.store.event_store import AccountStore
from ledger.store.mapper import decode_shape, to_new_event
from ledger.store.recorder import Appended
from ledger.store.rows import BLOCK_ROWS, EventRow, NewEvent
from ledger.store.shapes import RecordShape
from ledger.undo.result import ITEMS_MAX, Applied, UndoResult

_ENCODER = msgspec.json.Encoder()
_PLAIN = msgspec.json.Decoder(dict[str, Any])
_NESTED = (dict, list)
_TOPIC = "record-updated"


class Reversal(NamedTuple):
    """A change to be turned round: `fields` of `shape.before` and `shape.after`, which have the same, in one order."""

    row: EventRow
    shape: RecordShape
    fields: tuple[str, ...]


class Reverser(ABC):
    """Takes back what can be taken back the short way, window by window."""

    def __init__(
        self,
        store: AccountStore,
        run: Run,
        connector: Connector,
        result: UndoResult,
        clock: Callable[[], datetime],
        repeated: set[UUID],
        head: int,
    ) -> None:
        self._store, self._run, self._connector, self._result = store, run, connector, result
        self._clock, self._repeated, self._head = clock, repeated, head
        self._group = frozenset(result.runs)
        self._constrained: dict[tuple[str, tuple[str, ...]], bool] = {}
        self._actor = run.operation.user.shown if run.operation.user else None
        self.unsettled: set[str] = set()
        """Runs of which something was written and is not there as it was sent."""

    def take(self, rows: Sequence[EventRow]) -> list[EventRow]:
        """Takes back what it can of these events of the runs. Returns the others."""
        left: list[EventRow] = []
        reversals: list[Reversal] = []
        for row in rows:
            reversal = self._reversal(row)
            if reversal is None:
                left.append(row)
            else:
                reversals.append(reversal)
        return sorted([*left, *self._turn_round(reversals)]) if reversals else left

    def note(self, appended: Appended) -> None:
        """Something of the undo's own was appended. Where others append too, each append looks at its records."""
        self._head = appended.last if appended.first == self._head + 1 else -1

    @abstractmethod
    def _turn_round(self, reversals: Sequence[Reversal]) -> list[EventRow]:
        """Carries the reversals out. Returns the events of those that have to be looked at one by one after all."""

    @staticmethod
    @abstractmethod
    def _has_a_word(schema: TypeSchema, fields: Iterable[str]) -> bool:
        """Whether a constraint, or the target itself, has a word in these fields."""

    def _reversal(self, row: EventRow) -> Reversal | None:
        if row.topic != _TOPIC or row.run_id not in self._group:
            return None
        if self._repeated and row.originator_id in self._repeated:  # a UUID's hash is not free
            return None
        reversal = reversal_of(row)
        if reversal is None:
            return None
        form = reversal.shape.object_type, reversal.fields
        if form not in self._constrained:
            self._constrained[form] = self._has_a_word(self._connector.describe(form[0]), form[1])
        return None if self._constrained[form] else reversal

    def _blocks(self, reversals: Sequence[Reversal], others: Sequence[NewEvent] = ()) -> Iterator[list[NewEvent]]:
        """The events, made while the ones before them are being stored: the reversals', others of the same batch,
        the one that counts them."""
        run, offset = self._run, self._run.accepted
        for start in range(0, len(reversals), BLOCK_ROWS):
            yield [
                NewEvent(
                    row.originator_id.bytes,
                    None,
                    _TOPIC,
                    run.run_id,
                    sequence,
                    None,
                    _ENCODER.encode(
                        RecordShape(
                            shape.object_type, shape.record_id, before=shape.after, after=shape.before,
                            label=shape.label, link=shape.link, details=_proven(len(fields)), actor=self._actor,
                        )
                    ),
                )
                for sequence, (row, shape, fields) in enumerate(
                    reversals[start : start + BLOCK_ROWS], offset + start + 1
                )
            ]  # fmt: skip
        run.record_changes(offset, Tally(updated=len(reversals) + len(others)), self._clock())
        yield [*others, *(to_new_event(event) for event in run.collect_events())]  # type: ignore[arg-type]

    def _tell(self, reversals: Sequence[Reversal]) -> None:
        applied, result = self._result.applied, self._result
        result.fields_proven += sum(len(reversal.fields) for reversal in reversals)
        for _, shape, _ in reversals[: max(0, ITEMS_MAX - len(applied.items))]:
            fields = split_fields(bytes(shape.before))
            applied.items.append(Applied("update", shape.object_type, shape.record_id or "", dict(fields)))
        applied.count += len(reversals)


class LedgerReverser(Reverser):
    """On the ledger's own records the outcome events are the write, appended under the condition that nothing moved."""

    def _turn_round(self, reversals: Sequence[Reversal]) -> list[EventRow]:
        unmoved = {reversal.row.originator_id: reversal.row.position for reversal in reversals}
        version, tally = self._run.version, self._run.tally
        try:
            appended = self._store.recorder.append_blocks(
                len(reversals) + 1, self._blocks(reversals), unmoved=unmoved, unless_head=self._head
            )
        except StreamMoved:
            self._run.step_back(version, tally)
            self._repeated.update(unmoved)
            return [reversal.row for reversal in reversals]
        self.note(appended)
        self._tell(reversals)
        self._result.position = appended.last
        return []

    @staticmethod
    def _has_a_word(schema: TypeSchema, fields: Iterable[str]) -> bool:  # noqa: ARG004 - it may concern the record
        return bool(schema.has_constraints or schema.datetimes or schema.system_fields)


def reversal_of(row: EventRow) -> Reversal | None:
    """The change turned round; None where it takes a closer look: it is no plain update of flat values."""
    if row.payload is None:
        return None
    shape = decode_shape(_TOPIC, row.payload)
    assert isinstance(shape, RecordShape)
    if shape.preview or shape.record_id is None:
        return None
    try:
        fields = _surely_changed(shape)
    except msgspec.MsgspecError:
        fields = ()
    return Reversal(row, shape, fields) if fields else _exact_reversal(row, shape)


def _surely_changed(shape: RecordShape) -> tuple[str, ...]:
    """The fields, all of them changed; none where it takes a closer look to tell. What differs as a Python value
    differs as JSON text; what does not may differ all the same (1 and 1.0), or hold members in another order."""
    before, after = _PLAIN.decode(shape.before), _PLAIN.decode(shape.after)
    fields = tuple(before)
    if fields != tuple(after):
        return ()
    for name, value in before.items():
        other = after[name]
        if value == other or type(value) in _NESTED or type(other) in _NESTED:
            return ()
    return fields


def _exact_reversal(row: EventRow, shape: RecordShape) -> Reversal | None:
    before, after = split_fields(bytes(shape.before)), split_fields(bytes(shape.after))
    if not before or before.keys() != after.keys():
        return None
    if any(text[:1] in b"{[" for text in (*before.values(), *after.values())):
        return None  # members in another order are the same value
    changed = [name for name, text in before.items() if text != after[name]]
    if not changed:
        return None
    if len(changed) < len(before) or list(before) != list(after):
        # a field that was named and not changed is no part of the net effect
        shape.before = Raw(join_fields({name: before[name] for name in changed}))
        shape.after = Raw(join_fields({name: after[name] for name in changed}))
    return Reversal(row, shape, tuple(changed))


_PROVEN: dict[int, Raw] = {}


def _proven(fields: int) -> Raw:
    """The details that say how many fields are back, as every change of an undo has them."""
    if fields not in _PROVEN:
        _PROVEN[fields] = Raw(b'{"undo":{"proven":%d}}' % fields)
    return _PROVEN[fields]
