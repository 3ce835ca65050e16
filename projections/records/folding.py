"""The fold of one record's stream, with what is needed to tell where each value came from. Pure."""

from __future__ import annotations

from ledger.domain.record import RecordDeleted, RecordEvent, State, fold
from ledger.json_text import split_fields
from ledger.store.rows import EventRow
from projections.records.view import BlamedField, Presence, RecordState

_CHANGING = frozenset(("record-created", "record-updated", "record-deleted"))


class RecordFold:
    """Takes a record's events in the log's order."""

    def __init__(self, object_type: str, record_id: str) -> None:
        self._object_type = object_type
        self._record_id = record_id
        self.fields: State | None = None
        self._origins: dict[str, tuple[EventRow, RecordEvent]] = {}
        self._last: tuple[EventRow, RecordEvent | None] | None = None
        self._label: str | None = None
        self._was_deleted = False
        self._seen = False
        self._erased = False

    def take(self, row: EventRow, event: RecordEvent | None) -> None:
        """Folds the next event; None where its content was erased."""
        self._seen = True
        if event is None:
            self._erased = self._erased or row.topic in _CHANGING
            if row.topic == "record-deleted":
                self._go(row, None)
            return
        self._label = event.label or self._label
        self._erased = self._erased or (event.erased is not None and row.topic in _CHANGING)
        if not event.changes_the_record:
            return
        if isinstance(event, RecordDeleted):
            self._go(row, event)
            return
        before, after = split_fields(event.before), split_fields(event.after)
        known = self.fields or {}
        self.fields = fold(self.fields, event, before, after) or {}
        origins = {name: self._origins[name] for name in self.fields if name in self._origins}
        for name, value in after.items():
            if name not in origins or known.get(name) != value:
                origins[name] = (row, event)
        self._origins = origins
        self._last, self._was_deleted = (row, event), False

    def state(self, moment: str) -> RecordState:
        """The record as it is now; `moment` is how messages call it."""
        presence = self._presence()
        row, event = self._last or (None, None)
        return RecordState(
            self._object_type,
            self._record_id,
            presence,
            self._message(presence, moment),
            self.fields,
            row and row.position,
            row and row.run_id,
            event and event.actor,
            row and row.occurred_at,
            row and row.recorded_at,
            self._label,
            self._erased,
        )

    def blamed(self) -> tuple[BlamedField, ...]:
        """Each field's value and where it came from, by field name."""
        fields = self.fields or {}
        return tuple(_blamed(name, fields[name], *self._origins[name]) for name in sorted(fields))

    def _go(self, row: EventRow, event: RecordEvent | None) -> None:
        self.fields, self._origins = None, {}
        self._last, self._was_deleted = (row, event), True

    def _presence(self) -> Presence:
        if self.fields is not None:
            return "present"
        if self._was_deleted:
            return "deleted"
        return "unknown" if self._seen else "never_seen"

    def _message(self, presence: Presence, moment: str) -> str:
        name = f"The {self._object_type} {self._record_id}"
        if presence == "present":
            note = " Some of its changes were erased; what they set is missing." if self._erased else ""
            return f"{name} is there ({moment}).{note}"
        if presence == "deleted":
            assert self._last is not None
            row = self._last[0]
            return f"{name} is absent ({moment}): run {row.run_id} deleted it, at position {row.position}."
        if presence == "unknown":
            return f"{name} was named by a run ({moment}), but none had changed it: its fields are not known."
        return f"{name} is not known ({moment}): no run had named it by then."


def _blamed(name: str, value: bytes, row: EventRow, event: RecordEvent) -> BlamedField:
    return BlamedField(
        name, value, row.run_id, event.actor, row.occurred_at, row.recorded_at, row.position, row.sequence
    )
