"""Whether the process answers, and whether it can do its work."""

from __future__ import annotations

from flask import Blueprint, Response, current_app

from api.answers import json_answer
from api.auth import services
from bootstrap import Services
from ledger.errors import Unavailable

health = Blueprint("health", __name__)


@health.get("/healthz")
def is_alive() -> Response:
    """200 as long as the process answers."""
    return json_answer({"status": "ok"})


@health.get("/readyz")
def is_ready() -> Response:
    """200 where the database answers and has this release's schema; how far the views are behind.

    A view that stands still, a log that is not sealed and a witness that fails are told but make the process no less
    ready: recording and reading go on. A database that lacks an erasure of the list outside it was restored from a
    backup, and is not ready before `ledger erase --replay`.
    """
    check_schema(*services().schema_numbers())
    check_erased(services())
    lag = services().lag()
    behind = max((each.behind for each in lag), default=0)
    stopped = sum(each.failure is not None for each in lag)
    answer: dict[str, object] = {"status": "ready", "projections": {"behind_max": behind, "stopped": stopped}}
    logs = services().log_states()
    if logs:
        answer["sealing"] = {
            "failing": sum(each.failure is not None for each in logs),
            "standing": sum(each.stands for each in logs),
            "unsigned_s_max": round(max(each.unsigned_s or 0.0 for each in logs), 1),
        }
        answer["verification"] = {
            "altered": sum(each.is_verified is False for each in logs),
            "never": sum(each.is_verified is None for each in logs),
            "ago_s_max": round(max(each.verified_s or 0.0 for each in logs), 1),
        }
    witnesses = services().witness_states()
    if witnesses:
        failing = sum(each.failure is not None for each in witnesses)
        answer["witnesses"] = {"failing": failing, "refusing": sum(each.refused for each in witnesses)}
    return json_answer(answer)


class OtherSchema(Unavailable):
    """The database has another release's schema."""

    code = "other_schema"
    title = "The database has another release's schema"


def check_schema(found: int, expected: int) -> None:
    """Raises OtherSchema unless the newest migration of the database is this release's."""
    if found < expected:
        raise OtherSchema(
            f"The database's newest migration is {found:04}, this release works on {expected:04}. Run `ledger migrate`."
        )
    if found > expected:
        raise OtherSchema(
            f"The database's newest migration is {found:04}, which a newer release made; this one works on "
            f"{expected:04}. Start the newer release."
        )


class NotErased(Unavailable):
    """The database lacks erasures: a backup was restored."""

    code = "not_erased"
    title = "Erasures are missing"


def check_erased(found: Services) -> None:
    """refuse_unerased, once for each state of the list."""
    state = None if found.erasure_list is None else found.erasure_list.state()
    seen: set[object] = current_app.extensions.setdefault("erasure_lists_seen", {None})
    if state not in seen:
        refuse_unerased(found)
        seen.add(state)


def refuse_unerased(found: Services) -> None:
    """Raises NotErased while the database lacks an erasure of the list outside it."""
    missing = found.first_unerased()
    if missing is not None:
        assert found.erasure_list is not None
        path = found.erasure_list.path
        raise NotErased(
            f"The erasure {missing.run_id} of {path} is not carried out in this database, which was restored from a "
            f"backup. Run `ledger erase --replay {path}` first."
        )
