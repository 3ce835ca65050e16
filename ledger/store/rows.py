"""Rows of the events table, and their binary COPY form.

The form is PostgreSQL's ("COPY", Binary Format): each row a field count, then each field as its length and its bytes.
First come the columns that are mostly the same in a block, then all of fixed width, which one `struct` packs at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, repeat
from struct import Struct, unpack
from typing import NamedTuple
from uuid import UUID

from eventsourcing.persistence import StoredEvent

COPY_EVENTS = (
    "COPY events (topic, run_id, account_id, position, originator_id, originator_version, recorded_at, occurred_at,"
    " sequence, salt, payload) FROM STDIN (FORMAT BINARY)"
)
SALT_SIZE = 16
"""Bytes. 128 random bits: nobody can try out payloads against a leaf."""
BLOCK_ROWS = 64
"""Events a block: PostgreSQL stores one block while the next is made. Some 30 kB, which a socket takes at once; with
several times as many, measured, PostgreSQL waits for us and we for it."""
UNFLUSHED_BYTES_MAX = 8 * 1024 * 1024
"""What may wait in memory for the socket before an append waits too: a batch or two, so that it need not."""

_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_FIXED = Struct(">q 4s16s 4sq 12s 12s 4sq 4s16s i".replace(" ", ""))
"""From the position to the payload's length. What is the same in all rows goes in as bytes, lengths too."""
_COUNT, _LENGTH, _EIGHT_BYTES = Struct(">h").pack, Struct(">i").pack, Struct(">iq").pack
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class NewEvent(NamedTuple):
    """An event about to be appended; position and recorded_at are given by the append."""

    stream: bytes
    """The originator_id's 16 bytes."""
    version: int | None
    """None: the position, as in record streams."""
    topic: str
    run_id: str
    sequence: int
    occurred_at: datetime | None
    """None: the moment of recording."""
    payload: bytes


@dataclass(frozen=True)
class LedgerStoredEvent(StoredEvent):
    """The library's stored event with the columns that are ours."""

    run_id: str = ""
    sequence: int = 0
    occurred_at: datetime | None = None
    recorded_at: datetime | None = None


class EventRow(NamedTuple):
    """An event as it is stored. `payload` is None where it was erased."""

    position: int
    originator_id: UUID
    originator_version: int
    topic: str
    run_id: str
    sequence: int
    occurred_at: datetime
    recorded_at: datetime
    payload: bytes | None


EVENT_COLUMNS = ", ".join(EventRow._fields)
"""The columns of EventRow, for SELECT lists."""


def encode_copy(
    account: bytes, first_position: int, recorded_at: datetime, blocks: Iterable[Sequence[NewEvent]]
) -> Iterator[bytes]:
    """The COPY data for the events of `blocks` at the positions from `first_position` on."""
    eight, sixteen, recorded = _LENGTH(8), _LENGTH(16), _instant(recorded_at)
    heads: dict[tuple[str, str], bytes] = {}
    yield _HEADER
    for block in filter(None, blocks):
        streams, versions, topics, run_ids, sequences, instants, payloads = zip(*block, strict=True)
        names = list(zip(topics, run_ids, strict=True))
        for topic, run_id in set(names).difference(heads):
            heads[topic, run_id] = _COUNT(11) + _text(topic) + _text(run_id) + sixteen + account + eight
        positions = range(first_position, first_position + len(block))
        numbers = [at if version is None else version for at, version in zip(positions, versions, strict=True)]
        fixed = map(
            _FIXED.pack,
            positions,
            repeat(sixteen), streams,
            repeat(eight), numbers,
            repeat(recorded),
            [recorded if instant is None else _instant(instant) for instant in instants],
            repeat(eight), sequences,
            repeat(sixteen), unpack(f"{SALT_SIZE}s" * len(block), os.urandom(SALT_SIZE * len(block))),
            map(len, payloads),
        )  # fmt: skip
        yield b"".join(chain.from_iterable(zip(map(heads.__getitem__, names), fixed, payloads, strict=True)))
        first_position += len(block)
    yield _TRAILER


def microseconds(instant: datetime) -> int:
    """PostgreSQL's timestamptz: microseconds since 2000-01-01 UTC."""
    return (instant - _EPOCH) // _MICROSECOND


def _instant(value: datetime) -> bytes:
    return _EIGHT_BYTES(8, microseconds(value))


def _text(value: str) -> bytes:
    data = value.encode()
    return _LENGTH(len(data)) + data
