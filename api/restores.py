"""Restoring over HTTP: records of a type back to a moment, across runs, as one undo with the same rules."""

from __future__ import annotations

from flask import Response, request
from flask_smorest import Blueprint

from api.answers import json_answer
from api.auth import identify, services
from api.bodies import read_json
from api.documenting import endpoint
from api.queries import read_query
from api.schemas.undos import UndoSchema
from api.undos import begin_undo
from ledger.access import Identity
from ledger.undo.request import UndoRequest
from ledger.undo.result import UndoResult
from ledger.wire.runs import StrictSchema
from ledger.wire.undo import REQUEST_BYTES_MAX, RestoreSchema, parse_restore

restores = Blueprint("restores", __name__, url_prefix="/v1", description="Taking runs back")


@endpoint(
    restores, "POST", "/restore-plans", "Plan a restoring", body=RestoreSchema, answers={200: UndoSchema},
    problems=(404, 409, 413, 415),
)  # fmt: skip
def plan_restore() -> Response:
    """What would be put back now, of all that happened to records of this type after the moment; nothing is written."""
    identity = identify("read")
    read_query(StrictSchema)
    asked = _asked(identity)
    if not asked.runs:
        return json_answer(UndoResult("nothing_to_do", ()).as_dict())
    return json_answer(services().undo(identity.account_id).preview(asked).as_dict())


@endpoint(
    restores, "POST", "/restores", "Put records back to a moment", body=RestoreSchema,
    answers={200: UndoSchema, 202: UndoSchema}, problems=(404, 409, 413, 415), with_key=True,
)  # fmt: skip
def start_restore() -> Response:
    """Begins it as one undo and answers at once; `GET /v1/undos/{id}` tells how far it is. 200: nothing has changed
    since, so nothing was begun."""
    identity = identify("undo")
    read_query(StrictSchema)
    asked = _asked(identity)
    if not asked.runs:
        return json_answer(UndoResult("nothing_to_do", ()).as_dict())
    return begin_undo(identity, asked)


def _asked(identity: Identity) -> UndoRequest:
    body = read_json(bytes_max=REQUEST_BYTES_MAX)
    command = parse_restore(body, idempotency_key=request.headers.get("Idempotency-Key"))
    return services().restoring(identity.account_id, command)
