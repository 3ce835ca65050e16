"""A record: as it is or was at any moment, who wrote each field, everything that happened to it, and the way back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from flask import redirect, render_template, request
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as AnyResponse

from api.auth import services
from api.errors import status_of
from api.pages.addresses import here, position
from api.pages.blueprint import actor, pages, reader
from api.pages.undo_parts import begin, plan_facts
from api.pages.undo_words import POLICIES
from api.pages.viewer import zone
from api.sign_in import refuse_other_sites
from ledger.access import Identity
from ledger.errors import InputError, Problem
from ledger.undo.guards import ApprovalNeeded
from ledger.undo.request import Restoring, UndoRequest
from ledger.undo.service import PlanMoved
from ledger.wire.changes import parse_instant
from projections.records.moment import Moment
from projections.records.view import HistoryPage

CHANGES_A_PAGE = 100
RESTORE_POLICIES = POLICIES[:4]


@pages.get("/records")
def record() -> AnyResponse | str:
    identity = reader()
    object_type, record_id = request.args.get("object_type", ""), request.args.get("record_id", "")
    if not (object_type and record_id):
        types = services().tracker(identity.account_id).facet_values("object_type")
        return render_template("records.html", object_type=object_type, record_id=record_id, types=types)
    if any(value == "" for value in request.args.values()):
        return redirect(here(), 303)
    records = services().records(identity.account_id)
    history = records.history(object_type, record_id, after=position("after"), limit=CHANGES_A_PAGE)
    instant = read_moment(request.args.get("at", ""))
    steps = list(reversed(history.changes)) if history.next_after is None else []
    step = _step(request.args.get("step", ""), len(steps))
    moment = Moment.at(instant) if instant else Moment.now()
    if step is not None:
        moment = Moment.at_position(steps[step - 1].position)
        instant = steps[step - 1].occurred_at
    return render_template(
        "record.html",
        object_type=object_type,
        record_id=record_id,
        blame=records.blame(object_type, record_id, moment),
        history=history,
        label=_newest(history, "label"),
        link=_newest(history, "link"),
        moment=instant,
        is_past=moment.kind != "now",
        at_shown="" if instant is None else _local(instant),
        at_text="" if instant is None else instant.astimezone(UTC).isoformat(),
        steps=steps,
        step=step or len(steps),
        next_href=history.next_after is not None and here(after=str(history.next_after)),
    )


@pages.get("/records/restore")
def restore_plan() -> tuple[str, int]:
    return _restore_page(reader(), request.args)


@pages.post("/records/restore")
def restore_record() -> AnyResponse | tuple[str, int]:
    """Puts the record back to the moment whose plan was looked at."""
    refuse_other_sites()
    identity = actor("undo")
    try:
        return begin(identity, _restoring(identity, request.form), request.form)
    except (PlanMoved, ApprovalNeeded) as refusal:
        return _restore_page(identity, request.form, problem=refusal.message, status=status_of(refusal))


def read_moment(text: str) -> datetime | None:
    """A moment: an RFC 3339 instant, or a day or time of day in the viewer's zone; a day stands for its end.

    None for no text. Raises InputError.
    """
    if not text:
        return None
    instant = parse_instant(text)
    if instant is not None:
        return instant
    try:
        local = datetime.fromisoformat(text)
        if len(text) == len("2026-11-28"):
            local += timedelta(days=1, microseconds=-1)
        return (local if local.tzinfo else local.replace(tzinfo=zone())).astimezone(UTC)
    except (ValueError, OverflowError):
        problem = Problem("Not a moment.", parameter="at", found=repr(text[:40]), expected="2026-11-28T14:30 or a day")
        raise InputError(f"{text[:40]!r} is no moment. Use a day, or a day and a time.", problems=(problem,)) from None


def _restore_page(
    identity: Identity, values: MultiDict[str, str], *, problem: str | None = None, status: int = 200
) -> tuple[str, int]:
    asked = _restoring(identity, values)
    nothing = {"plan": None, "refusal": "Nothing has changed this record since then."}
    page = render_template(
        "restore.html",
        object_type=values.get("object_type", ""),
        record_id=values.get("record_id", ""),
        moment=asked.since,
        at_text=values.get("at", ""),
        policy=asked.policy,
        policies=RESTORE_POLICIES,
        runs=asked.runs,
        problem=problem,
        **(plan_facts(identity, asked, values) if asked.runs else nothing),
    )
    return page, status


def _restoring(identity: Identity, values: MultiDict[str, str]) -> UndoRequest:
    """Raises InputError."""
    object_type, record_id = values.get("object_type", ""), values.get("record_id", "")
    instant, policy = read_moment(values.get("at", "")), values.get("policy") or "skip"
    if not (object_type and record_id and instant) or policy not in {name for name, _, _ in RESTORE_POLICIES}:
        raise InputError("A restoring names a record, a moment, and one of the policies shown.")
    asked = Restoring(object_type, instant, frozenset((record_id,)), policy)  # type: ignore[arg-type]  # checked above
    return services().restoring(identity.account_id, asked)


def _local(instant: datetime) -> str:
    """As a field for date and time shows it."""
    return instant.astimezone(zone()).replace(tzinfo=None).isoformat(timespec="seconds")


def _step(text: str, steps: int) -> int | None:
    if not text.isascii() or not text.isdecimal() or len(text) > 6:
        return None
    return int(text) if 1 <= int(text) <= steps else None


def _newest(history: HistoryPage, name: str) -> Any:
    return next((getattr(change, name) for change in history.changes if getattr(change, name)), None)
