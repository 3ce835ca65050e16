"""A RunQuery as SQL that is answered from the front of an index.

A filter by one column uses this column's index, whose next columns are the order (started_at, run_id); an order by the
column uses the same index. Where several values may match (modes, the values that a text stands in), each is a branch
with a limit of its own, and the branches' first rows are merged.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, LiteralString, NamedTuple
from uuid import UUID

from psycopg import sql

from projections.events.batch import indexable
from projections.tracker.cursor import Place
from projections.tracker.view import TOTAL_MAX, RunQuery, Sort

BRANCHES_MAX = 24
"""Values of a facet that are merged from an index each. A text that matches more of them matches so many runs that
walking through the runs in order finds a page soon."""

RUN_COLUMNS = sql.SQL(
    "t.run_id, t.facts, nullif(t.finished_at, 'infinity') AS finished_at, t.status, t.updated, t.created, t.deleted,"
    " t.unmodified, t.other, t.failed, t.error, t.position"
)

Statement = tuple[sql.Composed, dict[str, Any]]

_COLUMN_OF_SORT: dict[Sort, str] = {"duration_s": "duration_us", "user": "user_shown", "mode": "preview"}
_TYPES = dict.fromkeys(
    ("duration_us", "updated", "created", "deleted", "unmodified", "other", "failed", "succeeded", "processed"),
    "bigint",
) | {"started_at": "timestamptz", "finished_at": "timestamptz", "preview": "boolean"}
_MODES = {"update": (False,), "preview": (True,), "all": (False, True)}
_EQUALS: dict[str, LiteralString] = {
    "template": "t.template = %(template)s",
    "module": "t.module = %(module)s",
    "app": "t.app = %(app)s",
    "user": "t.user_shown = %(user)s",
    "kind": "t.kind = %(kind)s",
    "trigger": "t.trigger = %(trigger)s",
    "status": "t.status = %(status)s",
    "recipe_run_id": "t.recipe_run_id = %(recipe_run_id)s",
}
_TYPE: LiteralString = (
    "y.account_id = %(account)s AND y.generation = %(generation)s AND y.object_type = {} AND y.preview = {}"
)
_IS_OF_RARE_TYPE: LiteralString = "t.run_id = ANY (ARRAY(SELECT y.run_id FROM tracker_types y WHERE {}))"
_BY_TYPE: LiteralString = (
    "tracker_types y JOIN tracker t ON t.account_id = %(account)s AND t.generation = %(generation)s"
    " AND t.run_id = y.run_id"
)
_HAS_TYPE: LiteralString = (
    "EXISTS (SELECT FROM tracker_types y WHERE " + _TYPE + " AND y.started_at = t.started_at AND y.run_id = t.run_id"
    " OFFSET 0)"
)
"""OFFSET 0 keeps the planner from making a join of it, whose size it takes for one row."""
IS_RARE = (
    "SELECT count(*) <= %(rare)s FROM (SELECT FROM tracker_types y WHERE y.account_id = %(account)s"
    " AND y.generation = %(generation)s AND y.object_type = %(type)s LIMIT %(rare)s + 1) y"
)
TYPE_IS_RARE = 2_000
"""Runs of a type that are sorted to find a page in another order than started_at; with more, walking finds one soon."""


class Branch(NamedTuple):
    """One way for a run to match."""

    preview: bool
    types: tuple[str, ...]
    conditions: tuple[sql.Composable, ...]


class Question:
    """One RunQuery in one generation."""

    def __init__(
        self,
        query: RunQuery,
        account_id: UUID,
        generation: int,
        *,
        texts: Mapping[str, list[str]],
        is_rare: Callable[[str], bool],
    ) -> None:
        """`texts` is facet to the values that the query's text stands in, `is_rare` whether few runs have a type."""
        self._query = query
        self._is_rare = is_rare
        self._parameters: dict[str, Any] = {"account": account_id, "generation": generation}
        self.order = _order_of(query.sort)
        self._filters = list(self._common_filters())
        ways = list(self._ways(texts))
        self._branches = [Branch(mode, *way) for mode in _MODES[query.mode] for way in ways]

    def page(self, place: Place | None) -> Statement:
        """The rows of RUN_COLUMNS of a page and one more, each followed by its sort key as text."""
        limit = self._query.page_size + 1
        shown = sql.SQL("{}, {}").format(
            RUN_COLUMNS, _joined(sql.SQL("t.{}::text").format(_name(c)) for c in self.order)
        )
        if place is not None:
            self._parameters |= {f"place_{number}": value for number, value in enumerate(place.key)}
        if len(self._branches) == 1:
            return self._branch(shown, self._branches[0], self.order, place, limit), self._parameters
        keys = _joined(sql.SQL("t.{}").format(_name(column)) for column in self.order)
        branches = [self._branch(keys, branch, self.order, place, limit) for branch in self._branches]
        by = self._by(self.order)
        first = sql.SQL("SELECT * FROM ({}) t ORDER BY {} LIMIT {}").format(_union(branches), by, limit)
        statement = sql.SQL(
            "SELECT {} FROM ({}) p JOIN tracker t ON t.account_id = %(account)s AND t.generation = %(generation)s"
            " AND t.run_id = p.run_id ORDER BY {}"
        ).format(shown, first, by)
        return statement, self._parameters

    def count(self) -> Statement:
        """How many runs there are, counted to TOTAL_MAX + 1, in the order that all filters have an index for."""
        order = _order_of("started_at")
        branches = [
            self._only_type(branch) or self._branch(sql.SQL("t.run_id"), branch, order, None, TOTAL_MAX + 1)
            for branch in self._branches
        ]
        counted = sql.SQL("SELECT count(*) FROM ({}) t").format(_union(branches))
        return counted, self._parameters

    def _only_type(self, branch: Branch) -> sql.Composed | None:
        """The Run IDs of a branch that asks for nothing but a type, from the index alone."""
        if len(branch.types) != 1 or branch.conditions or self._filters:
            return None
        of_type = sql.SQL(_TYPE).format(self._value(branch.types[0]), branch.preview)
        return sql.SQL("SELECT y.run_id FROM tracker_types y WHERE {} LIMIT {}").format(of_type, TOTAL_MAX + 1)

    def _branch(
        self, columns: sql.Composable, branch: Branch, order: list[str], place: Place | None, limit: int
    ) -> sql.Composed:
        preview, types, conditions = branch
        source, alias, where = sql.SQL("tracker t"), "t", [*self._filters, *conditions]
        if types and order[0] == "started_at":
            source, alias = sql.SQL(_BY_TYPE), "y"
            where.append(sql.SQL(_TYPE).format(self._value(types[0]), preview))
            types = types[1:]
        else:
            where.append(sql.SQL("t.preview = {}").format(preview))
        if types and alias == "t" and self._is_rare(types[0]):
            of_type = sql.SQL(_TYPE).format(self._value(types[0]), preview)
            where.append(sql.SQL(_IS_OF_RARE_TYPE).format(of_type))
            types = types[1:]
        where += [sql.SQL(_HAS_TYPE).format(self._value(object_type), preview) for object_type in types]
        if place is not None:
            where.append(self._after(order, alias))
        return sql.SQL(
            "SELECT {} FROM {} WHERE t.account_id = %(account)s AND t.generation = %(generation)s AND {}"
            " ORDER BY {} LIMIT {}"
        ).format(columns, source, sql.SQL(" AND ").join(where), self._by(order, alias), limit)

    def _common_filters(self) -> Iterator[sql.Composable]:
        query = self._query
        for name, condition in _EQUALS.items():
            value = getattr(query, name)
            if value is not None:
                self._parameters[name] = indexable(value)
                yield sql.SQL(condition)
        if query.started_from is not None:
            self._parameters["from"] = query.started_from
            yield sql.SQL("t.started_at >= %(from)s")
        if query.started_to is not None:
            self._parameters["to"] = query.started_to
            yield sql.SQL("t.started_at < %(to)s")
        if query.has_failures is not None:
            yield sql.SQL("t.failed > 0" if query.has_failures else "t.failed = 0")
        if query.zero_succeeded is not None:
            yield sql.SQL("t.succeeded = 0" if query.zero_succeeded else "t.succeeded > 0")

    def _ways(self, texts: Mapping[str, list[str]]) -> Iterator[tuple[tuple[str, ...], tuple[sql.Composable, ...]]]:
        """(types, conditions) of each way in which the text may match, one of them alone where there is no text."""
        query = self._query
        types = () if query.object_type is None else (indexable(query.object_type),)
        if not query.text:
            yield types, ()
            return
        self._parameters |= {"from_run": indexable(query.text), "to_run": indexable(query.text) + "\U0010ffff"}
        yield types, (sql.SQL("t.run_id >= %(from_run)s AND t.run_id < %(to_run)s"),)
        templates = texts.get("template", [])
        if len(templates) > BRANCHES_MAX:
            self._parameters["templates"] = templates
            yield types, (sql.SQL("t.template = ANY(%(templates)s)"),)
        else:
            for template in templates:
                yield types, (sql.SQL("t.template = {}").format(self._value(template)),)
        for object_type in texts.get("object_type", []):
            yield (object_type, *types), ()

    def _value(self, value: str) -> sql.Placeholder:
        name = f"value_{len(self._parameters)}"
        self._parameters[name] = value
        return sql.Placeholder(name)

    def _by(self, order: list[str], alias: str = "t") -> sql.Composed:
        direction = sql.SQL("{}.{} DESC" if self._query.descending else "{}.{} ASC")
        return _joined(direction.format(_name(alias), _name(column)) for column in order)

    def _after(self, order: list[str], alias: str) -> sql.Composed:
        """Behind the place: one comparison of rows, which an index in this order answers."""
        values = _joined(
            sql.SQL("{}::{}").format(sql.Placeholder(f"place_{number}"), sql.SQL(_TYPES.get(column, "text")))
            for number, column in enumerate(order)
        )
        columns = _joined(sql.SQL("{}.{}").format(_name(alias), _name(column)) for column in order)
        return sql.SQL("({}) < ({})" if self._query.descending else "({}) > ({})").format(columns, values)


def _order_of(sort: Sort) -> list[str]:
    """The columns of an order: the sort's own, then started_at and run_id for its ties."""
    if sort == "run_id":
        return ["run_id"]
    if sort == "started_at":
        return ["started_at", "run_id"]
    return [_COLUMN_OF_SORT.get(sort, sort), "started_at", "run_id"]


def _union(branches: list[sql.Composed]) -> sql.Composed:
    """The branches' rows, each once: a run may match in several ways."""
    return sql.SQL(" UNION ").join(sql.SQL("({})").format(branch) for branch in branches)


def _joined(parts: Iterable[sql.Composable]) -> sql.Composed:
    return sql.SQL(", ").join(parts)


def _name(column: str) -> sql.Identifier:
    return sql.Identifier(column)
