"""Rows of the events table, and their binary COPY form.

The form is PostgreSQL's ("COPY", Binary Format): each row a field count, then each field as its length and its bytes.
All columns of fixed width come first, so that one `struct` packs them at once.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from struct import Struct
from typing import NamedTuple
from uuid import UUID

from eventsourcing.persistence import StoredEvent

COPY_EVENTS = (
    "COPY events (account_id, position, originator_id, originator_version, recorded_at, occurred_at, sequence, salt,"
    " topic, run_id, payload) FROM STDIN (FORMAT BINARY)"
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
_FIXED = Struct(">h i16s iq i16s iq iq iq iq i16s".replace(" ", ""))
_LENGTH = Struct(">i").pack
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
    recorded = microseconds(recorded_at)
    tails: dict[tuple[str, str], bytes] = {}
    fixed, length = _FIXED.pack, _LENGTH
    position = first_position
    yield _HEADER
    for block in blocks:
        salts = os.urandom(SALT_SIZE * len(block))
        parts: list[bytes] = []
        for number, (stream, version, topic, run_id, sequence, occurred_at, payload) in enumerate(block):
            tail = tails.get((topic, run_id))
            if tail is None:
                tail = tails[topic, run_id] = _text(topic) + _text(run_id)
            parts += (
                fixed(
                    11,
                    16, account,
                    8, position,
                    16, stream,
                    8, position if version is None else version,
                    8, recorded,
                    8, recorded if occurred_at is None else microseconds(occurred_at),
                    8, sequence,
                    SALT_SIZE, salts[number * SALT_SIZE : (number + 1) * SALT_SIZE],
                ),
                tail,
                length(len(payload)),
                payload,
            )  # fmt: skip
            position += 1
        yield b"".join(parts)
    yield _TRAILER


def microseconds(instant: datetime) -> int:
    """PostgreSQL's timestamptz: microseconds since 2000-01-01 UTC."""
    return (instant - _EPOCH) // _MICROSECOND


def _text(value: str) -> bytes:
    data = value.encode()
    return _LENGTH(len(data)) + data
