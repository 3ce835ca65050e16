"""A run's changes out of the log: which positions they lie at, and their payloads, a few megabytes at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection

from ledger.ids import run_stream_id
from ledger.store.database import Database
from ledger.store.mapper import decode_shape
from ledger.store.rows import EVENT_COLUMNS, EventRow
from ledger.store.shapes import ChangesRecordedShape

SPAN_CHANGES_MAX = 5_000
"""Changes read at once: one full batch, or many small ones that lie near one another."""
SPAN_BYTES_MAX = 4 * 1024 * 1024
"""Payload bytes read at once, where several batches are read together; one batch is bounded by its sender's limits."""
STREAM_ROWS = 5_000

_BATCHES = """
    SELECT originator_version, position, topic, payload FROM account_events
    WHERE originator_id = %s AND originator_version BETWEEN %s AND %s ORDER BY originator_version
"""
"""Versions of run streams have no gap, so a range is a number of events. A LIMIT instead would sort the whole stream
for each piece: the view keeps the planner from using the index's order."""
_CHANGES = "FROM account_events WHERE position BETWEEN %(first)s AND %(last)s AND run_id = %(run)s AND sequence > 0"
_PAYLOADS = f"""
    SELECT string_agg(coalesce(payload, 'null'), '\\x0a'), array_agg(topic), array_agg(sequence) {_CHANGES}
"""
_ROWS = f"SELECT {EVENT_COLUMNS} {_CHANGES} ORDER BY position"
_CUTS = f"""
    SELECT max(position) FROM (
        SELECT position, sum(octet_length(payload)) OVER (ORDER BY position) / %(bytes)s AS part {_CHANGES}
    ) AS changes GROUP BY part ORDER BY 1
"""  # noqa: S608  (constants only)


class Span(NamedTuple):
    """Positions first to last, both included, between which changes of a run lie; perhaps other events too."""

    run_id: str
    first: int
    last: int
    changes: int
    batches: int = 1


class Payloads(NamedTuple):
    """The payloads of some changes, one a line (`null`: erased), and their topics. JSON holds no raw line ends."""

    run_id: str
    block: bytes
    topics: list[str]


class RunReader:
    """Reads the changes of an account's runs.

    Events never change, so that each piece is a transaction of its own: a slow reader holds nothing back.
    """

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database = database
        self._account_id = account_id

    def payloads(self, run_id: str) -> Iterator[Payloads]:
        """All changes of the run, in order."""
        for span in self._pieces(run_id):
            with self._database.transaction(self._account_id) as connection:
                cursor = connection.cursor(binary=True)
                row = cursor.execute(_PAYLOADS, _bounds(span), prepare=True).fetchone()
            if row is not None and row[0] is not None:
                yield _in_order(run_id, *row)

    def rows(self, run_id: str) -> Iterator[list[EventRow]]:
        """The same, as whole rows."""
        for span in self._pieces(run_id):
            with self._database.transaction(self._account_id) as connection:
                fetched = connection.cursor(binary=True).execute(_ROWS, _bounds(span), prepare=True).fetchall()
            yield [EventRow._make(row) for row in fetched]

    def _pieces(self, run_id: str) -> Iterator[Span]:
        for span in joined_spans(self._spans(run_id)):
            if span.batches == 1:
                yield span
                continue
            with self._database.transaction(self._account_id) as connection:
                cuts = _cuts(connection, span)
            first = span.first
            for last in cuts:
                yield span._replace(first=first, last=last)
                first = last + 1

    def _spans(self, run_id: str) -> Iterator[Span]:
        """Where the run's batches lie: directly before each of its changes-recorded events."""
        stream, version = run_stream_id(self._account_id, run_id), 0
        while True:
            bounds = (stream, version + 1, version + STREAM_ROWS)
            with self._database.transaction(self._account_id) as connection:
                rows = connection.cursor(binary=True).execute(_BATCHES, bounds).fetchall()
            for _, position, topic, payload in rows:
                shape = decode_shape(topic, payload or b"")
                if isinstance(shape, ChangesRecordedShape) and shape.tally.processed:
                    number = shape.tally.processed
                    yield Span(run_id, position - number, position - 1, number)
            if len(rows) < STREAM_ROWS:
                return
            version += STREAM_ROWS


def _in_order(run_id: str, block: bytes, topics: list[str], sequences: list[int]) -> Payloads:
    """Sorting here what nearly always comes sorted (the key is read in its order) costs a third of sorting there."""
    if sequences == sorted(sequences):
        return Payloads(run_id, block, topics)
    changes = sorted(zip(sequences, topics, block.split(b"\n"), strict=True))
    return Payloads(run_id, b"\n".join(line for _, _, line in changes), [topic for _, topic, _ in changes])


def joined_spans(spans: Iterator[Span]) -> Iterator[Span]:
    """Neighbouring small spans as one, as long as it holds few changes and not much between them."""
    joined: Span | None = None
    for span in spans:
        if joined is None:
            joined = span
            continue
        changes = joined.changes + span.changes
        if changes <= SPAN_CHANGES_MAX and span.last - joined.first < 4 * changes:
            joined = Span(joined.run_id, joined.first, span.last, changes, joined.batches + span.batches)
        else:
            yield joined
            joined = span
    if joined is not None:
        yield joined


def _cuts(connection: Connection[Any], span: Span) -> list[int]:
    parameters = _bounds(span) | {"bytes": SPAN_BYTES_MAX}
    return [row[0] for row in connection.execute(_CUTS, parameters)]


def _bounds(span: Span) -> dict[str, Any]:
    return {"first": span.first, "last": span.last, "run": span.run_id}
