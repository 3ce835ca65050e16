"""What the undo's own run records: one event for each record that it dealt with, and back from events to a result."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec
from msgspec import Raw

from ledger.connectors.port import Values
from ledger.domain.record import (
    RecordCreated,
    RecordDeleted,
    RecordEvent,
    RecordFailed,
    RecordUnmodified,
    RecordUpdated,
)
from ledger.ids import record_stream_id
from ledger.json_text import encode, join_fields, split_fields
from ledger.store.mapper import to_new_event
from ledger.store.rows import NewEvent
from ledger.undo.comparing import Comparing
from ledger.undo.intents import Verdicts, load_items, verdicts_of
from ledger.undo.judging import Step
from ledger.undo.planning import tell_items
from ledger.undo.result import Applied, Item, UndoResult

_VERDICTS = msgspec.json.Decoder(Verdicts)
_TYPES: dict[str, type[RecordEvent]] = {"create": RecordCreated, "update": RecordUpdated, "delete": RecordDeleted}
_NOTHING = Verdicts()


@dataclass(slots=True)
class Done:
    """What became of one step. `failed` items: the target refused it, or it holds something else than was sent."""

    step: Step
    is_applied: bool = False
    new_id: str | None = None
    failed: list[Item] = field(default_factory=list)
    message: str | None = None
    proven: int = 0


def events_of(account_id: UUID, run_id: str, done: Sequence[Done], *, offset: int, actor: str | None) -> list[NewEvent]:
    """The record events of a batch of the undo, in sequence from offset + 1 on."""
    events: list[NewEvent] = []
    for one in done:
        for event in _events(account_id, run_id, one, actor):
            events.append(to_new_event(event._replace(sequence=offset + len(events) + 1)))
    return events


def outcome_of(event: RecordEvent) -> tuple[str, str]:
    """(action, result) of an event, for the tally."""
    return event.action, event.result


def tell_done(result: UndoResult, one: Done) -> None:
    """Adds what became of a step to a result."""
    step = one.step
    if one.is_applied:
        assert step.op is not None
        fields = {} if step.op == "delete" else step.values
        renamed = one.new_id is not None and one.new_id != step.record_id
        old_id = step.record_id if renamed and step.old_id is None else step.old_id
        result.applied.add(
            Applied(step.op, step.object_type, one.new_id or step.record_id, fields, old_id)
        )  # fmt: skip
        result.fields_proven += one.proven
    tell_items(result, step)
    for item in one.failed:
        result.failed.add(item)


def read_back(result: UndoResult, events: Iterable[RecordEvent]) -> set[str]:
    """Adds what the events of an undo's run tell to a result. Returns the runs of which something is left."""
    unsettled: set[str] = set()
    for event in events:
        verdicts = _verdicts(event)
        key = event.object_type, event.record_id or ""
        step = Step(
            *key, None,
            skipped=load_items(key, verdicts.skipped), noop=load_items(key, verdicts.noop),
        )  # fmt: skip
        if event.changes_the_record:
            before, after = split_fields(event.before), split_fields(event.after)
            fields: Values = {} if isinstance(event, RecordDeleted) else {**dict.fromkeys(before), **after}
            op = {RecordCreated: "create", RecordDeleted: "delete"}.get(type(event), "update")
            result.applied.add(Applied(op, *key, fields, verdicts.old_id))  # type: ignore[arg-type]
            result.fields_proven += verdicts.proven
        tell_items(result, step)
        for item in load_items(key, verdicts.failed):
            result.failed.add(item)
        unsettled.update(verdicts.unsettled)
    return unsettled


def _events(account_id: UUID, run_id: str, one: Done, actor: str | None) -> Iterable[RecordEvent]:
    step = one.step
    record_id = one.new_id or step.record_id
    renamed = record_id != step.record_id
    if step.old_id is None and renamed:
        step.old_id = step.record_id
    event_type: type[RecordEvent] = RecordFailed if one.failed and not one.is_applied else RecordUnmodified
    before = after = None
    action = "none"
    if step.op is not None and (one.is_applied or one.failed):
        event_type = _TYPES[step.op] if one.is_applied else RecordFailed
        action = step.op
        before, after = _states(step)
    yield event_type(
        record_stream_id(account_id, step.object_type, record_id), 0, run_id, 0, step.object_type, record_id, action,
        before, after, None, None, one.message, step.label, step.link, _details(one), actor,
    )  # fmt: skip
    if renamed:
        yield RecordUnmodified(
            record_stream_id(account_id, step.object_type, step.record_id), 0, run_id, 0, step.object_type,
            step.record_id, "none", None, None, None, None, f"Created again as {record_id}.", step.label, None,
            encode({"recreated_as": record_id}), actor,
        )  # fmt: skip


def _states(step: Step) -> tuple[bytes | None, bytes | None]:
    """Before and after of the event: what was there, and what the undo wrote."""
    current = step.current or {}
    if step.op == "create":
        return None, join_fields({name: text for name, text in step.values.items() if text is not None})
    if step.op == "delete":
        return join_fields(current), None
    before = {name: current[name] for name in step.values if name in current}
    return join_fields(before), join_fields({name: text for name, text in step.values.items() if text is not None})


def _details(one: Done) -> bytes | None:
    verdicts = verdicts_of(one.step, failed=one.failed, proven=one.proven)
    text = encode(verdicts)
    return None if text == b"{}" else encode({"undo": Raw(text)})


def _verdicts(event: RecordEvent) -> Verdicts:
    if event.details is None:
        return _NOTHING
    text = split_fields(event.details).get("undo")
    return _NOTHING if text is None else _VERDICTS.decode(text)


def proven_fields(one: Done, now: dict[str, bytes] | None, comparing: Comparing) -> None:
    """Compares a record read back with what was written: counts what is proven, and reports what is not as sent."""
    step = one.step
    if step.op == "delete":
        one.proven = 1 if now is None else 0
        if now is not None:
            one.failed.append(_not_as_sent(step, None))
        return
    for name, value in step.values.items():
        if now is not None and comparing.same(name, now.get(name), value):
            one.proven += 1
        else:
            one.failed.append(_not_as_sent(step, name))


def _not_as_sent(step: Step, name: str | None) -> Item:
    return Item(*step.key, name, "not_as_written", "The target does not hold what was written to it.")
