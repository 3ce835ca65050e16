"""Changes over HTTP: recording them, paging inside a run, searching across runs."""

from __future__ import annotations

from typing import Any

from flask import Response, g
from flask_smorest import Blueprint

from api.answers import json_answer, page_answer
from api.auth import identify, services
from api.bodies import JSON, NDJSON, body_blocks, check_media_type
from api.documenting import endpoint
from api.metrics import count_changes
from api.queries import read_query
from api.schemas.answers import AcceptedSchema, ChangePageSchema
from api.schemas.changes import ChangeSchema
from api.schemas.queries import ChangesQuery, RecordingQuery, RunChangesQuery
from ledger.errors import LedgerError, NotFound
from ledger.service import Accepted
from projections.run_changes.view import ChangeQuery, ChangeSearch

changes = Blueprint("changes", __name__, url_prefix="/v1", description="What runs did to records")

_BODY = {
    NDJSON: {"schema": {"type": "string", "description": "One change (see the JSON array's items) a line."}},
    JSON: {"schema": ChangeSchema(many=True)},
}


@endpoint(
    changes,
    "POST",
    "/runs/<text:run_id>/changes",
    "Record changes of a run",
    query=RecordingQuery,
    body=_BODY,
    answers={200: AcceptedSchema},
    problems=(404, 409, 413, 415),
)
def record_changes(run_id: str) -> Response:
    """NDJSON of any length, or a JSON array; gzip too. Exactly once: state the offset, and after any failure go on
    from `accepted`, which every problem carries. `Content-Digest` and `Ledger-Change-Count` are checked first.
    """
    identity = identify("record")
    g.run_id = run_id
    offset = read_query(RecordingQuery).get("offset")
    check_media_type(NDJSON, JSON)
    ledger = services().ledger(identity.account_id)
    last: Accepted | None = None
    try:
        for last in ledger.record_batches(run_id, body_blocks(), offset=offset):
            count_changes(last)
        if last is None:
            last = Accepted(ledger.store.load_run(run_id).accepted, None)
    except NotFound:
        raise
    except LedgerError as error:
        accepted = last.accepted if last else _accepted(ledger.store, run_id)
        if accepted is not None:
            error.details.setdefault("accepted", accepted)
        raise
    document = {"run_id": run_id, "accepted": last.accepted, "position": last.position}
    return json_answer(document, position=last.position)


@endpoint(
    changes,
    "GET",
    "/runs/<text:run_id>/changes",
    "Page through the changes of a run",
    query=RunChangesQuery,
    answers={200: ChangePageSchema},
    problems=(404,),
)
def list_changes(run_id: str) -> Response:
    """In the log's order; a recipe's are those of all its children."""
    identity = identify("read")
    g.run_id = run_id
    found = read_query(RunChangesQuery, identity.account_id)
    after = found.pop("cursor", None)
    page = services().run_changes(identity.account_id).page(ChangeQuery(run_id, after=after, **_given(found)))
    return page_answer(page.as_dict(), _cursor(page.next_after))


@endpoint(
    changes,
    "GET",
    "/changes",
    "Search changes across runs",
    query=ChangesQuery,
    answers={200: ChangePageSchema},
    problems=(404,),
)
def search_changes() -> Response:
    """Newest first. A page can have few matches or none although there are more: go on while there is a cursor."""
    identity = identify("read")
    found = read_query(ChangesQuery, identity.account_id)
    after = found.pop("cursor", None)
    page = services().run_changes(identity.account_id).search(ChangeSearch(after=after, **_given(found)))
    return page_answer(page.as_dict(), _cursor(page.next_after))


def _given(found: dict[str, Any]) -> dict[str, Any]:
    """Without what is empty: an empty field of a form does not filter."""
    return {name: value for name, value in found.items() if value != ""}


def _cursor(position: int | None) -> str | None:
    return None if position is None else str(position)


def _accepted(store: Any, run_id: str) -> int | None:
    try:
        return int(store.load_run(run_id).accepted)
    except LedgerError:
        return None
