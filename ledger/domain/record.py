"""What happened to records: the events of record streams, and the fold that gives a record's state.

Values stay canonical JSON texts (bytes, see ledger.json_text) from the producer to the reader; nothing here parses
them. `null` as a field's value is a value; a field that is not there is not in the mapping.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar, NamedTuple
from uuid import UUID

State = dict[str, bytes]
"""A record's fields: name to canonical JSON text."""


class _Facts(NamedTuple):
    """The facts of one change to one record, immutable and light: runs have millions of them."""

    originator_id: UUID
    originator_version: int
    """The position of the event in its account's log; 0 until it is appended."""
    run_id: str
    sequence: int
    """Number of the change in its run: 1, 2, 3 ..."""
    object_type: str
    record_id: str | None
    action: str
    before: bytes | None
    """Canonical text of an object: the affected fields of an update, all known fields of a delete.
    `None`: the change has none (a create); `b"null"`: an update or delete whose before value is not known."""
    after: bytes | None
    occurred_at: datetime | None
    recorded_at: datetime | None
    message: str | None = None
    label: str | None = None
    link: str | None = None
    details: bytes | None = None
    actor: str | None = None
    preview: bool = False
    erased: str | None = None
    """What was erased of this event since it was recorded: `whole`, or `part`; None: nothing. What is left is not what
    its leaf commits to."""
    erased_fields: tuple[str, ...] = ()
    """Names of the fields of before and after whose values were erased."""


class RecordEvent(_Facts):
    """One change to one record, as it was recorded. The topic says what came of it."""

    __slots__ = ()
    TOPIC: ClassVar[str]

    @property
    def succeeded(self) -> bool:
        return not isinstance(self, RecordFailed)

    @property
    def result(self) -> str:
        return "succeeded" if self.succeeded else "failed"

    @property
    def changes_the_record(self) -> bool:
        return not self.preview and isinstance(self, RecordCreated | RecordUpdated | RecordDeleted | RecordErased)


class RecordCreated(RecordEvent):
    """The record was created; `after` holds all fields known."""

    __slots__ = ()
    TOPIC = "record-created"


class RecordUpdated(RecordEvent):
    """Fields were changed, by an update or by another action of the producer's (merge, associate)."""

    __slots__ = ()
    TOPIC = "record-updated"


class RecordDeleted(RecordEvent):
    """The record was deleted; `before` holds all fields known."""

    __slots__ = ()
    TOPIC = "record-deleted"


class RecordUnmodified(RecordEvent):
    """The run looked at the record and left it as it was."""

    __slots__ = ()
    TOPIC = "record-unmodified"


class RecordFailed(RecordEvent):
    """The run tried and the target refused; `before` and `after` hold what was attempted."""

    __slots__ = ()
    TOPIC = "record-failed"


class RecordErased(RecordEvent):
    """Personal data was erased: the fields named in `before` (with null, never their values), everywhere and for all
    the record's past; `details` is {"whole": true} where that is all of the record."""

    __slots__ = ()
    TOPIC = "record-erased"


RECORD_EVENTS: tuple[type[RecordEvent], ...] = (
    RecordCreated,
    RecordUpdated,
    RecordDeleted,
    RecordUnmodified,
    RecordFailed,
    RecordErased,
)


def event_type_for(action: str, result: str) -> type[RecordEvent]:
    """The event that a change with this action and result becomes."""
    if result == "failed":
        return RecordFailed
    return _TYPE_OF_ACTION.get(action, RecordUpdated)


_TYPE_OF_ACTION: dict[str, type[RecordEvent]] = {
    "create": RecordCreated,
    "update": RecordUpdated,
    "delete": RecordDeleted,
    "none": RecordUnmodified,
}


def fold(
    state: State | None, event: RecordEvent, before: Mapping[str, bytes], after: Mapping[str, bytes]
) -> State | None:
    """The record's state after `event`; None where it is absent.

    `before` and `after` are the event's own, split into fields. An update puts its after-values, and removes the
    fields that stand in before only, also where their values were erased since. An update of a record that the ledger
    never saw created yields what is known.
    """
    if not event.changes_the_record:
        return state
    if isinstance(event, RecordDeleted):
        return None
    if isinstance(event, RecordCreated):
        return dict(after)
    folded = dict(state or {})
    for name in {*before, *event.erased_fields} - after.keys():
        folded.pop(name, None)
    folded.update(after)
    return folded
