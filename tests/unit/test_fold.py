"""A record's state from its events."""

from __future__ import annotations

from uuid import UUID

import pytest

from ledger.domain.record import (
    RECORD_EVENTS,
    RecordCreated,
    RecordDeleted,
    RecordEvent,
    RecordFailed,
    RecordUnmodified,
    RecordUpdated,
    State,
    event_type_for,
    fold,
)


def an_event(event_type: type[RecordEvent], *, preview: bool = False) -> RecordEvent:
    return event_type(UUID(int=1), 1, "run", 1, "contact", "r-1", "update", None, None, None, None, preview=preview)


@pytest.mark.parametrize(
    ("state", "event_type", "before", "after", "expected"),
    [
        (None, RecordCreated, {}, {"a": b"1"}, {"a": b"1"}),
        ({"old": b"0"}, RecordCreated, {}, {"a": b"1"}, {"a": b"1"}),
        ({"a": b"1", "b": b"2"}, RecordUpdated, {"a": b"1"}, {"a": b"3"}, {"a": b"3", "b": b"2"}),
        ({"a": b"1", "b": b"2"}, RecordUpdated, {"a": b"1"}, {}, {"b": b"2"}),
        ({"a": b"1"}, RecordUpdated, {}, {"b": b"null"}, {"a": b"1", "b": b"null"}),
        ({"a": b"1"}, RecordUpdated, {"gone": b"1"}, {"a": b"2"}, {"a": b"2"}),
        (None, RecordUpdated, {"a": b"0"}, {"a": b"1"}, {"a": b"1"}),
        ({"a": b"1"}, RecordDeleted, {"a": b"1"}, {}, None),
        (None, RecordDeleted, {}, {}, None),
        ({"a": b"1"}, RecordUnmodified, {"a": b"1"}, {"a": b"9"}, {"a": b"1"}),
        ({"a": b"1"}, RecordFailed, {"a": b"1"}, {"a": b"9"}, {"a": b"1"}),
        (None, RecordFailed, {}, {"a": b"9"}, None),
    ],
)
def test_each_event_folds(
    state: State | None, event_type: type[RecordEvent], before: State, after: State, expected: State | None
) -> None:
    kept = None if state is None else dict(state)
    assert fold(state, an_event(event_type), before, after) == expected
    assert state == kept, "the state before is not touched"


@pytest.mark.parametrize("event_type", RECORD_EVENTS)
def test_a_preview_changes_nothing(event_type: type[RecordEvent]) -> None:
    event = an_event(event_type, preview=True)
    assert not event.changes_the_record
    assert fold({"a": b"1"}, event, {"a": b"1"}, {"a": b"2"}) == {"a": b"1"}


@pytest.mark.parametrize(
    ("action", "result", "event_type"),
    [
        ("create", "succeeded", RecordCreated),
        ("update", "succeeded", RecordUpdated),
        ("delete", "succeeded", RecordDeleted),
        ("none", "succeeded", RecordUnmodified),
        ("merge", "succeeded", RecordUpdated),
        ("create", "failed", RecordFailed),
        ("none", "failed", RecordFailed),
        ("merge", "failed", RecordFailed),
    ],
)
def test_what_a_change_becomes(action: str, result: str, event_type: type[RecordEvent]) -> None:
    assert event_type_for(action, result) is event_type
    assert an_event(event_type).result == result


def test_events_cannot_be_changed() -> None:
    event = an_event(RecordUpdated)
    with pytest.raises(AttributeError):
        event.run_id = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError):
        event.extra = 1  # type: ignore[attr-defined]
