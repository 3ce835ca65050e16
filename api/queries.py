"""Reading query parameters: strictly, and waiting for a position where one is asked for."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote_to_bytes
from uuid import UUID

from flask import request
from marshmallow import Schema, ValidationError

from api.auth import services
from ledger.errors import InputError, Problem
from ledger.wire.fields import problems_of
from ledger.wire.runs import sentence
from projections.progress import WAIT_S
from projections.records.moment import Moment
from projections.tracker.query_text import parse_run_query
from projections.tracker.view import RunQuery

POSITION_PARAMETER = "wait_for_position"
_MOMENTS = ("at", "as_of", "recorded_at", "position", "after_run", "before_run")


def read_query(schema: type[Schema], account_id: UUID | None = None) -> dict[str, Any]:
    """The parameters by the schema's names, those that are not given left out; waits for a position if asked to.

    Raises InputError for a parameter that is unknown, repeated or not of its form, NotCaughtUp.
    """
    given = _given()
    problems = _repeated(given)
    instance = schema()
    names = [field.data_key or name for name, field in instance.fields.items()]
    found: dict[str, Any] = {}
    try:
        found = instance.load({name: values[0] for name, values in given.items()})
    except ValidationError as error:
        problems += [_of_parameter(problem) for problem in problems_of(error.messages, names)]
    _raise_if(problems)
    position = found.pop(POSITION_PARAMETER, None)
    if position is not None and account_id is not None:
        _wait(account_id, position)
    return found


def read_run_query(account_id: UUID) -> RunQuery:
    """The tracker's query. Raises InputError, NotCaughtUp."""
    from api.schemas.queries import WholeNumber

    given = _given()
    waited = given.pop(POSITION_PARAMETER, None)
    query = parse_run_query(given)
    if waited is not None:
        try:
            position = WholeNumber().deserialize(waited[0])
        except ValidationError as error:
            _raise_if([_of_parameter(one, POSITION_PARAMETER) for one in problems_of(error.messages, ())])
        _wait(account_id, position)
    return query


def moment_of(found: dict[str, Any]) -> Moment:
    """The moment that the parameters of MomentQuery name, taken out of them. Raises InputError for more than one."""
    chosen = {name: found.pop(name) for name in _MOMENTS if name in found}
    if len(chosen) > 1:
        names = ", ".join(chosen)
        problem = Problem("More than one moment.", parameter=names, found=names, expected="at most one of them")
        raise InputError(f"Only one of {names} can be asked for at once.", problems=(problem,))
    for name, value in chosen.items():
        match name:
            case "at" | "as_of":
                return Moment.at(value)
            case "recorded_at":
                return Moment.recorded_at(value)
            case "position":
                return Moment.at_position(value)
            case "after_run":
                return Moment.after_run(value)
            case _:
                return Moment.before_run(value)
    return Moment.now()


def _wait(account_id: UUID, position: int) -> None:
    """Raises NotCaughtUp, InputError for a position that no event has."""
    head = services().ledger(account_id).store.recorder.max_notification_id() or 0
    if position > head:
        problem = Problem(
            "No such position.", parameter=POSITION_PARAMETER, found=str(position), expected=f"up to {head}"
        )
        raise InputError(f"There is no event at position {position}; the newest is {head}.", problems=(problem,))
    services().wait_for(account_id, position, WAIT_S)


def _given() -> dict[str, list[str]]:
    """Each parameter with all its values. Raises InputError for bytes that are not UTF-8."""
    try:
        unquote_to_bytes(request.query_string.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        problem = Problem("Not UTF-8.", parameter="query", found="other bytes", expected="percent-encoded UTF-8")
        raise InputError("The query is not UTF-8.", problems=(problem,)) from None
    return request.args.to_dict(flat=False)


def _repeated(given: dict[str, list[str]]) -> list[Problem]:
    return [
        Problem("Given more than once.", parameter=name, found=f"{len(values)} values", expected="one")
        for name, values in given.items()
        if len(values) > 1
    ]


def _of_parameter(problem: Problem, name: str | None = None) -> Problem:
    parameter = name or (problem.pointer or "").removeprefix("/").replace("~1", "/").replace("~0", "~")
    return Problem(problem.detail, parameter=parameter, found=problem.found, expected=problem.expected)


def _raise_if(problems: list[Problem]) -> None:
    if problems:
        raise InputError(f"The query is not valid. {sentence(problems[0])}", problems=tuple(problems))
