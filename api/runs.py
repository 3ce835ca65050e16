"""Runs over HTTP: starting, ending, listing, looking at one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any
from uuid import UUID

from flask import Response, g, request, url_for
from flask_smorest import Blueprint

from api.answers import json_answer, once, page_answer
from api.auth import identify, services
from api.bodies import read_json
from api.documenting import endpoint
from api.queries import read_query, read_run_query
from api.schemas.answers import RunPageSchema, RunSchema
from api.schemas.queries import ReadQuery, RunsQuery
from ledger.access import PERMISSIONS
from ledger.domain.run import Run
from ledger.errors import NotCaughtUp, NotFound
from ledger.service import RunOutcome
from ledger.wire.runs import (
    FailRunSchema,
    FinishRunSchema,
    StartRunSchema,
    StrictSchema,
    parse_fail,
    parse_finish,
    parse_start_run,
)
from projections.tracker.view import TrackerRow

runs = Blueprint("runs", __name__, url_prefix="/v1", description="Recording and listing runs")

RECIPE_WAIT_S = 2.0
"""How long the end of a recipe waits for the tally of its children."""


@endpoint(
    runs,
    "POST",
    "/runs",
    "Start a run",
    body=StartRunSchema,
    answers={201: RunSchema, 200: RunSchema},
    problems=(404, 409, 413, 415),
    with_key=True,
)
def start_run() -> Response:
    """200 where the run is there already with the same facts."""
    identity = identify("record")
    read_query(StrictSchema)
    body = read_json()

    def act() -> Response:
        command = parse_start_run(body)
        g.run_id = command.run_id
        outcome = (
            services()
            .ledger(identity.account_id)
            .start_run(command.operation, run_id=command.run_id, started_at=command.started_at)
        )
        answer = json_answer(document_of(outcome), 200 if outcome.position is None else 201, position=outcome.position)
        answer.headers["Location"] = url_for("runs.get_run", run_id=outcome.run.run_id).replace("%25", "%")
        return answer

    return once(identity, body, act)


@endpoint(
    runs,
    "POST",
    "/runs/<text:run_id>/finish",
    "Finish a run",
    body=FinishRunSchema,
    answers={200: RunSchema},
    problems=(404, 409, 413, 415),
    with_key=True,
)
def finish_run(run_id: str) -> Response:
    """The summary: Run ID, tally, duration, links. Finishing twice is harmless."""
    identity = identify("record")
    read_query(StrictSchema)
    g.run_id = run_id
    body = read_json()

    def act() -> Response:
        command = parse_finish(body)
        outcome = services().ledger(identity.account_id).finish_run(run_id, finished_at=command.finished_at)
        return json_answer(_summary(identity.account_id, outcome), position=outcome.position)

    return once(identity, body, act)


@endpoint(
    runs,
    "POST",
    "/runs/<text:run_id>/fail",
    "End a run with a system error",
    body=FailRunSchema,
    answers={200: RunSchema},
    problems=(404, 409, 413, 415),
    with_key=True,
)
def fail_run(run_id: str) -> Response:
    """What was recorded before stays, is reported and can be undone."""
    identity = identify("record")
    read_query(StrictSchema)
    g.run_id = run_id
    body = read_json()

    def act() -> Response:
        command = parse_fail(body)
        outcome = (
            services()
            .ledger(identity.account_id)
            .fail_run(run_id, command.code, command.message, finished_at=command.finished_at)
        )
        return json_answer(_summary(identity.account_id, outcome), position=outcome.position)

    return once(identity, body, act)


@endpoint(runs, "GET", "/runs", "List runs: the Activity Tracker", query=RunsQuery, answers={200: RunPageSchema})
def list_runs() -> Response:
    """Newest first; previews only when asked for."""
    identity = identify("read")
    query = read_run_query(identity.account_id)
    page = services().tracker(identity.account_id).list_runs(query)
    document = {
        "runs": [row.as_dict() for row in page.rows],
        "total": page.total,
        "total_is_capped": page.total_is_capped,
    }
    return page_answer(document, page.next_cursor)


@endpoint(
    runs, "GET", "/runs/<text:run_id>", "Look at a run", query=ReadQuery, answers={200: RunSchema}, problems=(404,)
)
def get_run(run_id: str) -> Response:
    """A producer's token is told status, tally and accepted only. Ended runs have an ETag."""
    identity = identify("read_status")
    g.run_id = run_id
    read_query(ReadQuery, identity.account_id)
    run = services().ledger(identity.account_id).store.load_run(run_id)
    if "read" not in PERMISSIONS[identity.role]:
        return json_answer(
            {"run_id": run.run_id, "status": run.status, "accepted": run.accepted, "tally": run.tally.as_dict()}
        )
    try:
        row = services().tracker(identity.account_id).get_run(run_id)
    except NotFound as error:
        raise NotCaughtUp(f"Run {run_id} is recorded; the tracker shows it in a moment. Try again.") from error
    row = replace(row, undone_by=undone_by(run), undo_under_way=run.undo_under_way)  # of its own events: never behind
    answer = json_answer(row.as_dict() | {"accepted": run.accepted})
    if row.status != "running":
        answer.add_etag()
        answer.make_conditional(request)
    return answer


def document_of(outcome: RunOutcome) -> dict[str, Any]:
    """A run as every interface gives it, from the run itself: the tracker may be behind."""
    run = outcome.run
    return _row(run, outcome.position).as_dict() | {"position": outcome.position, "accepted": run.accepted}


def _row(run: Run, position: int | None) -> TrackerRow:
    return TrackerRow(
        run_id=run.run_id,
        operation=run.operation,
        started_at=run.started_at,
        finished_at=run.finished_at,
        status=run.status,
        tally=run.tally,
        error=run.error,
        position=position or 0,
        undoes=run.undoes,
        undone_by=undone_by(run),
        undo_under_way=run.undo_under_way,
    )


def undone_by(run: Run) -> tuple[str, ...]:
    """The undo that took this run back, as its own events tell; nothing where it stands, or only a part was undone."""
    return () if run.undone_by is None else (run.undone_by,)


def _summary(account_id: UUID, outcome: RunOutcome) -> dict[str, Any]:
    """The run's document; of a recipe with the tally of its children, as soon as the tracker has it."""
    document = document_of(outcome)
    if outcome.run.operation.kind == "recipe":
        try:
            services().wait_for(account_id, outcome.position or 0, RECIPE_WAIT_S)
            row = services().tracker(account_id).get_run(outcome.run.run_id)
        except (NotCaughtUp, NotFound):
            return document | {"tally": None}
        return row.as_dict() | {"accepted": 0}
    return document
