"""A run: what it was, what it did, what is remarkable about it, what an undo would do, and its changes."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from flask import Response, render_template, request, url_for

from api.auth import services
from api.pages.addresses import here, position
from api.pages.blueprint import pages, reader
from api.pages.diagnosis import Finding, diagnose
from api.undos import undoability
from ledger.errors import LedgerError
from ledger.undo.request import UndoRequest
from projections.run_changes.view import ChangeQuery
from projections.tracker.view import RunQuery, TrackerRow

CHANGES_A_PAGE = 50
CHILDREN_SHOWN_MAX = 200
EARLIER_RUNS = 20
FORECAST_CHANGES_MAX = 2_000
"""Of a larger run the page tells how to ask for the forecast, instead of waiting for it."""
CHANGE_FILTERS = ("result", "action", "record_id", "field", "text")
COUNTS = ("processed", "succeeded", "updated", "created", "deleted", "unmodified", "other", "failed")


@pages.get("/runs/<run_id>")
def run(run_id: str) -> str:
    identity = reader()
    row = services().tracker(identity.account_id).get_run(run_id)
    filters: dict[str, Any] = {name: request.args[name] for name in CHANGE_FILTERS if request.args.get(name)}
    query = ChangeQuery(run_id, **filters, after=position("after"), limit=CHANGES_A_PAGE)
    changes = services().run_changes(identity.account_id).page(query)
    children = _children(identity.account_id, row)
    return render_template(
        "run.html",
        run=row,
        counts=COUNTS,
        facts=_facts(row),
        children=children,
        findings=_findings(identity.account_id, row, children),
        asked=request.args,
        filters=filters,
        changes=changes,
        undo=_undo_state(identity.account_id, row),
        first_href=here(after=None),
        next_href=changes.next_after is not None and here(after=str(changes.next_after)),
        link=url_for("pages.run", run_id=run_id, _external=True),
    )


@pages.get("/runs/<run_id>/tally")
def run_tally(run_id: str) -> str:
    """A run's counts, asked for again and again while it runs."""
    row = services().tracker(reader().account_id).get_run(run_id)
    return render_template("run_tally.html", run=row, counts=COUNTS, is_poll="Ledger-Poll" in request.headers)


@pages.get("/runs/<run_id>/report.<any(csv, xlsx, ndjson):form>")
def report(run_id: str, form: Any) -> Response:
    identity = reader()
    include_preview = request.args.get("preview") == "true"
    opened = services().reports(identity.account_id).open(run_id, form, include_preview=include_preview)
    response = Response(opened.blocks, mimetype=opened.media_type.partition(";")[0])
    response.headers["Content-Type"] = opened.media_type
    response.headers.set("Content-Disposition", "attachment", filename=opened.file_name)
    return response


def _children(account_id: UUID, row: TrackerRow) -> list[TrackerRow]:
    if row.operation.kind != "recipe":
        return []
    query = RunQuery(recipe_run_id=row.run_id, mode="all", descending=False, page_size=CHILDREN_SHOWN_MAX)
    return list(services().tracker(account_id).list_runs(query).rows)


def _findings(account_id: UUID, row: TrackerRow, children: list[TrackerRow]) -> list[Finding]:
    sample = services().sampling(account_id).sample(row.run_id, [child.run_id for child in children])
    return diagnose(row, sample, _earlier(account_id, row))


def _earlier(account_id: UUID, row: TrackerRow) -> list[TrackerRow]:
    """The runs of the same template just before this one."""
    template = row.operation.template
    name = template and (template.name or template.id)
    if not name:
        return []
    query = RunQuery(
        template=name,
        mode=row.operation.mode,
        started_to=row.started_at + timedelta(microseconds=1),
        page_size=EARLIER_RUNS + 1,
    )
    rows = services().tracker(account_id).list_runs(query).rows
    return [one for one in rows if one.run_id != row.run_id and one.status != "running"][:EARLIER_RUNS]


def _undo_state(account_id: UUID, row: TrackerRow) -> dict[str, Any]:
    """What was undone of a run, what is under way, and what an undo would do now."""
    run = services().ledger(account_id).store.find_run(row.run_id)
    if run is None:
        return {}
    state: dict[str, Any] = {"by": run.undone_by, "under_way": run.undo_under_way, "undoes": run.undoes}
    if row.tally.processed > FORECAST_CHANGES_MAX or row.is_preview or row.status == "running":
        return state
    try:
        plan = services().undo(account_id).preview(UndoRequest((row.run_id,)))
    except LedgerError as refusal:
        return state | {"refusal": refusal.message}
    return state | {"forecast": undoability(row.run_id, plan)}


def _facts(row: TrackerRow) -> list[tuple[str, str | None]]:
    what = row.operation
    app = " / ".join(part for part in (what.app.name, what.app.account) if part) if what.app else None
    return [
        ("App and account", app),
        ("Module", what.module),
        ("Object type", what.object_type),
        ("User", what.user.shown if what.user else None),
        ("Mode", what.mode),
        ("Trigger", what.trigger),
        ("Target", what.target),
        ("Message", what.message),
    ]
