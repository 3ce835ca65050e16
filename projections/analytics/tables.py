"""The tables of the export: their columns, in plain types that every engine reads, and the rows of each event. Pure.

Instants are UTC without a zone; before, after, details and payload are JSON texts with every digit that was sent.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from ledger.store.mapper import is_record_topic
from ledger.store.rows import EventRow
from projections.run_changes.decoding import decode_change

TABLES: dict[str, dict[str, str]] = {
    "events": {
        "position": "BIGINT", "stream": "VARCHAR", "version": "BIGINT", "topic": "VARCHAR", "run_id": "VARCHAR",
        "sequence": "BIGINT", "occurred_at": "TIMESTAMP", "recorded_at": "TIMESTAMP", "payload": "VARCHAR",
        "erased": "BOOLEAN",
    },
    "changes": {
        "position": "BIGINT", "run_id": "VARCHAR", "sequence": "BIGINT", "object_type": "VARCHAR",
        "record_id": "VARCHAR", "action": "VARCHAR", "result": "VARCHAR", "message": "VARCHAR", "label": "VARCHAR",
        "link": "VARCHAR", "actor": "VARCHAR", "preview": "BOOLEAN", "before": "VARCHAR", "after": "VARCHAR",
        "details": "VARCHAR", "occurred_at": "TIMESTAMP", "recorded_at": "TIMESTAMP", "erased": "BOOLEAN",
        "erased_fields": "VARCHAR",
    },
    "runs": {
        "run_id": "VARCHAR", "kind": "VARCHAR", "preview": "BOOLEAN", "trigger": "VARCHAR", "status": "VARCHAR",
        "app": "VARCHAR", "module": "VARCHAR", "object_type": "VARCHAR", "template": "VARCHAR",
        "user_shown": "VARCHAR", "recipe": "VARCHAR", "recipe_run_id": "VARCHAR", "started_at": "TIMESTAMP",
        "finished_at": "TIMESTAMP", "updated": "BIGINT", "created": "BIGINT", "deleted": "BIGINT",
        "unmodified": "BIGINT", "other": "BIGINT", "failed": "BIGINT", "position": "BIGINT",
    },
}  # fmt: skip
"""Table to column to type, as DuckDB names it; in Parquet INT64, BOOLEAN, BYTE_ARRAY (UTF8), TIMESTAMP in UTC."""


def event_row(row: EventRow, *, erased: bool) -> dict[str, Any]:
    """`erased`: the payload is what an erasure left, and no leaf covers it."""
    return {
        "position": row.position,
        "stream": str(row.originator_id),
        "version": row.originator_version,
        "topic": row.topic,
        "run_id": row.run_id,
        "sequence": row.sequence,
        "occurred_at": _instant(row.occurred_at),
        "recorded_at": _instant(row.recorded_at),
        "payload": _text(row.payload),
        "erased": erased,
    }


def change_row(row: EventRow, *, erased: bool) -> dict[str, Any] | None:
    """None: the event is no change of a record."""
    if not is_record_topic(row.topic):
        return None
    change = decode_change(row)
    shown = change.as_dict()
    return {name: shown.get(name) for name in TABLES["changes"]} | {
        "before": _text(change.before),
        "after": _text(change.after),
        "details": _text(change.details),
        "occurred_at": _instant(row.occurred_at),
        "recorded_at": _instant(row.recorded_at),
        "erased": erased,
        "erased_fields": ", ".join(change.erased_fields) or None,
    }


def run_row(values: Sequence[Any]) -> dict[str, Any]:
    """A row of the tracker, in the order of the columns."""
    return {
        name: _instant(value) if isinstance(value, datetime) else value
        for name, value in zip(TABLES["runs"], values, strict=True)
    }


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")


def _text(value: bytes | None) -> str | None:
    return None if value is None else value.decode()
