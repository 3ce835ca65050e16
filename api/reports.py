"""Reports over HTTP: streamed files."""

from __future__ import annotations

from typing import Any

from flask import Response, g
from flask_smorest import Blueprint

from api.auth import identify, services
from api.digests import add_digest
from api.documenting import endpoint
from api.queries import read_query
from api.schemas.queries import ReportQuery
from projections.reports.reading import MEDIA_TYPES, Report

reports = Blueprint("reports", __name__, url_prefix="/v1", description="Before and after, as files")


def report_answer(report: Report) -> Response:
    """The report's bytes as a file named after the run, with its digest for who asks (Want-Repr-Digest)."""
    answer = Response(report.blocks, mimetype=report.media_type.partition(";")[0])
    answer.headers["Content-Type"] = report.media_type
    answer.headers.set("Content-Disposition", "attachment", filename=report.file_name)
    return add_digest(answer)


def _get_report(run_id: str, form: Any) -> Response:
    identity = identify("read")
    g.run_id = run_id
    found = read_query(ReportQuery, identity.account_id)
    opened = (
        services()
        .reports(identity.account_id)
        .open(run_id, form, dialect=found.get("dialect", "spreadsheet"), include_preview=found.get("preview", False))
    )
    return report_answer(opened)


@endpoint(
    reports,
    "GET",
    "/runs/<text:run_id>/report.csv",
    "Report as CSV",
    query=ReportQuery,
    answers={200: MEDIA_TYPES["csv"].partition(";")[0]},
    problems=(404, 409),
)
def get_csv(run_id: str) -> Response:
    """Safe in spreadsheets; `dialect=exact` for programs."""
    return _get_report(run_id, "csv")


@endpoint(
    reports,
    "GET",
    "/runs/<text:run_id>/report.xlsx",
    "Report as XLSX",
    query=ReportQuery,
    answers={200: MEDIA_TYPES["xlsx"]},
    problems=(404, 409),
)
def get_xlsx(run_id: str) -> Response:
    """Every cell is text."""
    return _get_report(run_id, "xlsx")


@endpoint(
    reports,
    "GET",
    "/runs/<text:run_id>/report.ndjson",
    "Report as NDJSON",
    query=ReportQuery,
    answers={200: MEDIA_TYPES["ndjson"]},
    problems=(404, 409),
)
def get_ndjson(run_id: str) -> Response:
    """One change a line, values exact."""
    return _get_report(run_id, "ndjson")
