"""Change lines to new events: the bulk way in, a few microseconds a line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from functools import partial
from itertools import count, repeat
from uuid import UUID

import msgspec
from msgspec import Raw

from ledger.domain.record import event_type_for
from ledger.domain.run import Run
from ledger.domain.tally import tally_of
from ledger.errors import BadLine, Problem
from ledger.ids import outcome_stream_id, record_stream_block, record_streams
from ledger.json_text import canonical_lines
from ledger.store.mapper import to_new_event
from ledger.store.rows import BLOCK_ROWS, NewEvent
from ledger.store.shapes import NOTHING, RecordShape
from ledger.wire.changes import ChangeLine, Lines, parse_canonical, parse_instant
from ledger.wire.plain_changes import PlainBlock, find_plain_block

_ENCODER = msgspec.json.Encoder()
_TOPICS = {
    (action, "succeeded"): (event_type_for(action, "succeeded").TOPIC, True)
    for action in ("create", "update", "delete", "none")
}
"""Topics of ordinary changes, which tell the action already."""
_UNKNOWN = Raw(b"null")
_ABSENT = (Raw(b""), _UNKNOWN)
"""A member that was not sent, and one sent as null. The wire's NOTHING is another object than the store's: only the
store's own is left out of a payload."""


def batch_events(account_id: UUID, run: Run, lines: Lines, now: datetime) -> Iterator[list[NewEvent]]:
    """The events of a run's next batch, in blocks: its record events, then the `changes-recorded` that counts them.

    Lazy, so that PostgreSQL stores one block while the next is parsed. Raises BadLine at the first bad line; then
    nothing of the batch may stay. The run counts the batch only when the last block is taken.
    """
    outcomes: Counter[tuple[str, str]] = Counter()
    offset = run.accepted
    is_plain_run = run.operation.mode == "update" and run.operation.object_type is not None
    for start in range(0, len(lines.texts), BLOCK_ROWS):
        block = Lines(lines.texts[start : start + BLOCK_ROWS], lines.numbers[start : start + BLOCK_ROWS])
        text = canonical_lines(b"\n".join(block.texts))
        plain = find_plain_block(text, len(block.texts)) if text is not None and is_plain_run else None
        if plain is not None:
            outcomes[plain.action, "succeeded"] += len(block.texts)
            yield _plain_events(account_id, run, offset + start, plain)
            continue
        changes = parse_canonical(block, text)
        outcomes.update([(change.action, change.result) for change in changes])
        yield _block_events(account_id, run, offset + start, block, changes)
    run.record_changes(offset, tally_of(outcomes), now)
    yield [to_new_event(event) for event in run.collect_events()]  # type: ignore[arg-type]


def _plain_events(account_id: UUID, run: Run, offset: int, plain: PlainBlock) -> list[NewEvent]:
    """_block_events for a plain block: a payload is the line's own text with what all have in common around it."""
    object_type, actor = run.operation.object_type, _actor(run)
    assert object_type is not None
    head = b'{"object_type":%b,' % _ENCODER.encode(object_type)
    tail = b"}" if actor is None else b',"actor":%b}' % _ENCODER.encode(actor)
    streams = record_stream_block(account_id.bytes, object_type, plain.record_ids)
    topic, run_id = event_type_for(plain.action, "succeeded").TOPIC, run.run_id
    payloads = [b"".join((head, front, back, tail)) for front, _, back in plain.members]
    rows = zip(streams, repeat(None), repeat(topic), repeat(run_id), count(offset + 1), repeat(None), payloads)
    return list(map(partial(tuple.__new__, NewEvent), rows))


def _actor(run: Run) -> str | None:
    return run.operation.user.shown if run.operation.user else None


def _block_events(account_id: UUID, run: Run, offset: int, lines: Lines, changes: list[ChangeLine]) -> list[NewEvent]:
    default_type = run.operation.object_type
    actor = _actor(run)
    preview = run.operation.mode == "preview"
    apart, run_id = outcome_stream_id(account_id, run.run_id).bytes, run.run_id
    streams: dict[str, Callable[[str], bytes]] = {}
    encode, new_event = _ENCODER.encode, partial(tuple.__new__, NewEvent)
    events: list[NewEvent] = []
    for sequence, change in enumerate(changes, offset + 1):
        record_id, object_type, action, result, occurred_at = (
            change.record_id, change.object_type or default_type, change.action, change.result, change.occurred_at
        )  # fmt: skip
        if object_type is None:
            raise _no_object_type(lines.numbers[sequence - offset - 1])
        before, after, details = change.before, change.after, change.details
        topic, implied = _TOPICS.get((action, result)) or (event_type_for(action, result).TOPIC, False)
        payload = encode(
            RecordShape(
                object_type,
                record_id,
                None if implied else action,
                _stored_before(action, before) if before in _ABSENT or action != "update" else before,
                NOTHING if after in _ABSENT else after,
                change.message,
                change.label,
                change.link,
                NOTHING if details in _ABSENT else details,
                actor,
                preview,
            )
        )
        if preview or record_id is None:
            stream = apart
        else:
            stream_of = streams.get(object_type)
            if stream_of is None:
                stream_of = streams[object_type] = record_streams(account_id.bytes, object_type)
            stream = stream_of(record_id)
        happened_at = None if occurred_at is None else parse_instant(occurred_at)
        events.append(new_event((stream, None, topic, run_id, sequence, happened_at, payload)))
    return events


def _stored_before(action: str, before: Raw) -> Raw:
    """Unknown before-values are stored as null, and only where there could be any: in updates and deletes."""
    if action == "create" or (action == "none" and before in _ABSENT):
        return NOTHING
    return _UNKNOWN if before in _ABSENT else before


def _no_object_type(number: int) -> BadLine:
    problem = Problem(
        "The object type is missing.", pointer="/object_type", line=number, found="nothing", expected="an object type"
    )
    return BadLine(
        f"Line {number} has no object_type, and its run names none. Set it on the line or on the run.",
        problems=(problem,),
    )
