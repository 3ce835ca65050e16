"""A RunQuery as SQL that is answered from the front of an index, and looks at a bounded number of runs.

A filter by one column uses this column's index, whose next columns are the order (started_at, run_id); an order by the
column uses the same index. Where several values may match (modes, the values that a text stands in), each is a branch
with a limit of its own, and the branches' first rows are merged.

Where several filters must hold together, the runs of one of them, its *candidates*, are walked through in order and the
others are looked at in each. No branch walks past its last candidate: it gives that one's key, marked `stops`, whether
it matches or not, and what is found until there is a page, if a short one. A filter that few runs pass gives all of its
runs, which then are sorted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import inf
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from psycopg import sql

from projections.tracker.conditions.postgres import Branch, Condition, branches_of, times
from projections.tracker.cursor import Place
from projections.tracker.view import TOTAL_MAX, Limits, RunQuery, Sort

RUN_COLUMNS = sql.SQL(
    "t.run_id, t.facts, nullif(t.finished_at, 'infinity') AS finished_at, t.status, t.updated, t.created, t.deleted,"
    " t.unmodified, t.other, t.failed, t.error, t.position, t.undone_by, t.undo_under_way"
)
WALK = "SET LOCAL enable_sort = off; SET LOCAL enable_mergejoin = off; SET LOCAL max_parallel_workers_per_gather = 0"
"""For the transaction of every question: where an index has the order, it is walked. The planner cannot see that of
thousands of candidates mostly some dozens are taken, and would rather sort them all, or start other processes."""

Statement = tuple[sql.Composed, dict[str, Any]]

_COLUMN_OF_SORT: dict[Sort, str] = {"duration_s": "duration_us", "user": "user_shown", "mode": "preview"}
_COLUMN_TYPES = dict.fromkeys(
    ("duration_us", "updated", "created", "deleted", "unmodified", "other", "failed", "succeeded", "processed"),
    "bigint",
) | {"started_at": "timestamptz", "finished_at": "timestamptz", "preview": "boolean"}
_STARTED_AT = ["started_at", "run_id"]
_IN_TRACKER: LiteralString = "t.account_id = %(account)s AND t.generation = %(generation)s"
_BY_TYPE: LiteralString = (
    "tracker_types y JOIN tracker t ON " + _IN_TRACKER + " AND t.started_at = y.started_at AND t.run_id = y.run_id"
)
_ANY_RUN = Condition(sql.SQL("true"), frozenset({"started_at"}))
"""All runs, or those of the query's time."""


class _Source(NamedTuple):
    """Where the runs that fulfil a condition come from."""

    tables: sql.SQL
    alias: str
    """Of the table whose index has the order."""
    where: list[sql.Composable]


class Question:
    """One RunQuery in one generation."""

    def __init__(
        self,
        query: RunQuery,
        account_id: UUID,
        generation: int,
        *,
        texts: Mapping[str, list[str]],
        look: Callable[[Statement], tuple[Any, ...]],
        limits: Limits,
    ) -> None:
        """`texts` is facet to the values that the query's text stands in; `look` gives the one row of a statement."""
        self._query = query
        self._look = look
        self._limits = limits
        self._parameters: dict[str, Any] = {"account": account_id, "generation": generation}
        self.order = _order_of(query.sort)
        self._branches = branches_of(query, texts, self._parameters)
        self._has_times = bool(self._times("t"))
        self._rareness: dict[int, list[float]] = {}

    def page(self, place: Place | None) -> Statement:
        """The rows of a page and one more: RUN_COLUMNS, the sort key as text, whether it matches, whether it stops."""
        limit = self._query.page_size + 1
        shown = sql.SQL("{}, {}").format(
            RUN_COLUMNS, _joined(sql.SQL("t.{}::text").format(_name(c)) for c in self.order)
        )
        if place is not None:
            self._parameters |= {f"place_{number}": value for number, value in enumerate(place.key)}
        if len(self._branches) == 1:
            return self._branch(0, shown, self.order, place, limit, self._limits.candidates), self._parameters
        keys = _joined(sql.SQL("t.{}").format(_name(column)) for column in self.order)
        by = self._by(self.order)
        first = sql.SQL("{} ORDER BY {} LIMIT {}").format(
            self._merged(keys, self.order, place, limit, self._limits.candidates), by, limit
        )
        statement = sql.SQL(
            "SELECT {}, p.matches, p.stops FROM ({}) p JOIN tracker t ON {} AND t.run_id = p.run_id ORDER BY {}"
        ).format(shown, first, sql.SQL(_IN_TRACKER), by)
        return statement, self._parameters

    def count(self) -> Statement:
        """How many runs were found, counted to TOTAL_MAX + 1, and whether the candidates ended before the runs did;
        in the order that nearly all filters have an index for."""
        found = self._merged(sql.SQL("t.run_id"), _STARTED_AT, None, TOTAL_MAX + 1, self._limits.counted)
        counted = sql.SQL(
            "SELECT count(*) FILTER (WHERE t.matches), coalesce(bool_or(t.stops), false) FROM ({}) t"
        ).format(found)
        return counted, self._parameters

    def _merged(
        self, keys: sql.Composable, order: list[str], place: Place | None, limit: int, candidates: int
    ) -> sql.Composed:
        """The branches' rows, each once: a run may match in several ways."""
        candidates = self._share(candidates)
        parts = [
            sql.SQL("({})").format(self._branch(number, keys, order, place, limit, candidates))
            for number in range(len(self._branches))
        ]
        return sql.SQL(
            "SELECT {}, bool_or(t.matches) AS matches, bool_or(t.stops) AS stops FROM ({}) t GROUP BY {}"
        ).format(keys, sql.SQL(" UNION ALL ").join(parts), keys)

    def _branch(
        self, number: int, columns: sql.Composable, order: list[str], place: Place | None, limit: int, candidates: int
    ) -> sql.Composed:
        """`columns` (of t), matches, stops."""
        branch = self._branches[number]
        driver, is_walked = self._driver(number, order)
        source = self._source(branch, driver)
        others = [condition for condition in branch.conditions if condition is not driver]
        rest = [
            each.holds for each in sorted(others, key=lambda condition: condition.of_type is not None)
        ]  # dear: last
        if self._has_times and "started_at" not in driver.orders:
            rest += self._times("t")
        if not is_walked:
            return self._sorted(columns, source, rest, order, place, limit)
        walked = [*source.where, *([] if place is None else [self._after(order, source.alias)])]
        if not rest:
            only_key = driver.of_type is not None and columns == sql.SQL("t.run_id")
            return sql.SQL("SELECT {}, true AS matches, false AS stops FROM {} WHERE {} ORDER BY {} LIMIT {}").format(
                sql.SQL("y.run_id") if only_key else columns,
                sql.SQL("tracker_types y") if only_key else source.tables,
                _all(walked),
                self._by(order, source.alias),
                limit,
            )
        by = self._by(order, source.alias)
        return sql.SQL(
            "SELECT {columns}, {rest} AS matches, t.number = {candidates} AS stops"
            " FROM (SELECT t.*, row_number() OVER (ORDER BY {by}) AS number FROM {tables} WHERE {walked}"
            " ORDER BY {by} LIMIT {candidates}) t"
            " WHERE {rest} OR t.number = {candidates} ORDER BY {order} LIMIT {limit}"
        ).format(
            columns=columns, rest=sql.SQL("({})").format(_all(rest)), candidates=candidates, by=by,
            tables=source.tables, walked=_all(walked), order=self._by(order), limit=limit,
        )  # fmt: skip

    def _sorted(
        self,
        columns: sql.Composable,
        source: _Source,
        rest: list[sql.Composable],
        order: list[str],
        place: Place | None,
        limit: int,
    ) -> sql.Composed:
        """All runs of the source, which are few. OFFSET 0: they are found by their own index, whatever comes after."""
        where = [*rest, *([] if place is None else [self._after(order, "t")])]
        return sql.SQL(
            "SELECT {}, true AS matches, false AS stops FROM (SELECT t.* FROM {} WHERE {} OFFSET 0) t"
            " WHERE {} ORDER BY {} LIMIT {}"
        ).format(columns, source.tables, _all(source.where), _all(where), self._by(order), limit)

    def _driver(self, number: int, order: list[str]) -> tuple[Condition, bool]:
        """Whose runs are the candidates, and whether an index has them in this order (else they are few)."""
        first = "started_at" if order[0] == "preview" else order[0]  # a branch has one mode only
        drivers = self._drivers(number)
        in_order = [condition for condition in drivers if first in condition.orders]
        if len(drivers) == 1 and in_order:
            return in_order[0], True
        if drivers:
            rareness = dict(zip(map(id, drivers), self._rareness_of(number), strict=True))
            rarest = min(drivers, key=lambda condition: rareness[id(condition)])
            if first in rarest.orders or rareness[id(rarest)] == -inf:
                return rarest, first in rarest.orders
            if in_order:
                return min(in_order, key=lambda condition: rareness[id(condition)]), True
        return Condition(sql.SQL("true"), frozenset({first})), True

    def _drivers(self, number: int) -> list[Condition]:
        found = [condition for condition in self._branches[number].conditions if condition.orders]
        has_time = any("started_at" in condition.orders for condition in found)
        return [*found, _ANY_RUN] if self._has_times and not has_time else found

    def _rareness_of(self, number: int) -> list[float]:
        """For each of _drivers: when its run number Limits.rare + 1, from the last, started. The earlier the rarer;
        -inf where it has no more runs than Limits.rare, inf where only that was asked."""
        if number not in self._rareness:
            looks = [self._look_at(self._branches[number], condition) for condition in self._drivers(number)]
            found = self._look((sql.SQL("SELECT {}").format(_joined(looks)), self._parameters))
            self._rareness[number] = [-inf if each is None else each for each in found]
        return self._rareness[number]

    def _look_at(self, branch: Branch, condition: Condition) -> sql.Composed:
        source = self._source(branch, condition)
        by_time = "started_at" in condition.orders
        return sql.SQL("(SELECT {} FROM {} WHERE {} ORDER BY {} OFFSET {} LIMIT 1)").format(
            sql.SQL("extract(epoch FROM {}.started_at)::float8" if by_time else "'infinity'::float8").format(
                *([_name(source.alias)] if by_time else [])
            ),
            sql.SQL("tracker_types y") if condition.of_type else source.tables,
            _all(source.where),
            sql.SQL("{0}.started_at DESC, {0}.run_id DESC" if by_time else "{0}.run_id DESC").format(
                _name(source.alias)
            ),
            self._share(self._limits.rare),
        )

    def _share(self, limit: int) -> int:
        """A branch's share of it."""
        return limit if len(self._branches) == 1 else max(limit // len(self._branches), self._limits.branch)

    def _source(self, branch: Branch, condition: Condition) -> _Source:
        alias = "t" if condition.of_type is None else "y"
        times_of = self._times(alias) if "started_at" in condition.orders else []
        if condition.of_type is not None:
            return _Source(sql.SQL(_BY_TYPE), alias, [condition.of_type, *times_of])
        mode = sql.SQL("t.preview = {}").format(branch.preview)
        return _Source(sql.SQL("tracker t"), alias, [sql.SQL(_IN_TRACKER), mode, condition.holds, *times_of])

    def _times(self, alias: str) -> list[sql.Composable]:
        return times(self._query, alias, self._parameters)

    def _by(self, order: list[str], alias: str = "t") -> sql.Composed:
        direction = sql.SQL("{}.{} DESC" if self._query.descending else "{}.{} ASC")
        return _joined(direction.format(_name(alias), _name(column)) for column in order)

    def _after(self, order: list[str], alias: str) -> sql.Composed:
        """Behind the place: one comparison of rows, which an index in this order answers."""
        values = _joined(
            sql.SQL("{}::{}").format(sql.Placeholder(f"place_{number}"), sql.SQL(_COLUMN_TYPES.get(column, "text")))
            for number, column in enumerate(order)
        )
        columns = _joined(sql.SQL("{}.{}").format(_name(alias), _name(column)) for column in order)
        return sql.SQL("({}) < ({})" if self._query.descending else "({}) > ({})").format(columns, values)


def _order_of(sort: Sort) -> list[str]:
    """The columns of an order: the sort's own, then started_at and run_id for its ties."""
    if sort == "run_id":
        return ["run_id"]
    if sort == "started_at":
        return _STARTED_AT
    return [_COLUMN_OF_SORT.get(sort, sort), *_STARTED_AT]


def _all(conditions: list[sql.Composable]) -> sql.Composed:
    return sql.SQL(" AND ").join(conditions or [sql.SQL("true")])


def _joined(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)


def _name(column: str) -> sql.Identifier:
    return sql.Identifier(column)
