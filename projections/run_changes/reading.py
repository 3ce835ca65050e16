"""The changes of runs, page by page, and the search across runs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from ledger.errors import InputError, Problem
from ledger.ids import run_stream_id
from ledger.store.database import Database
from ledger.store.event_store import AccountStore
from ledger.store.mapper import decode_shape
from ledger.store.rows import EVENT_COLUMNS, EventRow
from ledger.store.shapes import RunStartedShape
from projections.events.batch import indexable
from projections.families import Families
from projections.run_changes.blocks import candidate_blocks
from projections.run_changes.decoding import decode_change
from projections.run_changes.matching import holds_text, matches_values
from projections.run_changes.projection import BLOCK_POSITIONS
from projections.run_changes.view import PAGE_LIMIT_MAX, Change, ChangePage, ChangeQuery, ChangeSearch
from projections.tracking.postgres import live_generation

WINDOW_ROWS = 20_000
"""Rows of one run looked at in one query, at most. The first query of a page looks at no more than would fill it, each
after it at WINDOW_GROWTH times as many, for a filter may let few through."""
WINDOW_GROWTH = 10
SCAN_ROWS_MAX = 400_000
"""Rows of one run looked at for one page: about a second."""
SCAN_BLOCKS_MAX = 64
"""Blocks of positions that one page of a search looks at: 262,144 changes at most, about a second."""
EVENTS_FETCHED = 200
"""Events read at once to look at their values."""
RUN_SHIFT = 40
"""A cursor inside a recipe: the number of the child, shifted by this many bits, and the sequence in it."""

_FILTERS = """
    (%(failed)s::boolean IS NULL OR failed = %(failed)s) AND (%(action)s::text IS NULL OR action = %(action)s)
    AND (%(object_type)s::text IS NULL OR object_type = %(object_type)s)
    AND (%(record_id)s::text IS NULL OR record_id = %(record_id)s)
    AND (%(field)s::text IS NULL OR %(field)s = ANY (fields))
"""
_WINDOW = f"""
    SELECT position, sequence, message FROM account_run_changes
    WHERE generation = %(generation)s AND run_id = %(run)s AND sequence BETWEEN %(first)s AND %(last)s AND {_FILTERS}
    ORDER BY sequence
"""  # noqa: S608  (constants only)
_LAST = """
    SELECT max(sequence) FROM account_run_changes
    WHERE generation = %(generation)s AND run_id = %(run)s AND sequence BETWEEN %(first)s AND %(last)s
"""
"""Sequences have no gap, so a range is a number of changes. A LIMIT instead would sort all the rest of the run for each
page: the view keeps the planner from using the index's order."""
_BLOCK = f"""
    SELECT position, run_id, message FROM account_run_changes
    WHERE generation = %(generation)s AND position BETWEEN %(low)s AND %(high)s AND {_FILTERS}
    AND (%(preview)s OR NOT preview)
    AND (%(user)s::text IS NULL OR actor = %(user)s) AND (%(run)s::text IS NULL OR run_id = %(run)s)
    AND (%(from_at)s::timestamptz IS NULL OR occurred_at >= %(from_at)s)
    AND (%(to_at)s::timestamptz IS NULL OR occurred_at < %(to_at)s)
    ORDER BY position DESC
"""  # noqa: S608  (constants only)
_EVENTS = f"SELECT {EVENT_COLUMNS} FROM account_events WHERE position = ANY(%s)"  # noqa: S608  (constants only)
_START = "SELECT payload FROM account_events WHERE originator_id = %s AND originator_version = 1"

_RUNS_SINCE = """
    SELECT run_id FROM account_run_changes
    WHERE generation = %s AND object_type = %s AND occurred_at > %s AND NOT preview AND NOT failed AND action <> 'none'
    GROUP BY run_id ORDER BY min(position)
"""


class RunChanges:
    """The changes of one account's runs, as far as the view `run_changes` has come."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database = database
        self._account_id = account_id
        self._store = AccountStore(database, account_id)
        self._families = Families(database, account_id)

    def runs_since(self, object_type: str, instant: datetime) -> list[str]:
        """The runs, previews not, that changed records of a type after an instant, in the order of the log."""
        with self._database.transaction(self._account_id) as connection:
            generation = live_generation(connection, self._account_id, "run_changes")
            rows = connection.execute(_RUNS_SINCE, (generation, object_type, instant)).fetchall()
        return [row[0] for row in rows]

    def page(self, query: ChangeQuery) -> ChangePage:
        """A page of one run's changes (a recipe's: of all its children, one after the other), in the log's order.

        Raises NotFound for an unknown run, InputError for a bad limit or cursor, NotCaughtUp for a recipe whose
        children are not known yet.
        """
        _check_limit(query.limit)
        after = query.after or 0
        if after < 0:
            raise _bad_cursor()
        runs = self._runs_of(query.run_id)
        number, sequence = after >> RUN_SHIFT, after & ((1 << RUN_SHIFT) - 1)
        found: list[_Found] = []
        budget, size = SCAN_ROWS_MAX, min(query.limit + 1, WINDOW_ROWS)
        while number < len(runs) and len(found) <= query.limit and budget > 0:
            window = self._window(query, runs[number], sequence, size)
            found += [_Found(position, number << RUN_SHIFT | at) for position, at in window.found]
            budget -= max(window.looked_at, 1)
            sequence = window.last
            if window.looked_at < size:
                number, sequence = number + 1, 0
            size = min(size * WINDOW_GROWTH, WINDOW_ROWS)
        shown = found[: query.limit]
        more = len(found) > query.limit
        goes_on = shown[-1].cursor if more else (number << RUN_SHIFT | sequence if number < len(runs) else None)
        changes = self._changes([one.position for one in shown])
        return ChangePage(tuple(changes), goes_on, changes[-1].position if changes else None)

    def search(self, search: ChangeSearch, *, blocks_max: int | None = None) -> ChangePage:
        """A page of the changes across runs that match, newest first, from at most `blocks_max` blocks of positions
        (none given: SCAN_BLOCKS_MAX). Raises InputError, NotFound (unknown run_id)."""
        _check_limit(search.limit)
        if search.after is not None and search.after < 0:
            raise _bad_cursor()
        if search.run_id is not None:
            self._store.load_run(search.run_id)
        found: list[Change] = []
        searched_to: int | None = None
        templates: dict[str, str] = {}
        for number, block in enumerate(candidate_blocks(self._database, self._account_id, search)):
            if number == (SCAN_BLOCKS_MAX if blocks_max is None else blocks_max):
                return ChangePage(tuple(found), searched_to, searched_to)
            for change in self._matches_in(block, search, templates):
                found.append(change)
                if len(found) == search.limit:
                    return ChangePage(tuple(found), change.position, change.position)
            searched_to = max(block * BLOCK_POSITIONS, 1)
        return ChangePage(tuple(found), None, 1 if searched_to is None else searched_to)

    def _runs_of(self, run_id: str) -> list[str]:
        run = self._store.load_run(run_id)
        return self._families.children(run_id) if run.operation.kind == "recipe" else [run_id]

    def _window(self, query: ChangeQuery, run_id: str, after: int, size: int) -> _Window:
        with self._database.transaction(self._account_id) as connection:
            parameters = _filters(query) | {
                "generation": live_generation(connection, self._account_id, "run_changes"),
                "run": run_id,
                "first": after + 1,
                "last": after + size,
            }
            (last,) = connection.execute(_LAST, parameters).fetchone() or (None,)
            rows = connection.execute(_WINDOW, parameters).fetchall()
        found = [(position, at) for position, at, message in rows if holds_text(message, query.text)]
        return _Window(found, after if last is None else last, 0 if last is None else last - after)

    def _matches_in(self, block: int, search: ChangeSearch, templates: dict[str, str]) -> Iterator[Change]:
        """The matches of one block, newest first. Values are looked at in the events themselves."""
        low, high = block * BLOCK_POSITIONS, block * BLOCK_POSITIONS + BLOCK_POSITIONS - 1
        if search.after is not None:
            high = min(high, search.after - 1)
        with self._database.transaction(self._account_id) as connection:
            parameters = _filters(search) | {
                "generation": live_generation(connection, self._account_id, "run_changes"),
                "low": low,
                "high": high,
                "preview": search.preview,
                "user": _storable(search.user),
                "run": search.run_id,
                "from_at": search.from_at,
                "to_at": search.to_at,
            }
            rows = connection.execute(_BLOCK, parameters).fetchall()
        rows = [row for row in rows if holds_text(row[2], search.text)]
        if search.template is not None:
            rows = [row for row in rows if self._template(row[1], templates) == indexable(search.template)]
        positions = [row[0] for row in rows]
        for start in range(0, len(positions), EVENTS_FETCHED):
            for change in self._changes(positions[start : start + EVENTS_FETCHED]):
                if matches_values(change, search):
                    yield change

    def _changes(self, positions: list[int]) -> list[Change]:
        """The changes at these positions, in this order."""
        if not positions:
            return []
        with self._database.transaction(self._account_id) as connection:
            rows = connection.cursor(binary=True).execute(_EVENTS, (positions,)).fetchall()
        changes = {row[0]: decode_change(EventRow._make(row)) for row in rows}
        return [changes[position] for position in positions]

    def _template(self, run_id: str, known: dict[str, str]) -> str:
        """The run's template as shown and indexed: its name, else its id."""
        if run_id not in known:
            with self._database.transaction(self._account_id) as connection:
                row = connection.execute(_START, (run_stream_id(self._account_id, run_id),)).fetchone()
            shape = decode_shape("run-started", row[0] or b"") if row else None
            template = shape.operation.template if isinstance(shape, RunStartedShape) else None
            known[run_id] = indexable(template.name or template.id) if template else ""
        return known[run_id]


class _Found(NamedTuple):
    position: int
    cursor: int


class _Window(NamedTuple):
    """What a look at some rows of a run found: (position, sequence); the last sequence, how many were looked at."""

    found: list[tuple[int, int]]
    last: int
    looked_at: int


def _filters(query: ChangeQuery | ChangeSearch) -> dict[str, Any]:
    return {
        "failed": None if query.result is None else _is_failed(query.result),
        "action": _storable(query.action),
        "object_type": _storable(query.object_type),
        "record_id": _storable(query.record_id),
        "field": _storable(query.field),
    }


def _is_failed(result: str) -> bool:
    if result not in ("succeeded", "failed"):
        problem = Problem(
            "Unknown result.", parameter="result", found=repr(result[:80]), expected="succeeded or failed"
        )
        raise InputError("The result is succeeded or failed.", problems=(problem,))
    return result == "failed"


def _storable(text: str | None) -> str | None:
    """As the view keeps it: without NUL, which PostgreSQL's text cannot hold."""
    return None if text is None else text.replace("\0", "\ufffd")


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= PAGE_LIMIT_MAX:
        expected = f"1 to {PAGE_LIMIT_MAX}"
        problem = Problem("The limit is not valid.", parameter="limit", found=str(limit), expected=expected)
        raise InputError(f"A page has {expected} changes.", problems=(problem,))


def _bad_cursor() -> InputError:
    return InputError("The cursor is not one of this list. Begin again without it.")
