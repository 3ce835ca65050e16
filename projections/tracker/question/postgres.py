"""A RunQuery as SQL that is answered from the front of an index.

A filter by one column uses this column's index, whose next columns are the order (started_at, run_id); an order by the
column uses the same index. Where several values may match (modes, the values that a text stands in), each is a branch
with a limit of its own, and the branches' first rows are merged.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import product
from typing import Any, LiteralString
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
_OF_TYPE: LiteralString = (
    " JOIN tracker_types {0} ON {0}.account_id = %(account)s AND {0}.generation = %(generation)s"
    " AND {0}.started_at = t.started_at AND {0}.run_id = t.run_id AND {0}.preview = {1} AND {0}.object_type = {2}"
)


class Question:
    """One RunQuery in one generation. `texts` is facet to the values that the query's text stands in."""

    def __init__(self, query: RunQuery, account_id: UUID, generation: int, texts: Mapping[str, list[str]]) -> None:
        self._query = query
        self._parameters: dict[str, Any] = {"account": account_id, "generation": generation}
        self.order = _order_of(query.sort)
        self._filters = list(self._common_filters())
        modes = _MODES[query.mode]
        self._branches = [(mode, *text) for mode, text in product(modes, self._text_branches(texts))]

    def page(self, place: Place | None) -> Statement:
        """The rows of RUN_COLUMNS of a page and one more, each followed by its sort key as text."""
        limit = self._query.page_size + 1
        shown = sql.SQL("{}, {}").format(
            RUN_COLUMNS, _joined(sql.SQL("t.{}::text").format(_name(c)) for c in self.order)
        )
        if place is not None:
            self._parameters |= {f"place_{number}": value for number, value in enumerate(place.key)}
        if len(self._branches) == 1:
            return self._branch(shown, self._branches[0], place, limit), self._parameters
        keys = _joined(sql.SQL("t.{}").format(_name(column)) for column in self.order)
        branches = [self._branch(keys, branch, place, limit) for branch in self._branches]
        first = sql.SQL("SELECT * FROM ({}) t ORDER BY {} LIMIT {}").format(_union(branches), self._by(), limit)
        statement = sql.SQL(
            "SELECT {} FROM ({}) p JOIN tracker t ON t.account_id = %(account)s AND t.generation = %(generation)s"
            " AND t.run_id = p.run_id ORDER BY {}"
        ).format(shown, first, self._by())
        return statement, self._parameters

    def count(self) -> Statement:
        """How many runs there are, counted to one more than TOTAL_MAX."""
        branches = [self._branch(sql.SQL("t.run_id"), branch, None, TOTAL_MAX + 1) for branch in self._branches]
        counted = sql.SQL("SELECT count(*) FROM ({}) t").format(_union(branches))
        return counted, self._parameters

    def _branch(
        self, columns: sql.Composable, branch: tuple[Any, ...], place: Place | None, limit: int
    ) -> sql.Composed:
        preview, joins, *filters = branch
        conditions = [sql.SQL("t.preview = {}").format(preview), *self._filters, *filters]
        if place is not None:
            conditions.append(self._after())
        types = sql.SQL("").join(
            sql.SQL(_OF_TYPE).format(_name(f"y{number}"), preview, wanted) for number, wanted in enumerate(joins)
        )
        return sql.SQL(
            "SELECT {} FROM tracker t{} WHERE t.account_id = %(account)s AND t.generation = %(generation)s AND {}"
            " ORDER BY {} LIMIT {}"
        ).format(columns, types, sql.SQL(" AND ").join(conditions), self._by(), limit)

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

    def _text_branches(self, texts: Mapping[str, list[str]]) -> Iterator[tuple[Any, ...]]:
        """(types to join, conditions ...) for each way in which the text may match; one without any for no text."""
        query = self._query
        of_type = () if query.object_type is None else (self._value("object_type", indexable(query.object_type)),)
        if not query.text:
            yield (of_type,)
            return
        self._parameters |= {"from_run": indexable(query.text), "to_run": indexable(query.text) + "\U0010ffff"}
        yield of_type, sql.SQL("t.run_id >= %(from_run)s AND t.run_id < %(to_run)s")
        templates = texts.get("template", [])
        if len(templates) > BRANCHES_MAX:
            self._parameters["templates"] = templates
            yield of_type, sql.SQL("t.template = ANY(%(templates)s)")
        else:
            for number, value in enumerate(templates):
                yield of_type, sql.SQL("t.template = {}").format(self._value(f"template_{number}", value))
        for number, value in enumerate(texts.get("object_type", [])):
            yield ((*of_type, self._value(f"type_{number}", value)),)

    def _value(self, name: str, value: str) -> sql.Placeholder:
        self._parameters[name] = value
        return sql.Placeholder(name)

    def _by(self) -> sql.Composed:
        direction = sql.SQL("t.{} DESC" if self._query.descending else "t.{} ASC")
        return _joined(direction.format(_name(column)) for column in self.order)

    def _after(self) -> sql.Composed:
        values = _joined(
            sql.SQL("{}::{}").format(sql.Placeholder(f"place_{number}"), sql.SQL(_TYPES.get(column, "text")))
            for number, column in enumerate(self.order)
        )
        columns = _joined(sql.SQL("t.{}").format(_name(column)) for column in self.order)
        return sql.SQL("({}) " + ("<" if self._query.descending else ">") + " ({})").format(columns, values)


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
