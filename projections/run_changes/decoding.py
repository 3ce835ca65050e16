"""Stored record events to the changes that readers get."""

from __future__ import annotations

from ledger.store.mapper import decode_record
from ledger.store.rows import EventRow
from projections.run_changes.view import Change

_ACTIONS = {
    "record-created": "create",
    "record-updated": "update",
    "record-deleted": "delete",
    "record-unmodified": "none",
}


def decode_change(row: EventRow) -> Change:
    """The change in a row; where its payload was erased, what its columns still tell.

    Raises IntegrityFailed for a payload that is not of its stored shape.
    """
    result = "failed" if row.topic == "record-failed" else "succeeded"
    if row.payload is None:
        action = _ACTIONS.get(row.topic, "unknown")
        return Change(
            row.position, row.run_id, row.sequence, "", None, action, result, row.occurred_at, row.recorded_at,
            erased=True,
        )  # fmt: skip
    event = decode_record(row)
    return Change(
        position=row.position,
        run_id=row.run_id,
        sequence=row.sequence,
        object_type=event.object_type,
        record_id=event.record_id,
        action=event.action,
        result=result,
        occurred_at=row.occurred_at,
        recorded_at=row.recorded_at,
        message=event.message,
        before=event.before,
        after=event.after,
        label=event.label,
        link=event.link,
        details=event.details,
        actor=event.actor,
        preview=event.preview,
        erased=event.erased == "whole",
        erased_fields=event.erased_fields,
    )
