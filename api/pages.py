"""The web pages: the tracker, a run, a record, signing in. Rendered on the server; they read as the API does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlencode

from flask import Blueprint, Response, current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api import shown
from api.errors import status_of
from api.sign_in import FailedSignIns, keep_signed_in, refuse_other_sites, sign_in, sign_out, signed_in
from api.undos import undoability
from bootstrap import Services
from ledger.errors import InputError, LedgerError, NotSignedIn, Problem
from ledger.json_text import plain
from ledger.undo.request import UndoRequest
from projections.run_changes.view import ChangeQuery
from projections.tracker.query_text import parse_run_query
from projections.tracker.view import FACETS, RunQuery, TrackerRow

pages = Blueprint("pages", __name__)

CHANGES_A_PAGE = 50
CHILDREN_SHOWN_MAX = 200
FORECAST_CHANGES_MAX = 2_000
"""Of a larger run the page tells how to ask for the forecast, instead of waiting for it."""
_ASKED = (
    "text", "object_type", "template", "app", "module", "user", "from", "to", "status", "trigger", "has_failures",
    "zero_succeeded", "mode", "recipe_run_id", "sort", "order", "cursor",
)  # fmt: skip
_COLUMNS = (
    ("run_id", "Run ID"), ("template", "Template"), ("object_type", "Object type"), ("app", "App"),
    ("module", "Module"), ("user", "User"), ("started_at", "Started (UTC)"), ("finished_at", "Finished (UTC)"),
    ("duration_s", "Duration"), ("updated", "Updated"), ("created", "Created"), ("deleted", "Deleted"),
    ("failed", "Failed"), ("succeeded", "Succeeded"), ("unmodified", "Unmodified"), ("mode", "Preview"),
    ("recipe_run_id", "Recipe"), ("trigger", "Manual"),
)  # fmt: skip
_NUMBERS = frozenset(("duration_s", "updated", "created", "deleted", "failed", "succeeded", "unmodified"))


class Column(NamedTuple):
    """A column's head."""

    title: str
    sort: str | None
    href: str | None
    is_number: bool


def add_pages(app: Any) -> None:
    """Adds the pages and what their templates need to the application."""
    app.extensions["failed_sign_ins"] = FailedSignIns()
    for name in ("instant", "instant_exact", "duration", "number", "web_link"):
        app.template_filter(name)(getattr(shown, name))
    app.template_filter("plain_value")(plain)
    app.jinja_env.globals["field_changes"] = shown.field_changes
    app.register_blueprint(pages)


@pages.errorhandler(NotSignedIn)
def ask_to_sign_in(error: NotSignedIn) -> AnyResponse:
    if request.method != "GET":
        return Response(error.message, 401, mimetype="text/plain")
    return redirect(url_for("pages.sign_in_page", next=request.full_path.rstrip("?")), 303)


@pages.errorhandler(LedgerError)
def show_problem(error: LedgerError) -> tuple[str, int]:
    return render_template("problem.html", problem={"title": error.title, "detail": error.message}), status_of(error)


@pages.get("/sign-in")
def sign_in_page() -> str:
    return render_template("sign_in.html", next=request.args.get("next", "/"), error=None)


@pages.post("/sign-in")
def sign_in_form() -> AnyResponse | tuple[str, int]:
    refuse_other_sites()
    token, target = request.form.get("token", "").strip(), _own_path(request.form.get("next", "/"))
    try:
        sign_in(_services(), token)
    except LedgerError as error:
        return render_template("sign_in.html", next=target, error=error.message), status_of(error)
    response = redirect(target, 303)
    keep_signed_in(response, token)  # type: ignore[arg-type]
    return response


@pages.post("/sign-out")
def sign_out_form() -> AnyResponse:
    refuse_other_sites()
    response = redirect(url_for("pages.sign_in_page"), 303)
    sign_out(response)  # type: ignore[arg-type]
    return response


@pages.get("/")
def tracker() -> str:
    identity = signed_in(_services())
    query = parse_run_query(request.args.to_dict(flat=False))
    view = _services().tracker(identity.account_id)
    page = view.list_runs(query)
    return render_template(
        "tracker.html",
        identity=identity,
        page=page,
        query=query,
        asked={name: request.args.get(name, "") for name in _ASKED},
        facets={facet: view.facet_values(facet) for facet in FACETS},
        columns=[_column(query, name, title) for name, title in _COLUMNS] + [Column("Report", None, None, False)],
        first_href=_href(cursor=None),
        next_href=page.next_cursor and _href(cursor=page.next_cursor),
    )


@pages.get("/runs/<run_id>")
def run(run_id: str) -> str:
    identity = signed_in(_services())
    row = _services().tracker(identity.account_id).get_run(run_id)
    asked = {name: request.args.get(name, "") for name in ("result", "action", "record_id", "field", "text")}
    filters = {name: value for name, value in asked.items() if value}
    query = ChangeQuery(run_id, **filters, after=_position("after"), limit=CHANGES_A_PAGE)
    changes = _services().run_changes(identity.account_id).page(query)
    return render_template(
        "run.html",
        identity=identity,
        run=row,
        facts=_facts(row),
        children=_children(identity.account_id, row),
        asked=asked,
        changes=changes,
        undo=_undo_state(identity.account_id, run_id),
        next_href=changes.next_after is not None and _href(after=str(changes.next_after)),
    )


@pages.get("/runs/<run_id>/report.<any(csv, xlsx, ndjson):form>")
def report(run_id: str, form: Any) -> Response:
    identity = signed_in(_services())
    opened = _services().reports(identity.account_id).open(run_id, form)
    response = Response(opened.blocks, mimetype=opened.media_type)
    response.headers.set("Content-Disposition", "attachment", filename=opened.file_name)
    return response


@pages.get("/records")
def record() -> str:
    identity = signed_in(_services())
    asked = {name: request.args.get(name, "") for name in ("object_type", "record_id")}
    found: dict[str, Any] = {"blame": None, "history": None, "next_href": None}
    if all(asked.values()):
        records = _services().records(identity.account_id)
        history = records.history(
            asked["object_type"], asked["record_id"], after=_position("after"), limit=CHANGES_A_PAGE
        )
        found = {
            "blame": records.blame(asked["object_type"], asked["record_id"]),
            "history": history,
            "next_href": history.next_after is not None and _href(after=str(history.next_after)),
        }
    return render_template("record.html", identity=identity, asked=asked, **found)


def _services() -> Services:
    services = current_app.extensions["services"]
    assert isinstance(services, Services)
    return services


def _children(account_id: Any, row: TrackerRow) -> list[TrackerRow]:
    if row.operation.kind != "recipe":
        return []
    view = _services().tracker(account_id)
    query = RunQuery(recipe_run_id=row.run_id, mode="all", descending=False, page_size=CHILDREN_SHOWN_MAX)
    return list(view.list_runs(query).rows)


def _undo_state(account_id: Any, run_id: str) -> dict[str, Any]:
    """What was undone of a run, what is under way, and what an undo would do now."""
    run = _services().ledger(account_id).store.find_run(run_id)
    if run is None:
        return {}
    state: dict[str, Any] = {"by": run.undone_by, "under_way": run.undo_under_way, "undoes": run.undoes}
    if run.tally.processed > FORECAST_CHANGES_MAX:
        return state
    try:
        plan = _services().undo(account_id).preview(UndoRequest((run_id,)))
    except LedgerError as refusal:
        return state | {"refusal": refusal.message}
    return state | {"forecast": undoability(run_id, plan)}


def _facts(row: TrackerRow) -> Mapping[str, str | None] | list[tuple[str, str | None]]:
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


def _column(query: RunQuery, name: str, title: str) -> Column:
    descends = query.descending if query.sort == name else name not in _NUMBERS and name != "started_at"
    href = _href(sort=name, order="asc" if descends else "desc", cursor=None)
    return Column(title, name, href, name in _NUMBERS)


def _href(**changed: str | None) -> str:
    """This page with other parameters; None removes one."""
    parameters = {**request.args.to_dict(), **changed}
    return request.path + "?" + urlencode({name: value for name, value in parameters.items() if value})


def _position(name: str) -> int | None:
    text = request.args.get(name, "")
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > 18:
        problem = Problem("Not a position.", parameter=name, found=repr(text[:40]), expected="a whole number")
        raise InputError(f"{name} is not a position: found {text[:40]!r}.", problems=(problem,))
    return int(text)


def _own_path(target: str) -> str:
    """A path of this site, `/` for anything that would lead elsewhere."""
    return target if target.startswith("/") and not target.startswith(("//", "/\\")) else "/"
