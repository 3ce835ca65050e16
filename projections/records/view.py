"""Answer types about records."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple

from msgspec import Raw

from projections.run_changes.view import Change

Presence = Literal["present", "deleted", "unknown", "never_seen"]
"""`unknown`: runs named it (unmodified, failed), but none changed it: its fields are not known."""


@dataclass(frozen=True, slots=True)
class RecordState:
    """A record at a moment. An absent record is an answer, not an error: `presence` and `message` tell why.

    `fields` (name to canonical JSON text) is None unless present. position, run_id, user, the times and the label are
    of the change that made this state (the delete, of a deleted record); None where there was none. `erased`: some of
    what made it was erased, so fields may be missing.
    """

    object_type: str
    record_id: str
    presence: Presence
    message: str
    fields: dict[str, bytes] | None = None
    position: int | None = None
    run_id: str | None = None
    user: str | None = None
    occurred_at: datetime | None = None
    recorded_at: datetime | None = None
    label: str | None = None
    erased: bool = False

    @property
    def is_present(self) -> bool:
        return self.presence == "present"

    def as_dict(self) -> dict[str, Any]:
        """For JSON answers: values exact; encode with ledger.json_text.encode."""
        return {
            "object_type": self.object_type,
            "record_id": self.record_id,
            "presence": self.presence,
            "message": self.message,
            "fields": None if self.fields is None else {name: Raw(text) for name, text in self.fields.items()},
            "position": self.position,
            "run_id": self.run_id,
            "user": self.user,
            "occurred_at": self.occurred_at,
            "recorded_at": self.recorded_at,
            "label": self.label,
        } | ({"erased": True} if self.erased else {})


class NamedRecord(NamedTuple):
    """A record that has a certain id."""

    object_type: str
    record_id: str
    label: str | None
    is_present: bool


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """Some of a record's changes, newest first, failed attempts included. `next_after` is None at the end.

    `presence` is that of the record as it is now; "never_seen" where no run ever named it (then there are no changes).
    """

    object_type: str
    record_id: str
    presence: Presence
    changes: tuple[Change, ...]
    next_after: int | None

    def as_dict(self) -> dict[str, Any]:
        """The page without its cursor, which each interface writes in its own form."""
        return {
            "object_type": self.object_type,
            "record_id": self.record_id,
            "presence": self.presence,
            "changes": [change.as_dict() for change in self.changes],
        }


@dataclass(frozen=True, slots=True)
class BlamedField:
    """A field of a record, and the change that gave it its value. `value` is canonical JSON text."""

    field: str
    value: bytes
    run_id: str
    user: str | None
    occurred_at: datetime
    recorded_at: datetime
    position: int
    sequence: int

    def as_dict(self) -> dict[str, Any]:
        return {
            "field": self.field,
            "value": Raw(self.value),
            "run_id": self.run_id,
            "user": self.user,
            "occurred_at": self.occurred_at,
            "recorded_at": self.recorded_at,
            "position": self.position,
            "sequence": self.sequence,
        }


@dataclass(frozen=True, slots=True)
class Blame:
    """The state of a record and where each of its fields came from, by field name."""

    state: RecordState
    fields: tuple[BlamedField, ...]

    def as_dict(self) -> dict[str, Any]:
        return self.state.as_dict() | {"fields": [field.as_dict() for field in self.fields]}
