"""Reading the tracker: pages of runs in time that does not grow with their number.

LIKE and array operators are not leakproof, so row-level security keeps them from indexes. A text is looked up among the
few distinct values first, then asked for by equality. Statements are never prepared: a plan is good only for the values
that it was made for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from psycopg import Connection, sql

from ledger.domain.run import SystemFault
from ledger.domain.tally import Tally
from ledger.errors import InputError, NotFound, Problem
from ledger.store.database import Database
from ledger.store.mapper import decode_shape
from ledger.store.shapes import RunStartedShape
from ledger.undo.guards import lease_purpose
from projections.tracker.cursor import Place, bad_cursor, format_cursor, parse_cursor
from projections.tracker.projection import fold_case
from projections.tracker.question.postgres import RUN_COLUMNS, WALK, Question, Statement
from projections.tracker.view import (
    FACETS,
    PAGE_SIZE_MAX,
    SORTS,
    TOTAL_MAX,
    Facet,
    Limits,
    RunPage,
    RunQuery,
    TrackerRow,
)
from projections.tracking.postgres import live_generation

FACET_VALUES_MAX = 500
"""Values of a drop-down."""
NAME = "tracker"
_MODES = ("update", "preview", "all")

_MATCHING_VALUES = """
    SELECT facet, value FROM tracker_values WHERE account_id = %s AND generation = %s
    AND facet IN ('template', 'object_type') AND position(%s IN folded) > 0 ORDER BY facet, value LIMIT %s
"""
_FACET_VALUES = """
    SELECT value FROM tracker_values WHERE account_id = %s AND generation = %s AND facet = %s
    ORDER BY folded, value LIMIT %s
"""
_GET = sql.SQL("SELECT {} FROM tracker t WHERE account_id = %s AND generation = %s AND run_id = %s").format(RUN_COLUMNS)
_HELD = "SELECT purpose FROM leases WHERE account_id = %s AND purpose = ANY(%s) AND expires_at > clock_timestamp()"
_FAULT = msgspec.json.Decoder(SystemFault)


class Tracker:
    """The Activity Tracker of one account."""

    def __init__(self, database: Database, account_id: UUID, *, limits: Limits = Limits()) -> None:  # noqa: B008 - a value
        self._database = database
        self._account_id = account_id
        self._limits = limits

    def list_runs(self, query: RunQuery) -> RunPage:
        """One page of runs. Raises InputError for a value that cannot be, a foreign cursor among them."""
        _check(query)
        place = parse_cursor(query)
        with self._database.transaction(self._account_id) as connection:
            generation = live_generation(connection, self._account_id, NAME)
            question = Question(
                query,
                self._account_id,
                generation,
                texts=self._texts_of(connection, generation, query),
                look=lambda statement: _one(connection, statement),
                limits=self._limits,
            )
            connection.execute(WALK)
            try:
                found = connection.execute(*question.page(place), prepare=False).fetchall()
            except psycopg.DataError:
                if query.cursor is None:
                    raise
                raise bad_cursor(query.cursor) from None
            rows, following = _cut(found, query.page_size, len(question.order))
            if place is None and following is None:
                place = Place((), len(rows), False)
            elif place is None and len(rows) < query.page_size and query.sort == "started_at":
                place = Place((), len(rows), True)  # counting would walk the same way, and less far
            elif place is None:
                counted, is_cut = _one(connection, question.count())
                place = Place((), max(min(counted, TOTAL_MAX), len(rows)), is_cut or counted > TOTAL_MAX)
            rows = self._with_interruptions(connection, rows)
        return RunPage(
            rows,
            None if following is None else format_cursor(query, place._replace(key=following)),
            place.total,
            place.total_is_capped,
        )

    def get_run(self, run_id: str) -> TrackerRow:
        """One run. Raises NotFound."""
        with self._database.transaction(self._account_id) as connection:
            generation = live_generation(connection, self._account_id, NAME)
            found = connection.execute(_GET, (self._account_id, generation, run_id.replace("\0", "\ufffd"))).fetchone()
            rows = self._with_interruptions(connection, [] if found is None else [_row(found)])
        if not rows:
            raise NotFound(
                f"The tracker has no run {run_id}. A run sent just now appears in a moment; wait for its position.",
                run_id=run_id,
            )
        return rows[0]

    def children(self, recipe_run_id: str) -> Iterator[TrackerRow]:
        """The runs of a recipe, in the order they started, previews too."""
        query = RunQuery(recipe_run_id=recipe_run_id, mode="all", descending=False, page_size=PAGE_SIZE_MAX)
        while True:
            page = self.list_runs(query)
            yield from page.rows
            if page.next_cursor is None:
                return
            query = replace(query, cursor=page.next_cursor)

    def facet_values(self, facet: Facet) -> list[str]:
        """The distinct values of a column, in alphabetical order, at most FACET_VALUES_MAX. Raises InputError."""
        if facet not in FACETS:
            raise _not_one_of("facet", facet, FACETS)
        with self._database.transaction(self._account_id) as connection:
            generation = live_generation(connection, self._account_id, NAME)
            parameters = (self._account_id, generation, facet, FACET_VALUES_MAX)
            return [value for (value,) in connection.execute(_FACET_VALUES, parameters)]

    def _with_interruptions(self, connection: Connection[Any], rows: list[TrackerRow]) -> list[TrackerRow]:
        """The rows, with undos that nobody carries out marked: no event tells that a process died."""
        running = [lease_purpose(row.run_id) for row in rows if row.undoes and row.status == "running"]
        if not running:
            return rows
        held = {purpose for (purpose,) in connection.execute(_HELD, (self._account_id, running))}
        idle = set(running) - held
        return [replace(row, is_interrupted=True) if lease_purpose(row.run_id) in idle else row for row in rows]

    def _texts_of(self, connection: Connection[Any], generation: int, query: RunQuery) -> dict[str, list[str]]:
        """Facet to its values that the query's text stands in."""
        if not query.text:
            return {}
        wanted = fold_case(query.text.replace("\0", "\ufffd"))
        found: dict[str, list[str]] = {}
        parameters = (self._account_id, generation, wanted, FACET_VALUES_MAX)
        for facet, value in connection.execute(_MATCHING_VALUES, parameters, prepare=False):
            found.setdefault(facet, []).append(value)
        return found


def _one(connection: Connection[Any], statement: Statement) -> tuple[Any, ...]:
    row: tuple[Any, ...] | None = connection.execute(*statement, prepare=False).fetchone()
    assert row is not None, "a row for certain"
    return row


def _cut(found: list[tuple[Any, ...]], page_size: int, keys: int) -> tuple[list[TrackerRow], tuple[str, ...] | None]:
    """The rows of a page out of Question.page's, and the key after which the next page begins: that of its last row, or
    of the row where looking stopped."""
    rows: list[TrackerRow] = []
    key: tuple[str, ...] = ()
    for row in found:
        *_, matches, stops = row
        if len(rows) == page_size:
            return rows, key
        key = row[-keys - 2 : -2]
        if matches:
            rows.append(_row(row))
        if stops:
            return rows, key
    return rows, None


def _row(found: tuple[Any, ...]) -> TrackerRow:
    run_id, facts, finished_at, status, updated, created, deleted, unmodified, other, failed = found[:10]
    error, position, undone_by, undo_under_way = found[10:14]
    start = decode_shape("run-started", facts)
    assert isinstance(start, RunStartedShape)
    return TrackerRow(
        run_id=run_id,
        operation=replace(start.operation, details=bytes(start.details) or None),
        started_at=start.started_at,
        finished_at=finished_at,
        status=status,
        tally=Tally(updated, created, deleted, unmodified, other, failed),
        error=None if error is None else _FAULT.decode(error),
        position=position,
        undoes=start.undoes,
        undone_by=(undone_by,) if undone_by else (),
        undo_under_way=undo_under_way or None,
    )


def _check(query: RunQuery) -> None:
    if query.sort not in SORTS:
        raise _not_one_of("sort", query.sort, SORTS)
    if query.mode not in _MODES:
        raise _not_one_of("mode", query.mode, _MODES)
    if not 1 <= query.page_size <= PAGE_SIZE_MAX:
        problem = Problem(
            "The page size is not valid.",
            parameter="page_size",
            found=str(query.page_size),
            expected=f"1 to {PAGE_SIZE_MAX}",
        )
        raise InputError(f"A page has 1 to {PAGE_SIZE_MAX} runs.", problems=(problem,))


def _not_one_of(parameter: str, found: str, allowed: tuple[str, ...]) -> InputError:
    problem = Problem(
        f"The {parameter} is not known.", parameter=parameter, found=repr(found[:80]), expected=", ".join(allowed)
    )
    return InputError(f"There is no {parameter} {found[:80]!r}. Use one of {', '.join(allowed)}.", problems=(problem,))
