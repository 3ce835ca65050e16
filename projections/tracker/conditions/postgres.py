"""A RunQuery's filters as conditions in SQL, each with the orders in which an index has the runs that fulfil it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, LiteralString, NamedTuple

from psycopg import sql

from projections.events.batch import indexable
from projections.tracker.view import RunQuery

BRANCHES_MAX = 24
"""Values of a facet that are merged from an index each. A text that matches more of them matches so many runs that
walking through the runs in order finds a page soon."""

_COLUMN_OF_FILTER = {
    "template": "template",
    "module": "module",
    "app": "app",
    "user": "user_shown",
    "kind": "kind",
    "trigger": "trigger",
    "status": "status",
    "recipe_run_id": "recipe_run_id",
    "undo_state": "undo_state",
}
_MODES = {"update": (False,), "preview": (True,), "all": (False, True)}
_TYPE: LiteralString = (
    "y.account_id = %(account)s AND y.generation = %(generation)s AND y.object_type = {} AND y.preview = {}"
)
_HAS_TYPE: LiteralString = (
    "EXISTS (SELECT FROM tracker_types y WHERE {} AND y.started_at = t.started_at AND y.run_id = t.run_id OFFSET 0)"
)
"""OFFSET 0 keeps the planner from making a join of it, whose size it takes for one row."""


class Condition(NamedTuple):
    """One thing that a run must be."""

    holds: sql.Composable
    """On a row `t` of tracker."""
    orders: frozenset[str] = frozenset()
    """The first columns of the orders in which an index has the runs that fulfil this. Empty: none has."""
    of_type: sql.Composable | None = None
    """On a row `y` of tracker_types, whose primary key is that index: the condition is a type."""


class Branch(NamedTuple):
    """One way for a run to match: all conditions must hold."""

    preview: bool
    conditions: tuple[Condition, ...]


def branches_of(query: RunQuery, texts: Mapping[str, list[str]], parameters: dict[str, Any]) -> list[Branch]:
    """The ways in which a run may match, but for started_from and started_to, whose SQL is `times`.

    `texts` is facet to the values that the query's text stands in. Adds the values to `parameters`.
    """
    common = tuple(_common(query, parameters))
    return [
        Branch(preview, (*way, *common))
        for preview in _MODES[query.mode]
        for way in _ways(query, texts, parameters, preview)
    ]


def times(query: RunQuery, alias: str, parameters: dict[str, Any]) -> list[sql.Composable]:
    """The query's range of started_at."""
    found: list[sql.Composable] = []
    if query.started_from is not None:
        parameters["from"] = query.started_from
        found.append(sql.SQL("{}.started_at >= %(from)s").format(sql.Identifier(alias)))
    if query.started_to is not None:
        parameters["to"] = query.started_to
        found.append(sql.SQL("{}.started_at < %(to)s").format(sql.Identifier(alias)))
    return found


def _common(query: RunQuery, parameters: dict[str, Any]) -> Iterator[Condition]:
    for name, column in _COLUMN_OF_FILTER.items():
        value = getattr(query, name)
        if value is not None:
            yield _equal(column, _value(indexable(value), parameters))
    if query.has_failures:
        yield Condition(sql.SQL("t.failed > 0"), frozenset({"started_at"}))
    elif query.has_failures is not None:
        yield _equal("failed", sql.Literal(0))
    if query.zero_succeeded:
        yield _equal("succeeded", sql.Literal(0))
    elif query.zero_succeeded is not None:
        yield Condition(sql.SQL("t.succeeded > 0"))


def _ways(
    query: RunQuery, texts: Mapping[str, list[str]], parameters: dict[str, Any], preview: bool
) -> Iterator[tuple[Condition, ...]]:
    """What the object type and the text ask, for each way in which the text may match; one way if there is no text."""
    types = () if query.object_type is None else (_of_type(indexable(query.object_type), preview, parameters),)
    if not query.text:
        yield types
        return
    parameters |= {"from_run": indexable(query.text), "to_run": indexable(query.text) + "\U0010ffff"}
    beginning = sql.SQL("t.run_id >= %(from_run)s AND t.run_id < %(to_run)s")
    yield *types, Condition(beginning, frozenset({"run_id"}))
    templates = texts.get("template", [])
    if len(templates) > BRANCHES_MAX:
        parameters["templates"] = templates
        yield *types, Condition(sql.SQL("t.template = ANY(%(templates)s)"))
    else:
        for template in templates:
            yield *types, _equal("template", _value(template, parameters))
    for object_type in texts.get("object_type", []):
        yield _of_type(object_type, preview, parameters), *types


def _equal(column: str, value: sql.Composable) -> Condition:
    holds = sql.SQL("t.{} = {}").format(sql.Identifier(column), value)
    return Condition(holds, frozenset({"started_at", column}))


def _of_type(object_type: str, preview: bool, parameters: dict[str, Any]) -> Condition:
    of_type = sql.SQL(_TYPE).format(_value(object_type, parameters), preview)
    return Condition(sql.SQL(_HAS_TYPE).format(of_type), frozenset({"started_at"}), of_type)


def _value(value: str, parameters: dict[str, Any]) -> sql.Placeholder:
    name = f"value_{len(parameters)}"
    parameters[name] = value
    return sql.Placeholder(name)
