"""What a leaf of the log says of an event: canonical JSON (RFC 8785), the entry that the tree hashes. Pure.

    {"account": ..., "commitment": ..., "counts": {...}, "occurred_at": ..., "position": ..., "recorded_at": ...,
     "run": ..., "sequence": ..., "stream": ..., "type": ..., "v": 1}

`commitment` is SHA-256(salt || payload) in hexadecimal: everything that an erasure can remove is behind a salt of 128
random bits, which goes with it. `stream` is SHA-256(salt || "stream" || the stream's id), a pseudonym for this one
event: the id is made from the record's id, which may be a telephone number, and without the salt nobody can try those
out; nor can anybody tell which leaves belong to one record. Who is given salt, payload and stream id can check both.
The Run ID stands as it is: it names an execution, is meant to be shared, and tells which rows belong to a report even
where they were erased. `counts` stand on the beginning and the end of a run and on each batch, so that a row that was
dropped, added or moved contradicts them. Times are RFC 3339 in UTC with six digits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

import msgspec

from ledger.domain.tally import Tally
from ledger.integrity.tiles import ENTRY_SIZE_MAX

KNOWN_MAX = 10_000
"""Texts and times that an encoder remembers: most events of a batch share theirs."""
STREAM_TAG = b"stream"
"""Stands between salt and stream id, so that no payload gives the same hash."""
SALT_SIZE = 16

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)


class Sealed(NamedTuple):
    """An event as it goes into a leaf. Exactly as the columns are stored: times in PostgreSQL's eight bytes."""

    position: int
    stream: bytes
    """The stream id's 16 bytes."""
    topic: str
    run_id: str
    sequence: int
    recorded_at: bytes
    occurred_at: bytes
    salt: bytes | None
    payload: bytes | None


class Commitments(NamedTuple):
    """What a leaf keeps of salt, stream id and payload; all that is left of an event that was erased."""

    payload: bytes
    stream: bytes


def commitments_of(salt: bytes, stream: bytes, payload: bytes) -> Commitments:
    """Both of one event."""
    return Commitments(sha256(salt + payload).digest(), sha256(salt + STREAM_TAG + stream).digest())


class LeafEncoder:
    """Makes the entries of one account; fast for many events of the same runs and times."""

    def __init__(self, account_id: UUID) -> None:
        self._head = f'{{"account":"{account_id}","commitment":"'
        self._texts: dict[str, str] = {}
        self._times: dict[bytes, str] = {}

    def encode(
        self,
        events: Iterable[Sealed],
        counts: Mapping[int, Tally],
        erased: Mapping[int, Commitments],
    ) -> Iterator[bytes]:
        """The entry of each event. `counts`: by position, where the leaf has them; `erased`: likewise, for those
        without salt."""
        head, texts, times = self._head, self._texts, self._times
        for position, stream, topic, run_id, sequence, recorded_at, occurred_at, salt, payload in events:
            if salt is None or payload is None:
                kept = erased[position]
                commitment, pseudonym = kept.payload.hex(), kept.stream.hex()
            else:
                commitment = sha256(salt + payload).hexdigest()
                pseudonym = sha256(salt + STREAM_TAG + stream).hexdigest()
            tally = counts.get(position)
            entry = (
                f'{head}{commitment}"{"" if tally is None else _format_counts(tally)},"occurred_at":"'
                f'{times.get(occurred_at) or self._time(occurred_at)}","position":{position},"recorded_at":"'
                f'{times.get(recorded_at) or self._time(recorded_at)}","run":{texts.get(run_id) or self._text(run_id)},'
                f'"sequence":{sequence},"stream":"{pseudonym}","type":{texts.get(topic) or self._text(topic)},"v":1}}'
            ).encode()
            assert len(entry) <= ENTRY_SIZE_MAX, "a Run ID and a topic are short"
            yield entry

    def _text(self, value: str) -> str:
        if len(self._texts) > KNOWN_MAX:
            self._texts.clear()
        text = self._texts[value] = msgspec.json.encode(value).decode()
        return text

    def _time(self, value: bytes) -> str:
        if len(self._times) > KNOWN_MAX:
            self._times.clear()
        text = self._times[value] = format_time(int.from_bytes(value, signed=True))
        return text


def format_time(microseconds: int) -> str:
    """An instant, given as microseconds since 2000-01-01 UTC, as text."""
    return (_EPOCH + timedelta(microseconds=microseconds)).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _format_counts(tally: Tally) -> str:
    return (
        f',"counts":{{"created":{tally.created},"deleted":{tally.deleted},"failed":{tally.failed},"other":{tally.other}'
        f',"unmodified":{tally.unmodified},"updated":{tally.updated}}}'
    )
