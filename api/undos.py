"""Undos over HTTP: the plan, the undo itself, how far it is, cancelling, resuming, approving."""

from __future__ import annotations

from threading import Event, Thread
from typing import Any
from uuid import UUID

import structlog
from flask import Response, current_app, g, request, url_for
from flask_smorest import Blueprint

from api.answers import json_answer
from api.auth import identify, services
from api.bodies import read_json
from api.documenting import endpoint
from api.queries import read_query
from api.schemas.undos import ApprovalSchema, OptionsSchema, UndoabilitySchema, UndoSchema
from bootstrap import Services
from ledger.access import Identity
from ledger.errors import LedgerError
from ledger.undo.refusals import UndoRefused
from ledger.undo.request import UndoRequest
from ledger.undo.result import UndoResult
from ledger.undo.service import AccountUndo
from ledger.wire.runs import StrictSchema
from ledger.wire.undo import REQUEST_BYTES_MAX, UndoRequestSchema, parse_approval, parse_options, parse_undo

undos = Blueprint("undos", __name__, url_prefix="/v1", description="Taking runs back")

_log = structlog.get_logger("api")


@endpoint(
    undos, "POST", "/undo-plans", "Plan an undo", body=UndoRequestSchema, answers={200: UndoSchema},
    problems=(404, 409, 413, 415),
)  # fmt: skip
def plan_undo() -> Response:
    """What the undo would do now, by the code that would do it; nothing is written. Its `digest` names this plan."""
    identity = identify("read")
    read_query(StrictSchema)
    command = parse_undo(read_json(bytes_max=REQUEST_BYTES_MAX))
    return json_answer(_undo_of(identity).preview(command).as_dict())


@endpoint(
    undos, "POST", "/undos", "Undo runs", body=UndoRequestSchema, answers={202: UndoSchema},
    problems=(404, 409, 413, 415), with_key=True,
)  # fmt: skip
def start_undo() -> Response:
    """Begins the undo and answers at once; `GET /v1/undos/{id}` tells how far it is. A refused undo is a 409 whose
    `reason` says why: already_undone, undo_in_progress, preview_run, unknown_run, before_states_expired."""
    identity = identify("undo")
    read_query(StrictSchema)
    body = read_json(bytes_max=REQUEST_BYTES_MAX)
    command = parse_undo(body, idempotency_key=request.headers.get("Idempotency-Key"))
    return begin_undo(identity, command)


@endpoint(undos, "GET", "/undos/<text:undo_id>", "Look at an undo", answers={200: UndoSchema}, problems=(404,))
def get_undo(undo_id: str) -> Response:
    """`status` is running while it is carried out, interrupted when it waits to be resumed, else how it ended."""
    identity = identify("read")
    read_query(StrictSchema)
    return _status_answer(identity, undo_id, 200)


@endpoint(
    undos, "POST", "/undos/<text:undo_id>/resume", "Resume an undo", answers={202: UndoSchema}, problems=(404, 409)
)
def resume_undo(undo_id: str) -> Response:
    """Goes on with an interrupted undo; harmless for one that has ended."""
    identity = identify("undo")
    read_query(StrictSchema)
    if _undo_of(identity).state(undo_id) == "interrupted":
        carry_on_apart(services(), identity.account_id, undo_id)
    return _status_answer(identity, undo_id, 202)


@endpoint(
    undos, "POST", "/undos/<text:undo_id>/cancel", "Cancel an undo", answers={202: UndoSchema}, problems=(404, 409)
)
def cancel_undo(undo_id: str) -> Response:
    """Stops it after the batch under way. What was written back stays, and can be undone itself."""
    identity = identify("undo")
    read_query(StrictSchema)
    _undo_of(identity).cancel(undo_id)
    return _status_answer(identity, undo_id, 202)


@endpoint(
    undos, "GET", "/runs/<text:run_id>/undoability", "What an undo of this run would do now",
    answers={200: UndoabilitySchema},
)  # fmt: skip
def get_undoability(run_id: str) -> Response:
    """Fields restorable, overwritten since and by which runs, impossible; or why an undo would be refused."""
    identity = identify("read")
    read_query(StrictSchema)
    try:
        plan = _undo_of(identity).preview(UndoRequest((run_id,)))
    except UndoRefused as refused:
        return json_answer({"run_id": run_id, "refusal": refused.reason, "message": refused.message})
    return json_answer(undoability(run_id, plan))


@endpoint(
    undos, "POST", "/undo-approvals", "Approve a plan as the second person", body=ApprovalSchema,
    answers={200: ApprovalSchema}, problems=(413, 415),
)  # fmt: skip
def approve_plan() -> Response:
    """For accounts in which a large undo needs two people. The plan is named by its digest."""
    identity = identify("undo")
    read_query(StrictSchema)
    digest = parse_approval(read_json())
    _undo_of(identity).approvals.approve(digest, identity.actor)
    return json_answer({"plan_digest": digest})


@endpoint(undos, "GET", "/undo-options", "The account's rules for undos", answers={200: OptionsSchema})
def get_options() -> Response:
    """`approval_above`: an undo that writes more records needs a second person; null: none does."""
    identity = identify("read")
    read_query(StrictSchema)
    return json_answer({"approval_above": _undo_of(identity).approvals.threshold()})


@endpoint(
    undos, "PUT", "/undo-options", "Set the account's rules for undos", body=OptionsSchema,
    answers={200: OptionsSchema}, problems=(413, 415),
)  # fmt: skip
def set_options() -> Response:
    """Administrators only."""
    identity = identify("manage")
    read_query(StrictSchema)
    approval_above = parse_options(read_json())
    _undo_of(identity).approvals.set_threshold(approval_above)
    return json_answer({"approval_above": approval_above})


def begin_undo(identity: Identity, command: UndoRequest) -> Response:
    """Begins an undo, carried out by a thread of its own, and answers with how far it is."""
    undo_id, is_new = _undo_of(identity).begin(command, user=identity.user)
    g.run_id = undo_id
    if is_new:
        carry_on_apart(services(), identity.account_id, undo_id)
    return _status_answer(identity, undo_id, 202, replayed=not is_new)


def undoability(run_id: str, plan: UndoResult) -> dict[str, Any]:
    """A plan in the words of a forecast."""
    overwritten: dict[str, int] = {}
    for item in plan.skipped.items:
        if item.author is not None:
            by = item.author.run_id or "outside the ledger"
            overwritten[by] = overwritten.get(by, 0) + 1
    restorable = sum(max(1, len(applied.fields)) for applied in plan.applied.items)
    return {
        "run_id": run_id,
        "refusal": None,
        "records_restorable": plan.applied.count,
        "fields_restorable": restorable,
        "overwritten_since": plan.fields_kept,
        "overwritten_by": [{"run_id": by, "fields": number} for by, number in sorted(overwritten.items())],
        "impossible": plan.fields_impossible,
        "already_restored": plan.noop.count,
        "truncated": plan.applied.count > len(plan.applied.items),
    }


def _undo_of(identity: Identity) -> AccountUndo:
    return services().undo(identity.account_id)


def _status_answer(identity: Identity, undo_id: str, status: int, *, replayed: bool = False) -> Response:
    undo = _undo_of(identity)
    state = undo.state(undo_id)
    document = undo.result(undo_id).as_dict()
    if state == "running":
        document["status"] = "running"
    answer = json_answer(document | {"replayed": replayed}, status, position=document["position"])
    answer.headers["Location"] = url_for("undos.get_undo", undo_id=undo_id).replace("%25", "%")
    return answer


def carry_on_apart(found: Services, account_id: UUID, undo_id: str) -> None:
    """In a thread of its own: the undo goes on whether or not somebody waits. A server that dies leaves it to be
    resumed."""

    is_seen = Event()

    def work() -> None:
        try:
            found.undo(account_id).carry_on(undo_id, on_held=is_seen.set)
        except LedgerError as error:
            _log.warning("undo stopped", run_id=undo_id, code=error.code, detail=error.message)
        finally:
            is_seen.set()

    thread = Thread(target=work, name=f"undo-{undo_id}", daemon=True)
    thread.start()
    is_seen.wait()  # or the answer would say that it is interrupted
    if current_app.testing:
        thread.join()
