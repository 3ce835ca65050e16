"""One structured line a request, with request id and Run ID; never tokens, never field values."""

from __future__ import annotations

import logging
import re
import secrets
import sys
import time

import structlog
from flask import Flask, Response, g, request

REQUEST_ID = "X-Request-Id"
_KNOWN_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_log = structlog.get_logger("api")


def configure_logs(level: str = "info", form: str = "text") -> None:
    """Logs of the whole process to stderr, as JSON or as text. Call it once, when a program starts."""
    shared: list[structlog.typing.Processor] = [
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
    ]
    renderer: structlog.typing.Processor = structlog.processors.JSONRenderer()
    if form != "json":
        renderer = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        shared = shared[:-1]  # it shows exceptions itself
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def add_logs(app: Flask) -> None:
    """Gives every request an id, the sender's where it has one, and logs its end."""
    app.before_request(_begin)
    app.after_request(_end)


def _begin() -> None:
    given = request.headers.get(REQUEST_ID, "")
    g.request_id = given if _KNOWN_ID.fullmatch(given) else secrets.token_hex(8)
    g.logged_from = time.perf_counter()


def _end(response: Response) -> Response:
    response.headers[REQUEST_ID] = g.request_id
    identity = g.get("identity")
    _log.info(
        "request",
        request_id=g.request_id,
        method=request.method,
        route=request.url_rule.rule if request.url_rule else None,
        status=response.status_code,
        duration_ms=round((time.perf_counter() - g.logged_from) * 1000, 1),
        run_id=_loggable(g.get("run_id")),
        token_id=identity.token_id if identity else None,
    )
    return response


def _loggable(run_id: str | None) -> str | None:
    """A Run ID as it must look; of anything else only that it was none."""
    if run_id is None:
        return None
    return run_id if re.fullmatch(r"[A-Za-z0-9\-_.~:]{1,128}", run_id) else "(not a Run ID)"
