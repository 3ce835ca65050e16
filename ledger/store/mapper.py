"""Domain events to payloads and back, by msgspec."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any
from uuid import UUID

import msgspec
from eventsourcing.domain import DomainEventProtocol
from eventsourcing.persistence import Mapper, StoredEvent
from eventsourcing.utils import register_topic
from msgspec import Raw

from ledger.domain.keeping import KEEPING_EVENTS, KeepingEvent
from ledger.domain.record import RECORD_EVENTS, RecordEvent
from ledger.domain.run import Run
from ledger.errors import IntegrityFailed
from ledger.store.rows import EventRow, LedgerStoredEvent, NewEvent
from ledger.store.shapes import (
    NOTHING,
    SHAPES,
    BeforeStatesExpiredShape,
    ChangesRecordedShape,
    RecordShape,
    RunFailedShape,
    RunFinishedShape,
    RunStartedShape,
    Shape,
    UndoBegunShape,
    UndoEndedShape,
    UndoIntendedShape,
    UndoReversedShape,
)
from ledger.store.upcasts import read_old_shape

RunEvent = (
    Run.Created
    | Run.ChangesRecorded
    | Run.Finished
    | Run.Failed
    | Run.UndoBegun
    | Run.UndoEnded
    | Run.UndoReversed
    | Run.UndoIntended
    | Run.BeforeStatesExpired
)
LedgerEvent = RunEvent | RecordEvent | KeepingEvent

_ENCODER = msgspec.json.Encoder()
_DECODERS = {topic: msgspec.json.Decoder(shape) for topic, shape in SHAPES.items()}
_RECORD_TYPES = {event_type.TOPIC: event_type for event_type in RECORD_EVENTS}
_KEEPING_TYPES = {event_type.TOPIC: event_type for event_type in KEEPING_EVENTS}
_KEEPING_COLUMNS = frozenset(("originator_id", "originator_version", "timestamp"))
_ACTION_OF_TOPIC = {
    "record-created": "create",
    "record-updated": "update",
    "record-deleted": "delete",
    "record-unmodified": "none",
    "record-erased": "erase",
}
for _topic, _event_type in (_RECORD_TYPES | _KEEPING_TYPES).items():
    register_topic(_topic, _event_type)


class LedgerMapper(Mapper[Any]):
    """The library's mapper over our stored shapes. The columns of a row are not repeated in its payload."""

    def __init__(self) -> None:  # no transcoder: a shape knows how it is stored
        pass

    def to_stored_event(self, domain_event: DomainEventProtocol[Any]) -> StoredEvent:
        new = to_new_event(domain_event)  # type: ignore[arg-type]
        return LedgerStoredEvent(
            domain_event.originator_id,
            domain_event.originator_version,
            new.topic,
            new.payload,
            new.run_id,
            new.sequence,
            new.occurred_at,
        )

    def to_domain_event(self, stored_event: StoredEvent) -> DomainEventProtocol[Any]:
        assert isinstance(stored_event, LedgerStoredEvent), "read by our recorder"
        stored = stored_event
        assert isinstance(stored.originator_id, UUID)
        assert stored.occurred_at is not None
        assert stored.recorded_at is not None
        return to_event(
            EventRow(
                0,
                stored.originator_id,
                stored.originator_version,
                stored.topic,
                stored.run_id,
                stored.sequence,
                stored.occurred_at,
                stored.recorded_at,
                stored.state or None,
            )
        )


def to_new_event(event: LedgerEvent) -> NewEvent:
    """A domain event ready to be appended."""
    if isinstance(event, RecordEvent):
        return NewEvent(
            event.originator_id.bytes,
            None,
            event.TOPIC,
            event.run_id,
            event.sequence,
            event.occurred_at,
            encode_record(event),
        )
    if isinstance(event, KeepingEvent):
        return _new_keeping_event(event)
    occurred_at = event.started_at if isinstance(event, Run.Created) else getattr(event, "finished_at", None)
    payload = _ENCODER.encode(_run_shape(event))
    return NewEvent(
        event.originator_id.bytes, event.originator_version, event.TOPIC, event.run_id, 0, occurred_at, payload
    )


def encode_record(event: RecordEvent) -> bytes:
    """A record event's payload."""
    return _ENCODER.encode(
        RecordShape(
            event.object_type,
            event.record_id,
            None if event.action == _ACTION_OF_TOPIC.get(event.TOPIC) else event.action,
            NOTHING if event.before is None else Raw(event.before),
            NOTHING if event.after is None else Raw(event.after),
            event.message,
            event.label,
            event.link,
            NOTHING if event.details is None else Raw(event.details),
            event.actor,
            event.preview,
            event.erased,  # type: ignore[arg-type]  # one of the shape's words
            event.erased_fields,
        )
    )


def decode_record(row: EventRow) -> RecordEvent:
    """The record event in a row. Raises IntegrityFailed for a payload that is not of its shape."""
    shape = _decode(row)
    assert isinstance(shape, RecordShape)
    return _RECORD_TYPES[row.topic](
        row.originator_id,
        row.originator_version,
        row.run_id,
        row.sequence,
        shape.object_type,
        shape.record_id,
        shape.action or _ACTION_OF_TOPIC.get(row.topic, "update"),
        bytes(shape.before) or None,
        bytes(shape.after) or None,
        row.occurred_at,
        row.recorded_at,
        shape.message,
        shape.label,
        shape.link,
        bytes(shape.details) or None,
        shape.actor,
        shape.preview,
        shape.erased,
        shape.erased_fields,
    )


def to_event(row: EventRow) -> LedgerEvent:
    """The domain event in a row, its times from the row's columns."""
    if row.topic in _RECORD_TYPES:
        return decode_record(row)
    return keeping_event(row) if row.topic in _KEEPING_TYPES else _run_event(row)


def keeping_event(row: EventRow) -> KeepingEvent:
    """The event in a row of the account's keeping stream."""
    return _KEEPING_TYPES[row.topic](
        originator_id=row.originator_id,
        originator_version=row.originator_version,
        timestamp=row.recorded_at,
        **msgspec.structs.asdict(_decode(row)),
    )


def is_record_topic(topic: str) -> bool:
    return topic in _RECORD_TYPES


def is_keeping_topic(topic: str) -> bool:
    """Whether events of this topic are of the account itself, of no run and no record."""
    return topic in _KEEPING_TYPES


def decode_shape(topic: str, payload: bytes) -> Shape:
    """The stored shape in a payload of any version. Raises IntegrityFailed where no version explains it."""
    decoder = _DECODERS.get(topic)
    if decoder is not None:
        try:
            return decoder.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass  # an older shape, or damage: the careful way tells
    return read_old_shape(topic, payload)


def _decode(row: EventRow) -> Shape:
    if row.payload is None:
        raise IntegrityFailed(f"The payload of the event at position {row.position} was erased.")
    return decode_shape(row.topic, row.payload)


def _new_keeping_event(event: KeepingEvent) -> NewEvent:
    members = {
        each.name: getattr(event, each.name) for each in fields(event) if each.name not in _KEEPING_COLUMNS
    }  # fmt: skip
    payload = _ENCODER.encode(SHAPES[event.TOPIC](**members))
    return NewEvent(event.originator_id.bytes, event.originator_version, event.TOPIC, "", 0, None, payload)


def _run_shape(event: RunEvent) -> Shape:
    if isinstance(event, Run.Created):
        details = event.operation.details
        operation = replace(event.operation, details=None)
        return RunStartedShape(
            operation, event.started_at, NOTHING if details is None else Raw(details), event.digest, event.undoes
        )
    if isinstance(event, Run.ChangesRecorded):
        return ChangesRecordedShape(event.offset, event.tally)
    if isinstance(event, Run.Finished):
        return RunFinishedShape(event.finished_at, NOTHING if event.outcome is None else Raw(event.outcome))
    if isinstance(event, Run.UndoBegun):
        return UndoBegunShape(event.undo_run_id)
    if isinstance(event, Run.UndoEnded):
        return UndoEndedShape(event.undo_run_id, event.is_whole)
    if isinstance(event, Run.UndoReversed):
        return UndoReversedShape(event.undo_run_id, event.by_run_id)
    if isinstance(event, Run.UndoIntended):
        return UndoIntendedShape(Raw(event.writes))
    if isinstance(event, Run.BeforeStatesExpired):
        return BeforeStatesExpiredShape()
    return RunFailedShape(event.finished_at, event.code, event.message)


def _run_event(row: EventRow) -> RunEvent:
    shape = _decode(row)
    common: dict[str, Any] = {
        "originator_id": row.originator_id,
        "originator_version": row.originator_version,
        "timestamp": row.recorded_at,
        "run_id": row.run_id,
    }
    return _RUN_EVENTS[type(shape)](**common | _members_of(shape))


_RUN_EVENTS: dict[type[Shape], type[RunEvent]] = {
    RunStartedShape: Run.Created,
    ChangesRecordedShape: Run.ChangesRecorded,
    RunFinishedShape: Run.Finished,
    RunFailedShape: Run.Failed,
    UndoBegunShape: Run.UndoBegun,
    UndoEndedShape: Run.UndoEnded,
    UndoReversedShape: Run.UndoReversed,
    UndoIntendedShape: Run.UndoIntended,
    BeforeStatesExpiredShape: Run.BeforeStatesExpired,
}


def _members_of(shape: Shape) -> dict[str, Any]:
    members = msgspec.structs.asdict(shape)
    if isinstance(shape, RunStartedShape):
        details = members.pop("details")
        members["operation"] = replace(shape.operation, details=bytes(details) or None)
        members["originator_topic"] = Run.TOPIC
    if isinstance(shape, RunFinishedShape):
        members["outcome"] = bytes(shape.outcome) or None
    if isinstance(shape, UndoIntendedShape):
        members["writes"] = bytes(shape.writes)
    return members
