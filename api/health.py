"""Whether the process answers, and whether it can do its work."""

from __future__ import annotations

from flask import Blueprint, Response

from api.answers import json_answer
from api.auth import services

health = Blueprint("health", __name__)


@health.get("/healthz")
def is_alive() -> Response:
    """200 as long as the process answers."""
    return json_answer({"status": "ok"})


@health.get("/readyz")
def is_ready() -> Response:
    """200 where the database answers and has this release's tables; how far the views are behind.

    A view that stands still is told but makes the process no less ready: recording goes on.
    """
    lag = services().lag()
    behind = max((each.behind for each in lag), default=0)
    stopped = sum(each.failure is not None for each in lag)
    return json_answer({"status": "ready", "projections": {"behind_max": behind, "stopped": stopped}})
