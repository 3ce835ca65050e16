"""Plain blocks are a short way, not another rule: whatever the lines, the events are those that each line tells."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ledger.domain.operation import Operation, User
from ledger.domain.record import RecordEvent
from ledger.domain.run import Run
from ledger.errors import BadLine
from ledger.ids import outcome_stream_id, record_stream_id, run_stream_id
from ledger.json_text import canonical_lines
from ledger.recording import batch_events
from ledger.store.mapper import to_event
from ledger.store.rows import EventRow, NewEvent
from ledger.wire.changes import ChangeLine, Lines, parse_lines
from ledger.wire.plain_changes import find_plain_block
from tests.naughty import TEXTS

ACCOUNT = UUID(int=7)
NO_TYPE = "The object type is missing."
NOW = datetime(2026, 11, 28, tzinfo=UTC)
MARKS = ('"action":"update",', '{"action":"update","x":1}', 'x","action":"create",', "}\n{", "\\", '"before":{')

TEXT = st.sampled_from((*TEXTS, *MARKS, "15", "é")) | st.text(max_size=4)
FIELDS = st.dictionaries(
    TEXT | st.just("action"), TEXT | st.integers() | st.none() | st.just({"action": "update", "x": [{}]}), max_size=3
)
MEMBERS: dict[str, st.SearchStrategy[Any]] = {
    "record_id": TEXT,
    "before": FIELDS | st.none(),
    "after": FIELDS | st.none(),
    "message": TEXT | st.none(),
    "label": TEXT,
    "link": TEXT,
    "result": st.sampled_from(("succeeded", "failed")),
    "object_type": st.just("deal"),
    "details": FIELDS,
    "occurred_at": st.just("2026-11-23T10:00:00Z"),
    "colour": TEXT,
}
ACTIONS = st.sampled_from(("update", "update", "create", "delete", "none", "merge"))


@st.composite
def lines(draw: st.DrawFn) -> list[bytes]:
    """Lines of one action and the same members, as bulk runs have, but for some; the members in any order."""
    action = draw(ACTIONS)
    usual = {"update": ("record_id", "before", "after"), "create": ("record_id", "after")}.get(
        action, ("record_id", "before")
    )
    found = []
    for _ in range(draw(st.integers(1, 5))):
        names = [*usual, *draw(st.lists(st.sampled_from(sorted(set(MEMBERS) - set(usual))), max_size=1))]
        line = {name: draw(MEMBERS[name]) for name in names} | {"action": draw(st.just(action) | ACTIONS)}
        order = draw(st.permutations(sorted(line)))
        found.append(json.dumps({name: line[name] for name in order}, ensure_ascii=draw(st.booleans())).encode())
    return found


OPERATIONS = st.builds(
    Operation,
    object_type=st.sampled_from(("contact", 'a"b', None)),
    user=st.sampled_from((None, User(name='A"nn'))),
    mode=st.sampled_from(("update", "update", "preview")),
)


@given(lines(), OPERATIONS)
@example([b'{"before":{"action":"update","x":1},"record_id":"1","after":{},"action":"update"}'], Operation())
def test_events_of_a_block_are_those_that_its_lines_tell(texts: list[bytes], operation: Operation) -> None:
    batch = Lines(texts, list(range(1, len(texts) + 1)))
    try:
        expected: Any = [_told(operation, number, line) for number, line in enumerate(parse_lines(batch), 1)]
        if operation.object_type is None and any(line.object_type is None for line in parse_lines(batch)):
            expected = NO_TYPE
    except BadLine as error:
        expected = error.problems
    assert _recorded(operation, batch) == expected


def _recorded(operation: Operation, batch: Lines) -> Any:
    run = Run.start(
        run_stream_id(ACCOUNT, "r"), run_id="r", operation=operation, started_at=NOW, timestamp=NOW, digest=None
    )
    run.collect_events()
    try:
        *blocks, _ = batch_events(ACCOUNT, run, batch, NOW)
    except BadLine as error:
        return NO_TYPE if error.problems[0].detail == NO_TYPE else error.problems
    return [_facts(_event_of(new)) for block in blocks for new in block]


def _event_of(new: NewEvent) -> RecordEvent:
    stream, version, topic, run_id, sequence, occurred_at, payload = new
    assert version is None
    row = EventRow(1, UUID(bytes=stream), 1, topic, run_id, sequence, occurred_at or NOW, NOW, payload)
    event = to_event(row)
    assert isinstance(event, RecordEvent)
    return event


def _facts(event: RecordEvent) -> tuple[Any, ...]:
    return (
        event.originator_id, event.sequence, event.object_type, event.record_id, event.action, event.succeeded,
        event.before, event.after, event.message, event.label, event.link, event.details, event.actor, event.preview,
        event.occurred_at,
    )  # fmt: skip


def _told(operation: Operation, number: int, line: ChangeLine) -> tuple[Any, ...]:
    preview = operation.mode == "preview"
    object_type = line.object_type or operation.object_type or ""
    stream = (
        outcome_stream_id(ACCOUNT, "r")
        if preview or line.record_id is None
        else record_stream_id(ACCOUNT, object_type, line.record_id)
    )
    before, after, details = (_sent(text) for text in (bytes(line.before), bytes(line.after), bytes(line.details)))
    if line.action == "create":
        before = None
    elif before is None and line.action != "none":
        before = b"null"  # unknown
    return (
        stream, number, object_type, line.record_id, line.action, line.result == "succeeded",
        before, after, line.message, line.label, line.link, details, operation.user and operation.user.shown, preview,
        datetime.fromisoformat(line.occurred_at) if line.occurred_at else NOW,
    )  # fmt: skip


def _sent(text: bytes) -> bytes | None:
    return None if text in (b"", b"null") else text


PLAIN = b'{"record_id":"1","action":"update","before":{"a":1},"after":{"a":{"action":"update"}},"label":"x"}'


def _found(*texts: bytes) -> list[tuple[bytes, bytes]] | None:
    text = canonical_lines(b"\n".join(texts))
    assert text is not None
    block = find_plain_block(text, len(texts))
    return None if block is None else [(front, back) for front, _, back in block.members]


def test_ordinary_lines_are_a_plain_block() -> None:
    assert _found(PLAIN, b'{"action": "update", "before": {}, "after": {}, "record_id": "2"}') == [
        (b'"record_id":"1",', b'"before":{"a":1},"after":{"a":{"action":"update"}},"label":"x"'),
        (b"", b'"before":{},"after":{},"record_id":"2"'),
    ]
    assert _found(b'{"action":"create","after":{},"record_id":"2"}') == [(b"", b'"after":{},"record_id":"2"')]
    assert _found(b'{"action":"delete","before":{},"record_id":"2"}') == [(b"", b'"before":{},"record_id":"2"')]


@pytest.mark.parametrize(
    "line",
    [
        b'{"before":{"action":"update","b":1},"record_id":"1","action":"update","after":{}}',
        b'{"record_id":"1","before":{"action":"update","b":1},"after":{},"action":"update"}',
        b'{"record_id":"1","action":"update","before":null,"after":{}}',
        b'{"record_id":"1","action":"update","before":[],"after":{}}',
        b'{"record_id":"1","action":"update","after":{}}',
        b'{"record_id":"1","action":"update","before":{},"after":{},"result":"failed"}',
        b'{"record_id":"1","action":"update","before":{},"after":{},"object_type":"deal"}',
        b'{"record_id":"1","action":"update","before":{},"after":{},"details":{}}',
        b'{"record_id":"1","action":"update","before":{},"after":{},"occurred_at":"2026-11-23T10:00:00Z"}',
        b'{"record_id":"1","action":"update","before":{},"after":{},"label":"\\u0000"}',
        '{"record_id":"é","action":"update","before":{},"after":{}}'.encode(),
        b'{"record_id":"","action":"update","before":{},"after":{}}',
        b'{"record_id":"1","action":"create","before":{},"after":{}}',
        b'{"record_id":"1","action":"none","after":{}}',
    ],
)
def test_line_that_wants_a_closer_look_takes_its_block_along(line: bytes) -> None:
    assert _found(PLAIN, line) is None
    assert _found(line, PLAIN) is None
