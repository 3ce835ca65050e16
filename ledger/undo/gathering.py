"""What the ledger knows of the records that runs changed: their events from the first that concerns the undo on.

Records come in windows, in the order in which the runs first touched them, so that memory does not grow with the runs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby
from uuid import UUID

from ledger.domain.record import RecordErased, RecordEvent, RecordUnmodified
from ledger.ids import record_stream_id
from ledger.json_text import split_fields
from ledger.store.database import Database
from ledger.store.mapper import decode_record, is_record_topic
from ledger.store.rows import EventRow
from ledger.store.streams import Streams
from ledger.undo.net_effect import Erasure
from ledger.undo.request import Selection
from ledger.undo.result import Author

WINDOW_EVENTS = 8_000
"""Events of the runs looked at together."""
LINKS_MAX = 100
"""How often one record may have been created again under a new id."""
SEEN_BITS = 1 << 25
"""Size of the filter of streams seen: 4 MB, whatever the size of the runs; at 1,000,000 records it errs 0.02 %."""


Take = Callable[[Sequence[EventRow]], list[EventRow]]


@dataclass(slots=True)
class Gathered:
    """One record: its changing events from the runs' first on, in order, those of other runs included."""

    object_type: str
    record_id: str
    """The id it answers to now."""
    stream: UUID
    events: list[RecordEvent]
    position: int
    """Of the newest event seen in its stream."""
    origin: tuple[UUID, RecordEvent] | None = None
    """The stream it was found in, and the first event there that concerns the undo."""
    touched_by: set[str] = field(default_factory=set)
    """Run IDs of all later events, failed and unmodified ones too."""
    old_id: str | None = None
    erasures: list[tuple[int, Erasure]] = field(default_factory=list)
    """What was erased, and the position from which on values are new."""

    def erasure(self, event: RecordEvent) -> Erasure | None:
        """What was erased of an event after it was recorded."""
        later = [erasure for position, erasure in self.erasures if event.originator_version < position]
        if not later:
            return None
        if any(erasure.fields is None for erasure in later):
            return Erasure(None)
        return Erasure(frozenset().union(*(erasure.fields or () for erasure in later)))

    def author(self, name: str | None, now: bytes | None, own: frozenset[str]) -> Author:
        """Who wrote the present value of a field; of the record as a whole (name None), who last changed it but for
        the runs `own`. Outside the ledger where no event tells.
        """
        for event in reversed(self.events):
            before, after = split_fields(event.before), split_fields(event.after)
            if name is None:
                if event.run_id not in own:
                    return Author(event.run_id, event.actor, event.occurred_at)
            elif name in before or name in after:
                if after.get(name) == now:
                    return Author(event.run_id, event.actor, event.occurred_at)
                break
        return Author(None)


class Gathering:
    """Reads what runs of one account changed."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._account_id = account_id
        self._streams = Streams(database, account_id)

    def windows(
        self,
        runs: Sequence[str],
        selection: Selection,
        take: Take | None = None,
        *,
        since: datetime | None = None,
    ) -> Iterator[list[Gathered]]:
        """The records that the runs changed, each once, with all that happened to them since. `take` is offered the
        events first, and answers those that are left. `since`: only changes that happened after this instant."""
        group, seen = frozenset(runs), _SeenStreams()
        followed: set[UUID] = set()
        for rows in self._streams.runs(runs, WINDOW_EVENTS):
            first: dict[UUID, RecordEvent] = {}
            for row in rows if take is None else take(rows):
                if row.run_id not in group or not is_record_topic(row.topic) or row.payload is None:
                    continue
                if row.originator_id in first or (since is not None and row.occurred_at <= since):
                    continue
                event = decode_record(row)
                is_named = event.changes_the_record and event.record_id is not None
                if is_named and selection.takes_record(event.object_type, event.record_id or ""):
                    first[row.originator_id] = event
            doubtful = {stream: e.originator_version for stream, e in first.items() if not seen.add(stream)}
            if doubtful:
                for stream in self._streams.written_before(doubtful, runs):
                    del first[stream]
            for stream in followed & first.keys():
                del first[stream]
            yield self._without_followed(self.gather(first), followed) if first else []

    @staticmethod
    def _without_followed(records: list[Gathered], followed: set[UUID]) -> list[Gathered]:
        """Leaves out records that others became: they are dealt with under their old id."""
        followed.update(record.stream for record in records if record.old_id is not None)
        return [record for record in records if record.old_id is not None or record.stream not in followed]

    def events_of(self, run_id: str) -> Iterator[list[RecordEvent]]:
        """The record events of one run, in order, some at a time. Those erased whole are left out."""
        for rows in self._streams.runs([run_id], WINDOW_EVENTS):
            wanted = (row for row in rows if row.run_id == run_id and is_record_topic(row.topic))
            yield [decode_record(row) for row in wanted if row.payload is not None]

    def gather(self, first: Mapping[UUID, RecordEvent]) -> list[Gathered]:
        """The records in these streams, from these events on."""
        gathered = {
            stream: Gathered(
                event.object_type, event.record_id or "", stream, [event], event.originator_version, (stream, event)
            )
            for stream, event in first.items()
        }
        for stream, rows in groupby(self._later(gathered.values()), key=lambda row: row.originator_id):
            self._take(gathered[stream], rows)
        return list(gathered.values())

    def _later(self, records: Iterable[Gathered]) -> list[EventRow]:
        return self._streams.after({record.stream: record.position for record in records})

    def _take(self, record: Gathered, rows: Iterable[EventRow]) -> None:
        for row in rows:
            record.position = row.position
            record.touched_by.add(row.run_id)
            if row.payload is None:
                record.erasures.append((row.position + 1, Erasure(None)))
                continue
            event = decode_record(row)
            if isinstance(event, RecordErased):
                record.erasures.append((row.position, _erasure_of(event)))
            if event.changes_the_record:
                record.events.append(event)
            elif isinstance(event, RecordUnmodified) and (new_id := recreated_as(event)) is not None:
                self._follow(record, new_id)
                return

    def _follow(self, record: Gathered, new_id: str) -> None:
        """Goes on with the record under the id that a target gave it when an undo created it again."""
        record.old_id = record.old_id or record.record_id
        record.record_id = new_id
        record.stream, record.position = record_stream_id(self._account_id, record.object_type, new_id), 0
        assert len(record.events) < LINKS_MAX * WINDOW_EVENTS, "links never lead back: ids are new"
        self._take(record, self._later([record]))

    def present_id(self, object_type: str, record_id: str) -> str:
        """The id that a record answers to now, after any number of new ones."""
        stream = record_stream_id(self._account_id, object_type, record_id)
        record = Gathered(object_type, record_id, stream, [], 0)
        self._take(record, self._later([record]))
        return record.record_id


def recreated_as(event: RecordEvent) -> str | None:
    """The new id in an event that links a record to what it was created again as; None: it is no such event."""
    if event.details is None or b'"recreated_as"' not in event.details:
        return None
    found = json.loads(event.details)
    return str(found["recreated_as"]) if "recreated_as" in found else None


def _erasure_of(event: RecordErased) -> Erasure:
    if event.details is not None and b'"whole":true' in event.details:
        return Erasure(None)
    return Erasure(frozenset(split_fields(event.before)))


class _SeenStreams:
    """A Bloom filter over stream ids, which are hashes already: it may take a new one for seen, never the reverse."""

    def __init__(self) -> None:
        self._bits = bytearray(SEEN_BITS // 8)

    def add(self, stream: UUID) -> bool:
        """Whether the stream is surely new."""
        is_new, data, bits = False, stream.bytes, self._bits
        for start in (0, 4, 8, 12):
            bit = int.from_bytes(data[start : start + 4], "big") % SEEN_BITS
            byte, mask = bit >> 3, 1 << (bit & 7)
            if not bits[byte] & mask:
                is_new = True
                bits[byte] |= mask
        return is_new
