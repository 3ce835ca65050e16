"""Errors as problem documents (RFC 9457): the one map from the ledger's tree of errors to HTTP."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import structlog
from flask import Blueprint, Flask, Response, g, render_template, request
from werkzeug.exceptions import HTTPException

from ledger import errors, json_text
from ledger.errors import LedgerError

MEDIA_TYPE = "application/problem+json"
RETRY_AFTER_S = 1
PROBLEMS_SHOWN_MAX = 100

_STATUSES: dict[type[LedgerError], int] = {
    LedgerError: 500,
    json_text.JsonFault: 400,
    errors.InputError: 422,
    errors.SignInForged: 400,
    errors.TooLarge: 413,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.KeyReused: 422,
    errors.NotSignedIn: 401,
    errors.NotPermitted: 403,
    errors.Unavailable: 503,
    errors.IntegrityFailed: 500,
}
"""Of each kind; those that are not named have the status of the nearest kind above them."""

_log = structlog.get_logger("api")
problem_pages = Blueprint("problems", __name__)


def status_of(error: LedgerError) -> int:
    """The HTTP status of an error."""
    return next(_STATUSES[kind] for kind in type(error).__mro__ if kind in _STATUSES)


def problem_answer(
    status: int,
    code: str,
    title: str,
    detail: str,
    *,
    faults: tuple[errors.Problem, ...] = (),
    facts: Mapping[str, Any] | None = None,
) -> Response:
    """A problem document. Its members: type, title, status, detail, code, request_id, errors, and the facts."""
    document = {
        "type": f"/problems/{code}",
        "title": title,
        "status": status,
        "detail": detail,
        "code": code,
        "request_id": g.get("request_id"),
        "errors": [_writable(fault.as_dict()) for fault in faults[:PROBLEMS_SHOWN_MAX]],
    }
    body = json_text.encode({**_writable(dict(facts or {})), **_writable(document)})
    answer = Response(body, status, mimetype=MEDIA_TYPE)
    if status == 401:
        answer.headers["WWW-Authenticate"] = 'Bearer realm="ledger"'
    if status == 503:
        answer.headers["Retry-After"] = str((facts or {}).get("retry_after_s", RETRY_AFTER_S))
    if status >= 400:
        answer.headers["Cache-Control"] = "no-store"
    return answer


def handle_ledger_error(error: LedgerError) -> Response:
    """Any error of the tree."""
    status = status_of(error)
    if status >= 500:
        _log.warning("refused", code=error.code, detail=error.message, request_id=g.get("request_id"))
    return problem_answer(status, error.code, error.title, error.message, faults=error.problems, facts=error.details)


def handle_http_exception(error: HTTPException) -> Response:
    """What Flask and Werkzeug refuse themselves: no such path, method not allowed, a body that broke off."""
    if error.response is not None or (error.code or 500) < 400:
        return error.get_response()  # type: ignore[return-value]
    status = error.code or 500
    name = error.name.lower().replace(" ", "_").replace("'", "")
    answer = problem_answer(status, name, error.name, error.description or error.name)
    for header, value in error.get_headers():
        if header.lower() not in ("content-type", "content-length"):
            answer.headers[header] = value
    return answer


def handle_unforeseen(error: Exception) -> Response:
    """A fault of ours. The log has the traceback under the request id, the answer has nothing of it."""
    _log.error("unforeseen", request_id=g.get("request_id"), path=request.path, exc_info=error)
    detail = "Something went wrong in the ledger. Tell its operators the request id; nothing was half-done."
    return problem_answer(500, "internal", "A fault of the ledger", detail)


def add_errors(app: Flask) -> None:
    """Makes every error of the application a problem document."""
    app.register_error_handler(LedgerError, handle_ledger_error)
    app.register_error_handler(HTTPException, handle_http_exception)
    app.register_error_handler(Exception, handle_unforeseen)
    app.register_blueprint(problem_pages)


@problem_pages.get("/problems/<code>")
def explain(code: str) -> tuple[str, int] | str:
    """What a problem's `type` leads to."""
    kind = next((kind for kind in kinds() if kind.code == code), None)
    if kind is None:
        return render_template("problem.html", problem={"title": code, "detail": "An error of HTTP itself."})
    return render_template(
        "problem.html", problem={"title": kind.title, "detail": " ".join((kind.__doc__ or "").split())}
    )


def kinds(kind: type[LedgerError] = LedgerError) -> Iterator[type[LedgerError]]:
    """The tree of errors, from the top."""
    yield kind
    for below in kind.__subclasses__():
        yield from kinds(below)


def _writable(value: Any) -> Any:
    """Texts without lone surrogates, which no UTF-8 answer can hold."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, Mapping):
        return {name: _writable(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_writable(inner) for inner in value]
    return value
