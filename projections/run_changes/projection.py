"""The fold of run_changes: one row a change, and in which blocks of positions a value occurs. No SQL here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from struct import Struct
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec import Raw

from ledger.errors import IntegrityFailed
from ledger.store.shapes import RecordShape
from projections.binary_format import HEADER, LENGTH_BYTES, TRAILER, text, text_array
from projections.events.batch import Batch, Change, indexable

BLOCK_POSITIONS = 4_096
"""Positions a block of change_blocks: a block is read in some milliseconds, and a field that occurs in all of them
costs one row in 4,096."""
COPY_ROWS = 512
"""Rows a piece of COPY data: PostgreSQL stores one while the next is made."""

_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_NONE = (b"", b"null")
_ACTIONS = {
    "record-created": "create",
    "record-updated": "update",
    "record-deleted": "delete",
    "record-unmodified": "none",
}
_FIXED = Struct(">h i16s ii iq iq i8s i? i?".replace(" ", ""))
COLUMNS = (
    "account_id, generation, position, sequence, occurred_at, failed, preview,"
    " run_id, action, object_type, actor, fields, record_id, label, message"
)
"""In the order of copy_data."""


class Block(NamedTuple):
    """A row of change_blocks."""

    facet: str
    value: str
    block: int


@dataclass(slots=True)
class ChangeRows:
    """What a batch adds: its changes, each with the names of its changed fields, and the blocks that they are in."""

    changes: list[tuple[Change, tuple[str, ...]]] = field(default_factory=list)
    blocks: set[Block] = field(default_factory=set)


def fold(batch: Batch) -> ChangeRows:
    rows = ChangeRows()
    seen: set[tuple[object, ...]] = set()
    add = rows.changes.append
    for change in batch.changes:
        row, shape = change
        fields = changed_fields(shape)
        add((change, fields))
        key = (row.position // BLOCK_POSITIONS, row.run_id, row.topic == "record-failed", shape.object_type, fields)
        if key not in seen:
            seen.add(key)
            rows.blocks.update(_blocks_of(batch, change, fields))
    return rows


def changed_fields(shape: RecordShape) -> tuple[str, ...]:
    """Names of the fields whose value differs between before and after, sorted, ready for indexed text."""
    before_text, after_text = bytes(shape.before), bytes(shape.after)
    before = {} if before_text in _NONE else _FIELDS.decode(before_text)
    after = {} if after_text in _NONE else _FIELDS.decode(after_text)
    if before and after:
        names = [name for name, value in after.items() if before.get(name) != value]
        names += [name for name in before if name not in after]
    else:
        names = list(before or after)
    if shape.erased_fields:
        names = list({*names, *shape.erased_fields})
    names.sort()
    if "\0" in "".join(names):
        names = [name.replace("\0", "\ufffd") for name in names]
    return tuple(names)


def action_of(change: Change) -> str:
    """What the run did to the record, in the producer's word."""
    return change.shape.action or _ACTIONS.get(change.row.topic, "update")


def copy_data(account_id: UUID, generation: int, rows: ChangeRows) -> Iterator[bytes]:
    """The rows of run_changes as binary COPY data."""
    account, fixed = account_id.bytes, _FIXED.pack
    tails: dict[tuple[object, ...], bytes] = {}
    yield HEADER
    for start in range(0, len(rows.changes), COPY_ROWS):
        parts: list[bytes] = []
        for (row, shape), fields in rows.changes[start : start + COPY_ROWS]:
            position, _, topic, run_id, sequence, occurred_at, _ = row
            key = (topic, run_id, shape.action, shape.object_type, shape.actor, fields)
            tail = tails.get(key)
            if tail is None:
                tail = tails[key] = _tail(Change(row, shape), fields)
            failed = topic == "record-failed"
            parts += (
                fixed(15, 16, account, 4, generation, 8, position, 8, sequence, 8, occurred_at, 1, failed,
                      1, shape.preview),
                tail,
                text(shape.record_id),
                text(shape.label),
                text(shape.message),
            )  # fmt: skip
        yield b"".join(parts)
    yield TRAILER


def expected_rows(rows: ChangeRows) -> list[tuple[object, ...]]:
    """The rows of run_changes as a comparison reads them: times and names of fields in PostgreSQL's binary form."""
    arrays: dict[tuple[str, ...], bytes] = {}
    found: list[tuple[object, ...]] = []
    for change, fields in rows.changes:
        row, shape = change
        names = arrays.get(fields)
        if names is None:
            names = arrays[fields] = text_array(fields)[LENGTH_BYTES:]
        found.append((
            row.position, row.sequence, row.occurred_at, row.topic == "record-failed", shape.preview, row.run_id,
            action_of(change), shape.object_type, _stored_actor(shape), names, shape.record_id, shape.label,
            shape.message,
        ))  # fmt: skip
    return found


def _stored_actor(shape: RecordShape) -> str | None:
    return shape.actor and shape.actor.replace("\0", "\ufffd")


def _tail(change: Change, fields: tuple[str, ...]) -> bytes:
    row, shape = change
    head = text(row.run_id) + text(action_of(change)) + text(shape.object_type)
    return head + text(_stored_actor(shape)) + text_array(fields)


def _blocks_of(batch: Batch, change: Change, fields: tuple[str, ...]) -> Iterator[Block]:
    row, shape = change
    block = row.position // BLOCK_POSITIONS
    start = batch.starts.get(row.run_id)
    if start is None:
        raise IntegrityFailed(f"The change at position {row.position} is of run {row.run_id}, which never began.")
    what = start.operation
    for name in fields:
        yield Block("field", indexable(name), block)
    yield Block("object_type", shape.object_type, block)
    if shape.actor:
        yield Block("user", indexable(shape.actor), block)
    if what.template:
        yield Block("template", indexable(what.template.name or what.template.id), block)
    if row.topic == "record-failed":
        yield Block("failed_run", row.run_id, block)
