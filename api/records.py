"""Records over HTTP: state at any moment, history, blame, all states of a type, daily activity."""

from __future__ import annotations

from datetime import date
from itertools import chain
from typing import Any
from uuid import UUID

from flask import Response
from flask_smorest import Blueprint

from api.answers import json_answer, ndjson_answer, page_answer
from api.auth import identify, services
from api.documenting import endpoint
from api.queries import moment_of, read_query
from api.schemas.answers import ActivitySchema, BlameSchema, HistorySchema, RecordSchema
from api.schemas.queries import ActivityQuery, HistoryQuery, MomentQuery, PageQuery, RecordQuery
from ledger.errors import InputError, Problem

records = Blueprint("records", __name__, url_prefix="/v1", description="Records and their past")

DAYS_MAX = 3_660


@endpoint(
    records,
    "GET",
    "/records/<text:object_type>/<text:record_id>",
    "A record, now or in the past",
    query=MomentQuery,
    answers={200: RecordSchema},
    problems=(404,),
)
def get_state(object_type: str, record_id: str) -> Response:
    """An absent record is an answer: see `presence`. Percent-encode ids; `GET /v1/record` takes any as parameters."""
    identity = identify("read")
    return _state(identity.account_id, object_type, record_id, read_query(MomentQuery, identity.account_id))


@endpoint(
    records,
    "GET",
    "/record",
    "A record, named by parameters",
    query=RecordQuery,
    answers={200: RecordSchema},
    problems=(404,),
)
def get_state_by_parameters() -> Response:
    """For ids that clients change in paths, such as `..`."""
    identity = identify("read")
    found = read_query(RecordQuery, identity.account_id)
    return _state(identity.account_id, found.pop("object_type"), found.pop("record_id"), found)


@endpoint(
    records,
    "GET",
    "/records/<text:object_type>/<text:record_id>/blame",
    "Who wrote each field",
    query=MomentQuery,
    answers={200: BlameSchema},
    problems=(404,),
)
def get_blame(object_type: str, record_id: str) -> Response:
    """For each field: value, run, user, when."""
    identity = identify("read")
    return _blame(identity.account_id, object_type, record_id, read_query(MomentQuery, identity.account_id))


@endpoint(
    records,
    "GET",
    "/record/blame",
    "Blame, by parameters",
    query=RecordQuery,
    answers={200: BlameSchema},
    problems=(404,),
)
def get_blame_by_parameters() -> Response:
    """For ids that clients change in paths, such as `..`."""
    identity = identify("read")
    found = read_query(RecordQuery, identity.account_id)
    return _blame(identity.account_id, found.pop("object_type"), found.pop("record_id"), found)


@endpoint(
    records,
    "GET",
    "/records/<text:object_type>/<text:record_id>/history",
    "Every change of a record",
    query=PageQuery,
    answers={200: HistorySchema},
)
def get_history(object_type: str, record_id: str) -> Response:
    """Newest first, failed attempts too."""
    identity = identify("read")
    return _history(identity.account_id, object_type, record_id, read_query(PageQuery, identity.account_id))


@endpoint(records, "GET", "/record/history", "History, by parameters", query=HistoryQuery, answers={200: HistorySchema})
def get_history_by_parameters() -> Response:
    """For ids that clients change in paths, such as `..`."""
    identity = identify("read")
    found = read_query(HistoryQuery, identity.account_id)
    return _history(identity.account_id, found.pop("object_type"), found.pop("record_id"), found)


@endpoint(
    records,
    "GET",
    "/states/<text:object_type>",
    "All records of a type at a moment",
    query=MomentQuery,
    answers={200: "application/x-ndjson"},
    problems=(404,),
)
def get_states(object_type: str) -> Response:
    """NDJSON, one {object_type, record_id, fields} a line, by record id."""
    identity = identify("read")
    moment = moment_of(read_query(MomentQuery, identity.account_id))
    states = iter(services().records(identity.account_id).states(object_type, moment))
    first = next(states, None)  # whatever can be refused is refused before the answer begins
    return ndjson_answer(() if first is None else chain((first,), states))


@endpoint(
    records, "GET", "/activity", "Daily counts by user and template", query=ActivityQuery, answers={200: ActivitySchema}
)
def get_activity() -> Response:
    """Days in UTC, both ends included."""
    identity = identify("read")
    found = read_query(ActivityQuery, identity.account_id)
    first, last = _day("from", found.pop("from_day")), _day("to", found.pop("to_day"))
    if (last - first).days > DAYS_MAX:
        raise _bad_day("to", last.isoformat(), f"at most {DAYS_MAX:,} days after `from`")
    given = {name: value for name, value in found.items() if value != ""}
    days = services().activity(identity.account_id).days(first, last, **given)
    return json_answer({"days": [day.as_dict() for day in days]})


def _state(account_id: UUID, object_type: str, record_id: str, found: dict[str, Any]) -> Response:
    state = services().records(account_id).state(object_type, record_id, moment_of(found))
    return json_answer(state.as_dict())


def _blame(account_id: UUID, object_type: str, record_id: str, found: dict[str, Any]) -> Response:
    return json_answer(services().records(account_id).blame(object_type, record_id, moment_of(found)).as_dict())


def _history(account_id: UUID, object_type: str, record_id: str, found: dict[str, Any]) -> Response:
    page = (
        services()
        .records(account_id)
        .history(object_type, record_id, after=found.get("cursor"), limit=found.get("limit", 100))
    )
    return page_answer(page.as_dict(), None if page.next_after is None else str(page.next_after))


def _day(name: str, text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise _bad_day(name, text, "a day such as 2026-11-23") from None


def _bad_day(name: str, found: str, expected: str) -> InputError:
    problem = Problem("Not a day.", parameter=name, found=repr(found[:40]), expected=expected)
    return InputError(f"{name} is not valid: found {found[:40]!r}, expected {expected}.", problems=(problem,))
