"""The fold of records: each record with its last change. No SQL here."""

from __future__ import annotations

from dataclasses import dataclass

from projections.events.batch import Batch

_PRESENCE = {"record-created": True, "record-updated": True, "record-deleted": False}


@dataclass(slots=True)
class RecordRow:
    """What a batch tells of one record."""

    stream: bytes
    first_position: int
    last_position: int
    changed_position: int | None
    is_present: bool | None
    """None, with changed_position: nothing in the batch changed it."""
    run_id: str
    label: str | None


RecordRows = dict[tuple[str, str], RecordRow]
"""(object_type, record_id) to what the batch tells of it."""


def fold(batch: Batch, before: RecordRows | None = None) -> RecordRows:
    """Previews, failures that name no record and erased changes tell of no record. `before`: what the batches before
    told, which is gone on with."""
    rows: RecordRows = {} if before is None else before
    for (position, stream, topic, run_id, _, _, _), shape in batch.changes:
        if shape.preview or shape.record_id is None:
            continue
        presence = _PRESENCE.get(topic)
        row = rows.get((shape.object_type, shape.record_id))
        if row is None:
            rows[shape.object_type, shape.record_id] = RecordRow(
                stream,
                position,
                position,
                None if presence is None else position,
                presence,
                run_id,
                shape.label,
            )
            continue
        row.last_position = position
        row.run_id = run_id
        if presence is not None:
            row.changed_position, row.is_present = position, presence
        if shape.label is not None:
            row.label = shape.label
    return rows
