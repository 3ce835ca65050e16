"""The short way for a target that can write many updates of one form at once (ledger.connectors.port.WritesAlike).

In the order that every undo keeps: an intent that names the changes to be turned round by their positions, the target's
compare-and-set on the very texts that the run left, reading back, the outcome events. A record that holds anything else
is not written and goes to the planner, which finds out why.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any

from ledger.connectors.port import Alike, TypeSchema, Write, WritesAlike, read_many
from ledger.domain.run import Run
from ledger.json_text import split_fields
from ledger.store.event_store import AccountStore
from ledger.store.rows import EventRow
from ledger.store.streams import Streams
from ledger.undo.intents import decode_intent, decode_reversals, encode_reversals
from ledger.undo.judging import Step
from ledger.undo.ordering import OrderedWrite
from ledger.undo.outcomes import Done, events_of, proven_fields, tell_done
from ledger.undo.planning import Planner
from ledger.undo.result import UndoResult
from ledger.undo.reversing import LedgerReverser, Reversal, Reverser, reversal_of

TAIL_MAX = 4
"""The log is looked at as a whole only if it has grown, since the runs began, to no more than so many times their
changes."""
REPEATED_MAX = 200_000
"""Records changed more than once that are remembered; where there are more, all are looked at one by one."""
FORMS_MAX = 64
"""Forms (sets of fields) of one window that get statements of their own, the largest; the rest goes the long way."""


class TargetReverser(Reverser):
    """Turns changes round in a target."""

    _connector: WritesAlike

    def __init__(self, planner: Planner, *rest: Any) -> None:
        super().__init__(*rest)
        self._planner = planner

    @staticmethod
    def _has_a_word(schema: TypeSchema, fields: Iterable[str]) -> bool:
        return schema.constrains(fields) or not all(
            schema.has_field(name) and name not in schema.system_fields for name in fields
        )

    def _turn_round(self, reversals: Sequence[Reversal]) -> list[EventRow]:
        forms = sorted(_forms(reversals), key=len, reverse=True)[:FORMS_MAX]
        positions = sorted(reversal.row.position for members in forms for reversal in members)
        written: list[Reversal] = []
        proven: list[Reversal] = []
        self._run.intend(encode_reversals(positions), self._clock())
        self._store.save(self._run)
        for members in forms:
            some = [members[number] for number in self._connector.write_alike(_alike(members), self._run.run_id)]
            written += some
            proven += [some[number] for number in self._connector.holding(_alike(some))] if some else ()
        if written:
            self._record(proven, self._doubtful(written, proven))
        done = {reversal.row.position for reversal in written}
        return [reversal.row for reversal in reversals if reversal.row.position not in done]

    def _doubtful(self, written: Sequence[Reversal], proven: Sequence[Reversal]) -> list[Done]:
        """What was written and does not read as it was sent: another text for the same value, or another value."""
        sure = {reversal.row.position for reversal in proven}
        doubtful = [Done(_step(each), is_applied=True) for each in written if each.row.position not in sure]
        by_type: dict[str, list[Done]] = defaultdict(list)
        for one in doubtful:
            by_type[one.step.object_type].append(one)
        for object_type, some in by_type.items():
            there = read_many(self._connector, object_type, [one.step.record_id for one in some])
            for one in some:
                found = there.get(one.step.record_id)
                now = None if found is None or found.merged_into is not None else found.fields
                proven_fields(one, now, self._planner.comparing(object_type))
        return doubtful

    def _record(self, proven: Sequence[Reversal], doubtful: Sequence[Done]) -> None:
        offset = self._run.accepted + len(proven)
        others = events_of(
            self._store.account_id, self._run.run_id, doubtful, offset=offset, actor=self._actor
        )  # fmt: skip
        number = len(proven) + len(others) + 1
        self._result.position = self._store.recorder.append_blocks(number, self._blocks(proven, others)).last
        self._tell(proven)
        for one in doubtful:
            tell_done(self._result, one)
            if one.failed:
                self.unsettled.update(one.step.runs)


def open_layers(store: AccountStore, intent: bytes) -> list[list[OrderedWrite]]:
    """The writes of an intent, to be gone on with the long way."""
    ranges = decode_reversals(intent)
    if not ranges:
        return decode_intent(intent)
    rows = [row for first, last in ranges for row in store.recorder.read_after(first - 1, upto=last, limit=last)]
    steps = [_step(reversal) for row in rows if (reversal := reversal_of(row)) is not None]
    return [
        [OrderedWrite(step, Write("update", *step.key, step.values, dict(step.current or {})), True) for step in steps]
    ]


def open_reverser(
    store: AccountStore,
    streams: Streams,
    run: Run,
    planner: Planner,
    result: UndoResult,
    clock: Callable[[], datetime],
    changes: int,
) -> Reverser | None:
    """A reverser for an undo that begins now; None where the short way is none: the target knows none, or much
    happened since the runs."""
    connector = planner.connector
    head = store.recorder.max_notification_id() or 0
    first = streams.first_position(result.runs)
    if first is None or head - first > TAIL_MAX * changes + 1_000:
        return None
    repeated = streams.repeated(first - 1, head, REPEATED_MAX)
    if repeated is None:
        return None
    parts = (store, run, connector, result, clock, repeated, head)
    if connector.capabilities.reads_events:
        return LedgerReverser(*parts)
    return TargetReverser(planner, *parts) if isinstance(connector, WritesAlike) else None


def _step(reversal: Reversal) -> Step:
    row, shape, _ = reversal
    assert shape.record_id is not None
    return Step(
        shape.object_type, shape.record_id, split_fields(bytes(shape.after)), "update",
        dict(split_fields(bytes(shape.before))), runs=(row.run_id,), position=row.position, stream=row.originator_id,
        label=shape.label, link=shape.link,
    )  # fmt: skip


def _forms(reversals: Sequence[Reversal]) -> list[list[Reversal]]:
    """Those of one type and with the same fields together, as one statement can write them."""
    forms: dict[tuple[str, tuple[str, ...]], list[Reversal]] = defaultdict(list)
    for reversal in reversals:
        forms[reversal.shape.object_type, reversal.fields].append(reversal)
    return list(forms.values())


def _alike(members: Sequence[Reversal]) -> Alike:
    shape = members[0].shape
    return Alike(
        shape.object_type,
        members[0].fields,
        [member.shape.record_id or "" for member in members],
        [bytes(member.shape.before) for member in members],
        [bytes(member.shape.after) for member in members],
    )
