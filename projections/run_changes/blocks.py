"""Which blocks of positions a search must look at, newest first: every filter with an index leaves some out."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import UUID

from ledger.ids import record_stream_id, run_stream_id
from ledger.store.database import Database
from ledger.store.recorder import Recorder
from projections.events.batch import indexable
from projections.run_changes.projection import BLOCK_POSITIONS
from projections.run_changes.view import ChangeSearch
from projections.tracking.postgres import live_generation

BLOCKS_FETCHED = 128

_BY_FACETS = """
    SELECT block FROM change_blocks AS one
    WHERE account_id = %(account)s AND generation = %(generation)s AND facet = %(facet)s AND value = %(value)s
    AND block BETWEEN %(low)s AND %(high)s
    AND NOT EXISTS (
        SELECT FROM unnest(%(facets)s::text[], %(values)s::text[]) AS other (facet, value)
        WHERE NOT EXISTS (
            SELECT FROM change_blocks AS found
            WHERE found.account_id = %(account)s AND found.generation = %(generation)s
            AND found.facet = other.facet AND found.value = other.value AND found.block = one.block))
    ORDER BY block DESC LIMIT %(limit)s
"""
_BY_RECORD = """
    SELECT DISTINCT originator_version / %(size)s AS block FROM account_events
    WHERE originator_id = %(stream)s AND originator_version BETWEEN %(first)s AND %(last)s
    ORDER BY block DESC LIMIT %(limit)s
"""
_RUN_SPAN = "SELECT min(position), max(position) FROM account_events WHERE originator_id = %s"


def candidate_blocks(database: Database, account_id: UUID, search: ChangeSearch) -> Iterator[int]:
    """Numbers of the blocks in which there may be matches, newest first."""
    head = Recorder(database, account_id).max_notification_id() or 0
    high = (head if search.after is None else min(search.after - 1, head)) // BLOCK_POSITIONS
    low = 0
    if search.run_id is not None:
        with database.transaction(account_id) as connection:
            row = connection.execute(_RUN_SPAN, (run_stream_id(account_id, search.run_id),)).fetchone()
        if row is not None and row[0] is not None:
            low, high = row[0] // BLOCK_POSITIONS, min(high, row[1] // BLOCK_POSITIONS)
    facets = _facets(search)
    if search.object_type is not None and search.record_id is not None and not search.preview:
        yield from _by_record(database, account_id, search, low, high)
    elif facets:
        yield from _by_facets(database, account_id, facets, low, high)
    else:
        yield from range(high, low - 1, -1)


def _facets(search: ChangeSearch) -> list[tuple[str, str]]:
    """The most selective first, by guess."""
    named = (
        ("failed_run", search.run_id if search.result == "failed" else None),
        ("field", search.field),
        ("template", search.template),
        ("user", search.user),
        ("object_type", search.object_type),
    )
    return [(facet, indexable(value)) for facet, value in named if value]


def _by_facets(
    database: Database, account_id: UUID, facets: list[tuple[str, str]], low: int, high: int
) -> Iterator[int]:
    (facet, value), *others = facets
    while high >= low:
        with database.transaction(account_id) as connection:
            parameters = {
                "account": account_id,
                "generation": live_generation(connection, account_id, "run_changes"),
                "facet": facet,
                "value": value,
                "facets": [name for name, _ in others],
                "values": [text for _, text in others],
                "low": low,
                "high": high,
                "limit": BLOCKS_FETCHED,
            }
            blocks = [row[0] for row in connection.execute(_BY_FACETS, parameters)]
        yield from blocks
        if len(blocks) < BLOCKS_FETCHED:
            return
        high = blocks[-1] - 1


def _by_record(database: Database, account_id: UUID, search: ChangeSearch, low: int, high: int) -> Iterator[int]:
    stream = record_stream_id(account_id, search.object_type or "", search.record_id or "")
    while high >= low:
        with database.transaction(account_id) as connection:
            parameters = {
                "stream": stream,
                "size": BLOCK_POSITIONS,
                "first": low * BLOCK_POSITIONS,
                "last": high * BLOCK_POSITIONS + BLOCK_POSITIONS - 1,
                "limit": BLOCKS_FETCHED,
            }
            blocks = [row[0] for row in connection.execute(_BY_RECORD, parameters)]
        yield from blocks
        if len(blocks) < BLOCKS_FETCHED:
            return
        high = blocks[-1] - 1
