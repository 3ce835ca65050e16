"""The log for security monitoring over HTTP."""

from __future__ import annotations

from flask import Response, request
from flask_smorest import Blueprint

from api.answers import ndjson_answer
from api.auth import identify, services
from api.documenting import endpoint
from api.queries import read_query
from api.schemas.queries import WholeNumber
from ledger.wire.runs import StrictSchema

exports = Blueprint("exports", __name__, url_prefix="/v1", description="The log for other systems")

CURSOR_HEADER = "Ledger-Cursor"
"""What to send as `cursor` for the events after this answer's."""


class OcsfQuery(StrictSchema):
    cursor = WholeNumber(metadata={"description": "Ledger-Cursor of the answer before; default: 0."})


@endpoint(
    exports, "GET", "/export/ocsf", "Changes as OCSF events", query=OcsfQuery, answers={200: "application/x-ndjson"}
)
def get_ocsf() -> Response:
    """Some changes after the cursor, in order, an OCSF event (class 3004, Entity Management) a line, without values.
    The header Ledger-Cursor is the next cursor; it stays the same where there is nothing new. Some events of the log
    are no changes: an answer may be empty and its cursor a new one."""
    identity = identify("read")
    cursor = read_query(OcsfQuery).get("cursor", 0)
    account = services().accounts().get(identity.account_id)
    page = services().ocsf(identity.account_id, account.name).page(cursor)
    answer = ndjson_answer(page.events)
    answer.headers[CURSOR_HEADER] = str(page.cursor)
    if page.cursor != cursor:
        answer.headers["Link"] = f'<{request.script_root}{request.path}?cursor={page.cursor}>; rel="next"'
    return answer
