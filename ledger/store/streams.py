"""Many streams at once: what stands in them after, before, or altogether. For those who look at thousands of records.

Read by index, stream by stream: the planner, which cannot see through the account's view, would read the whole log.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

from psycopg import sql

from ledger.ids import run_stream_id
from ledger.store.database import Database
from ledger.store.mapper import decode_shape
from ledger.store.recorder import BY_INDEX
from ledger.store.rows import EVENT_COLUMNS, EventRow
from ledger.store.shapes import ChangesRecordedShape

_AFTER = sql.SQL("""
    SELECT {columns} FROM (SELECT {columns} FROM account_events WHERE originator_id = ANY(%(streams)s)) e
    JOIN unnest(%(streams)s::uuid[], %(versions)s::bigint[]) AS seen (stream, version) ON seen.stream = originator_id
    WHERE originator_version > seen.version
""").format(columns=sql.SQL(EVENT_COLUMNS))
_WRITTEN_BEFORE = """
    SELECT DISTINCT originator_id FROM (
        SELECT originator_id, originator_version FROM account_events
        WHERE originator_id = ANY(%(streams)s) AND run_id = ANY(%(runs)s)) e
    JOIN unnest(%(streams)s::uuid[], %(versions)s::bigint[]) AS seen (stream, version) ON seen.stream = originator_id
    WHERE originator_version < seen.version
"""
_FIRST = "SELECT min(position) FROM account_events WHERE originator_id = ANY(%s)"
_REPEATED = """
    SELECT originator_id FROM account_events WHERE position > %s AND position <= %s
    GROUP BY originator_id HAVING count(*) > 1 LIMIT %s
"""
_RANGE = sql.SQL("SELECT {} FROM account_events WHERE position > %(after)s AND position <= %(last)s").format(
    sql.SQL(EVENT_COLUMNS)
)
_BATCHES = """
    SELECT position, payload FROM account_events WHERE originator_id = ANY(%(streams)s) AND topic = 'changes-recorded'
"""
_RUN_EVENTS = sql.SQL(
    "SELECT {} FROM account_events WHERE originator_id = ANY(%(streams)s) AND topic <> 'changes-recorded'"
).format(sql.SQL(EVENT_COLUMNS))
_AT = sql.SQL("SELECT {} FROM account_events WHERE position = ANY(%(positions)s)").format(sql.SQL(EVENT_COLUMNS))
STREAMS_AT_ONCE = 1_000


class Streams:
    """Reads streams of one account."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database = database
        self._account_id = account_id

    def after(self, versions: Mapping[UUID, int]) -> list[EventRow]:
        """All events of these streams after the version given for each, by stream, in order."""
        parameters = {"streams": list(versions), "versions": list(versions.values())}
        rows = self._read(_AFTER, parameters)
        return sorted(rows, key=lambda row: (row.originator_id, row.originator_version))

    def written_before(self, versions: Mapping[UUID, int], runs: Sequence[str]) -> set[UUID]:
        """Those of the streams in which one of the runs has an event before the version given."""
        parameters = {"streams": list(versions), "versions": list(versions.values()), "runs": list(runs)}
        with self._database.transaction(self._account_id) as connection:
            connection.execute(BY_INDEX)
            return {row[0] for row in connection.execute(_WRITTEN_BEFORE, parameters)}

    def first_position(self, run_ids: Sequence[str]) -> int | None:
        """The position at which the first of these runs began; None: there is none of them."""
        streams = [run_stream_id(self._account_id, run_id) for run_id in run_ids]
        with self._database.transaction(self._account_id) as connection:
            row = connection.execute(_FIRST, (streams,)).fetchone()
        return None if row is None else row[0]

    def repeated(self, after: int, last: int, limit: int) -> set[UUID] | None:
        """The streams with more than one event at these positions; None: there are more than `limit`."""
        with self._database.transaction(self._account_id) as connection:
            rows = connection.cursor(binary=True).execute(_REPEATED, (after, last, limit + 1)).fetchall()
        return None if len(rows) > limit else {row[0] for row in rows}

    def runs(self, run_ids: Sequence[str], window: int) -> Iterator[list[EventRow]]:
        """The events of all batches of the runs in order of position, at most `window` at a time. Events of others
        may stand among them."""
        streams = [run_stream_id(self._account_id, run_id) for run_id in run_ids]
        with self._database.transaction(self._account_id) as connection:
            batches = connection.cursor(binary=True).execute(_BATCHES, {"streams": streams}).fetchall()
        ranges: list[tuple[int, int]] = []
        for position, payload in batches:
            shape = decode_shape("changes-recorded", payload or b"")
            assert isinstance(shape, ChangesRecordedShape)
            ranges.append((position - shape.tally.processed - 1, position - 1))
        spans = [
            {"after": start, "last": min(last, start + window)}
            for after, last in _joined(sorted(ranges))
            for start in range(after, last, window)
        ]
        with ThreadPoolExecutor(1, "ledger-ahead") as reader:  # the next window is read while this one is worked on
            ahead = reader.submit(self._read, _RANGE, spans[0]) if spans else None
            for number in range(len(spans)):
                assert ahead is not None
                rows = ahead.result()
                ahead = reader.submit(self._read, _RANGE, spans[number + 1]) if number + 1 < len(spans) else None
                yield sorted(rows)

    def run_events(self, run_ids: Iterable[str]) -> Iterator[EventRow]:
        """The runs' own events but those that count batches; of each run in order."""
        streams = [run_stream_id(self._account_id, run_id) for run_id in sorted(run_ids)]
        for start in range(0, len(streams), STREAMS_AT_ONCE):
            yield from sorted(self._read(_RUN_EVENTS, {"streams": streams[start : start + STREAMS_AT_ONCE]}))

    def at(self, positions: Iterable[int]) -> list[EventRow]:
        """The events at these positions, in order."""
        wanted = list(positions)
        return sorted(self._read(_AT, {"positions": wanted})) if wanted else []

    def between(self, after: int, last: int) -> list[EventRow]:
        """The events after one position up to another, in order."""
        return sorted(self._read(_RANGE, {"after": after, "last": last}))

    def _read(self, query: sql.Composed, parameters: dict[str, Any]) -> list[EventRow]:
        with self._database.transaction(self._account_id) as connection:
            connection.execute(BY_INDEX)
            rows = connection.cursor(binary=True).execute(query, parameters).fetchall()
        return [EventRow._make(row) for row in rows]


def _joined(ranges: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Neighbouring ranges (after, last) as one; between two batches stands only the event that counts the first."""
    begun: tuple[int, int] | None = None
    for after, last in ranges:
        if begun is not None and after <= begun[1] + 1:
            begun = (begun[0], last)
        else:
            if begun is not None:
                yield begun
            begun = (after, last)
    if begun is not None:
        yield begun
