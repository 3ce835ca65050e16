"""A run: what it was, what it did, what an undo would do, and its changes."""

from __future__ import annotations

from typing import Any

from flask import Response, render_template, request

from api.auth import services
from api.pages.addresses import here, position
from api.pages.blueprint import pages, reader
from api.undos import undoability
from ledger.errors import LedgerError
from ledger.undo.request import UndoRequest
from projections.run_changes.view import ChangeQuery
from projections.tracker.view import RunQuery, TrackerRow

CHANGES_A_PAGE = 50
CHILDREN_SHOWN_MAX = 200
FORECAST_CHANGES_MAX = 2_000
"""Of a larger run the page tells how to ask for the forecast, instead of waiting for it."""
CHANGE_FILTERS = ("result", "action", "record_id", "field", "text")


@pages.get("/runs/<run_id>")
def run(run_id: str) -> str:
    identity = reader()
    row = services().tracker(identity.account_id).get_run(run_id)
    filters = {name: request.args[name] for name in CHANGE_FILTERS if request.args.get(name)}
    query = ChangeQuery(run_id, **filters, after=position("after"), limit=CHANGES_A_PAGE)
    changes = services().run_changes(identity.account_id).page(query)
    return render_template(
        "run.html",
        run=row,
        facts=_facts(row),
        children=_children(identity.account_id, row),
        asked=request.args,
        changes=changes,
        undo=_undo_state(identity.account_id, run_id),
        next_href=changes.next_after is not None and here(after=str(changes.next_after)),
    )


@pages.get("/runs/<run_id>/report.<any(csv, xlsx, ndjson):form>")
def report(run_id: str, form: Any) -> Response:
    identity = reader()
    opened = services().reports(identity.account_id).open(run_id, form)
    response = Response(opened.blocks, mimetype=opened.media_type)
    response.headers.set("Content-Disposition", "attachment", filename=opened.file_name)
    return response


def _children(account_id: Any, row: TrackerRow) -> list[TrackerRow]:
    if row.operation.kind != "recipe":
        return []
    view = services().tracker(account_id)
    query = RunQuery(recipe_run_id=row.run_id, mode="all", descending=False, page_size=CHILDREN_SHOWN_MAX)
    return list(view.list_runs(query).rows)


def _undo_state(account_id: Any, run_id: str) -> dict[str, Any]:
    """What was undone of a run, what is under way, and what an undo would do now."""
    run = services().ledger(account_id).store.find_run(run_id)
    if run is None:
        return {}
    state: dict[str, Any] = {"by": run.undone_by, "under_way": run.undo_under_way, "undoes": run.undoes}
    if run.tally.processed > FORECAST_CHANGES_MAX:
        return state
    try:
        plan = services().undo(account_id).preview(UndoRequest((run_id,)))
    except LedgerError as refusal:
        return state | {"refusal": refusal.message}
    return state | {"forecast": undoability(run_id, plan)}


def _facts(row: TrackerRow) -> list[tuple[str, str | None]]:
    what = row.operation
    app = " / ".join(part for part in (what.app.name, what.app.account) if part) if what.app else None
    return [
        ("Status", row.status),
        ("Mode", what.mode),
        ("Trigger", what.trigger),
        ("App", app),
        ("Module", what.module),
        ("Object type", what.object_type),
        ("User", what.user.shown if what.user else None),
        ("Target", what.target),
        ("Message", what.message),
        ("Details", what.details.decode() if what.details else None),
    ]
