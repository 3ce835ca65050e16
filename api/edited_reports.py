"""Edited reports over HTTP: a report that comes back from a spreadsheet, as the selection of an undo."""

from __future__ import annotations

from flask import Response, g
from flask_smorest import Blueprint

from api.answers import json_answer
from api.auth import identify, services
from api.bodies import check_media_type, read_whole
from api.documenting import endpoint
from api.queries import read_query
from api.schemas.undos import EditedReportSchema
from ledger.wire.runs import StrictSchema
from ledger.wire.undo import undo_document

edited_reports = Blueprint("edited_reports", __name__, url_prefix="/v1", description="Taking runs back")

UPLOAD_BYTES_MAX = 64 * 1024 * 1024
MEDIA_TYPES = (
    "application/octet-stream",
    "text/csv",
    "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "application/vnd.oasis.opendocument.spreadsheet",
    "application/vnd.ms-excel",
)
_FILE = {"schema": {"type": "string", "format": "binary"}}


@endpoint(
    edited_reports, "POST", "/runs/<text:run_id>/edited-reports", "What an edited report selects",
    body=dict.fromkeys(MEDIA_TYPES, _FILE), answers={200: EditedReportSchema}, problems=(404, 409, 413, 415),
)  # fmt: skip
def read_edited_report(run_id: str) -> Response:
    """The body is the file as a spreadsheet program saved it: XLSX or CSV, with rows and columns removed. Nothing is
    kept. `undo` is the body for `POST /v1/undo-plans` and `POST /v1/undos`; values always come from the ledger, and
    cells that differ from it are listed: ask before you go on."""
    identity = identify("read")
    g.run_id = run_id
    read_query(StrictSchema)
    check_media_type(*MEDIA_TYPES)
    data = read_whole(UPLOAD_BYTES_MAX, "larger ones are read by `ledger undo --from-report`")
    edited = services().edited_report(identity.account_id, run_id, data)
    return json_answer(edited.as_dict() | {"undo": undo_document([run_id], edited.selection)})
