"""The short way for the built-in target: updates that nothing came after are taken back by turning them round.

What an undo of 100,000 plain updates consists of. A change that is the only event of its record since the runs began
is as the run left it; so its before and after are exchanged, without looking at the record. That nothing came after is
known from one look at the log, and held by the append: if the log's head has moved, each record is looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import msgspec
from msgspec import Raw

from ledger.connectors.port import Connector
from ledger.domain.run import Run
from ledger.domain.tally import Tally
from ledger.errors import StreamMoved
from ledger.json_text import join_fields, split_fields
from ledger.store.event_store import AccountStore
from ledger.store.mapper import decode_shape, to_new_event
from ledger.store.recorder import Appended
from ledger.store.rows import BLOCK_ROWS, EventRow, NewEvent
from ledger.store.shapes import RecordShape
from ledger.store.streams import Streams
from ledger.undo.result import ITEMS_MAX, Applied, UndoResult

_ENCODER = msgspec.json.Encoder()
_PLAIN = msgspec.json.Decoder(dict[str, Any])
_NESTED = (dict, list)
_TOPIC = "record-updated"
TAIL_MAX = 4
"""The log is looked at as a whole only if it has grown, since the runs began, to no more than so many times their
changes."""
REPEATED_MAX = 200_000
"""Records changed more than once that are remembered; where there are more, all are looked at one by one."""


class Reversal(NamedTuple):
    """A change to be turned round."""

    row: EventRow
    shape: RecordShape
    fields: int


class Reverser:
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
        self._has_constraints: dict[str, bool] = {}
        self._actor = run.operation.user.shown if run.operation.user else None

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
        if not reversals:
            return left
        unmoved = {reversal.row.originator_id: reversal.row.position for reversal in reversals}
        version, tally = self._run.version, self._run.tally
        try:
            blocks = self._blocks(reversals)
            appended = self._store.recorder.append_blocks(
                len(reversals) + 1, blocks, unmoved=unmoved, unless_head=self._head
            )
        except StreamMoved:
            self._run.step_back(version, tally)
            self._repeated.update(unmoved)
            return list(rows)
        self.note(appended)
        self._tell(reversals)
        self._result.position = appended.last
        return left

    def note(self, appended: Appended) -> None:
        """Something of the undo's own was appended. Where others append too, each append looks at its records."""
        self._head = appended.last if appended.first == self._head + 1 else -1

    def _reversal(self, row: EventRow) -> Reversal | None:
        if row.topic != _TOPIC or row.run_id not in self._group or row.originator_id in self._repeated:
            return None
        if row.payload is None:
            return None
        shape = decode_shape(_TOPIC, row.payload)
        assert isinstance(shape, RecordShape)
        if shape.preview or shape.record_id is None or self._is_constrained(shape.object_type):
            return None
        try:
            fields = _surely_changed(shape)
        except msgspec.MsgspecError:
            fields = 0
        return Reversal(row, shape, fields) if fields else _exact_reversal(row, shape)

    def _is_constrained(self, object_type: str) -> bool:
        if object_type not in self._has_constraints:
            schema = self._connector.describe(object_type)
            self._has_constraints[object_type] = bool(
                schema.has_constraints or schema.datetimes or schema.system_fields
            )
        return self._has_constraints[object_type]

    def _blocks(self, reversals: Sequence[Reversal]) -> Iterator[list[NewEvent]]:
        """The events, made while the ones before them are being stored."""
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
                            label=shape.label, link=shape.link, details=_proven(fields), actor=self._actor,
                        )
                    ),
                )
                for sequence, (row, shape, fields) in enumerate(
                    reversals[start : start + BLOCK_ROWS], offset + start + 1
                )
            ]  # fmt: skip
        run.record_changes(offset, Tally(updated=len(reversals)), self._clock())
        yield [to_new_event(event) for event in run.collect_events()]  # type: ignore[arg-type]

    def _tell(self, reversals: Sequence[Reversal]) -> None:
        applied, result = self._result.applied, self._result
        result.fields_proven += sum(reversal.fields for reversal in reversals)
        for _, shape, _ in reversals[: max(0, ITEMS_MAX - applied.count)]:
            fields = split_fields(bytes(shape.before))
            applied.items.append(Applied("update", shape.object_type, shape.record_id or "", dict(fields)))
        applied.count += len(reversals)


def _surely_changed(shape: RecordShape) -> int:
    """How many fields were changed, 0 where it takes a closer look to tell. What differs as a Python value differs as
    JSON text; what does not may differ all the same (1 and 1.0), or hold members in another order."""
    before, after = _PLAIN.decode(shape.before), _PLAIN.decode(shape.after)
    if before.keys() != after.keys():
        return 0
    for name, value in before.items():
        other = after[name]
        if value == other or type(value) in _NESTED or type(other) in _NESTED:
            return 0
    return len(before)


def _exact_reversal(row: EventRow, shape: RecordShape) -> Reversal | None:
    before, after = split_fields(bytes(shape.before)), split_fields(bytes(shape.after))
    if not before or before.keys() != after.keys():
        return None
    if any(text[:1] in b"{[" for text in (*before.values(), *after.values())):
        return None  # members in another order are the same value
    changed = [name for name, text in before.items() if text != after[name]]
    if not changed:
        return None
    if len(changed) < len(before):  # a field that was named and not changed is no part of the net effect
        shape.before = Raw(join_fields({name: before[name] for name in changed}))
        shape.after = Raw(join_fields({name: after[name] for name in changed}))
    return Reversal(row, shape, len(changed))


_PROVEN: dict[int, Raw] = {}


def _proven(fields: int) -> Raw:
    """The details that say how many fields are back, as every change of an undo has them."""
    if fields not in _PROVEN:
        _PROVEN[fields] = Raw(b'{"undo":{"proven":%d}}' % fields)
    return _PROVEN[fields]


def open_reverser(
    store: AccountStore,
    streams: Streams,
    run: Run,
    connector: Connector,
    result: UndoResult,
    clock: Callable[[], datetime],
    changes: int,
) -> Reverser | None:
    """A reverser for an undo that begins now; None where the short way is none: much happened since the runs."""
    head = store.recorder.max_notification_id() or 0
    first = streams.first_position(result.runs)
    if first is None or head - first > TAIL_MAX * changes + 1_000:
        return None
    repeated = streams.repeated(first - 1, head, REPEATED_MAX)
    return None if repeated is None else Reverser(store, run, connector, result, clock, repeated, head)
