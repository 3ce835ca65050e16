"""The Activity Tracker: the list of runs, one row of it while its run runs, and the list as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from flask import Response, make_response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.auth import services
from api.pages.addresses import here, href
from api.pages.blueprint import pages, reader
from api.pages.columns import COLUMNS, Column
from api.pages.viewer import day_as_instant, hidden_columns
from ledger.errors import NotFound
from ledger.ids import RUN_ID_LENGTH_MAX
from projections.reports.cells import escape
from projections.tracker.postgres import Tracker
from projections.tracker.query_text import parse_run_query
from projections.tracker.view import FACETS, PAGE_SIZE_MAX, RunQuery, TrackerRow, format_instant

PAGE_SIZES = (25, 50, 100, 200)
FILTERS: Mapping[str, str] = {
    "text": "Search",
    "object_type": "Object type",
    "template": "Template",
    "app": "App",
    "module": "Module",
    "user": "User",
    "from": "From",
    "to": "To",
    "status": "Status",
    "trigger": "Trigger",
    "kind": "Kind",
    "has_failures": "Failures",
    "zero_succeeded": "Nothing succeeded",
    "undo_state": "Undo",
    "recipe_run_id": "Recipe run",
    "mode": "Mode",
}
"""Parameters of the address that narrow the list, and what people call them."""
MORE_FILTERS = ("object_type", "template", "app", "module", "user", "status", "trigger", "kind", "has_failures",
                "zero_succeeded", "undo_state")  # fmt: skip
_FLAGS = {"true": "yes", "false": "no"}
_CSV_COUNTS = ("updated", "created", "deleted", "unmodified", "other", "failed", "succeeded", "processed")
_CSV_HEADS = (
    "Run ID", "Recipe's Run ID", "Kind", "Mode", "Trigger", "Status", "App", "Account", "Module", "Object type",
    "Template", "User", "Started", "Finished", "Duration (s)", *(name.capitalize() for name in _CSV_COUNTS), "Error",
    "Undoes", "Undone by",
)  # fmt: skip


class Head(NamedTuple):
    """A column's head."""

    column: Column
    href: str | None
    direction: str | None
    """ascending, descending; None where the list is not sorted by it."""


class Chip(NamedTuple):
    """An active filter and the address without it."""

    title: str
    value: str
    href: str


@pages.get("/")
def tracker() -> AnyResponse | str:
    identity = reader()
    if any(value == "" for value in request.args.values()):
        return redirect(here(), 303)  # what a form leaves empty does not belong in an address that is passed on
    query = read_tracker_query(request.args)
    view = services().tracker(identity.account_id)
    if query.text and query.cursor is None and is_run(view, query.text):
        return redirect(url_for("pages.run", run_id=query.text), 303)
    page = view.list_runs(query)
    answer = make_response(
        render_template(
            "tracker.html",
            page=page,
            rows=recipes_below(page.rows, query),
            query=query,
            asked=request.args,
            facets={facet: view.facet_values(facet) for facet in FACETS},
            heads=heads(query),
            columns=shown_columns(),
            all_columns=COLUMNS,
            hidden=hidden_columns(),
            chips=list(chips()),
            more_open=any(name in request.args for name in MORE_FILTERS),
            page_sizes=PAGE_SIZES,
            views=services().saved_views(identity.account_id).list(),
            asked_here=here(cursor=None).partition("?")[2],
            first_href=here(cursor=None),
            next_href=page.next_cursor and here(cursor=page.next_cursor),
            csv_href=href(url_for("pages.tracker_csv"), {**request.args.to_dict(), "cursor": None, "page_size": None}),
        )
    )
    if "HX-Request" in request.headers:
        answer.headers["HX-Push-Url"] = here()
    return answer


@pages.get("/runs/<run_id>/row")
def tracker_row(run_id: str) -> str:
    """A run's row, asked for again and again while it runs."""
    identity = reader()
    row = services().tracker(identity.account_id).get_run(run_id)
    return render_template("tracker_row.html", run=row, columns=shown_columns())


@pages.get("/runs.csv")
def tracker_csv() -> Response:
    """The whole list, every page of it."""
    identity = reader()
    query = replace(read_tracker_query(request.args), page_size=PAGE_SIZE_MAX, cursor=None)
    view = services().tracker(identity.account_id)
    blocks = _csv_blocks(view, query)
    first = next(blocks)  # what is refused is refused before the answer begins
    response = Response(_chained(first, blocks), mimetype="text/csv")
    response.headers.set("Content-Disposition", "attachment", filename="runs.csv")
    return response


def read_tracker_query(arguments: Any) -> RunQuery:
    """The query of an address, its days in the viewer's zone. Raises InputError."""
    given: dict[str, list[str]] = arguments.to_dict(flat=False)
    for name, is_end in (("from", False), ("to", True)):
        if name in given:
            given[name] = [day_as_instant(text, is_end=is_end) for text in given[name]]
    return parse_run_query(given)


def is_run(view: Tracker, text: str) -> bool:
    """Whether a search text is the whole Run ID of a run."""
    if len(text) > RUN_ID_LENGTH_MAX:
        return False
    try:
        view.get_run(text)
    except NotFound:
        return False
    return True


def recipes_below(rows: Sequence[TrackerRow], query: RunQuery) -> list[TrackerRow]:
    """The rows of a page with each recipe below the last of its templates on it, where the order is that of time."""
    if query.sort not in ("started_at", "finished_at"):
        return list(rows)
    last_child = {row.operation.recipe_run_id: number for number, row in enumerate(rows) if row.operation.recipe_run_id}
    below: dict[int, list[TrackerRow]] = {}
    for number, row in enumerate(rows):
        if row.operation.kind == "recipe" and last_child.get(row.run_id, -1) > number:
            below.setdefault(last_child[row.run_id], []).append(row)
    moved = {row.run_id for recipes in below.values() for row in recipes}
    found: list[TrackerRow] = []
    for number, row in enumerate(rows):
        found += [] if row.run_id in moved else [row]
        found += below.get(number, [])
    return found


def shown_columns() -> list[Column]:
    hidden = hidden_columns()
    return [column for column in COLUMNS if column.name not in hidden]


def heads(query: RunQuery) -> list[Head]:
    """The heads of the shown columns. A click on the one that the list is sorted by turns the order round."""
    found = []
    for column in shown_columns():
        if column.sort is None:
            found.append(Head(column, None, None))
            continue
        is_current = query.sort == column.sort
        descends = not query.descending if is_current else column.descends_first
        address = here(sort=column.sort, order="desc" if descends else "asc", cursor=None)
        direction = ("descending" if query.descending else "ascending") if is_current else None
        found.append(Head(column, address, direction))
    return found


def chips() -> Iterator[Chip]:
    """The active filters of this address."""
    for name, title in FILTERS.items():
        value = request.args.get(name)
        if value:
            yield Chip(title, _FLAGS.get(value, value), here(**{name: None}, cursor=None))


def _chained(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _csv_blocks(view: Tracker, query: RunQuery) -> Iterator[bytes]:
    yield b"\xef\xbb\xbf" + _csv_lines([_CSV_HEADS])
    while True:
        page = view.list_runs(query)
        yield _csv_lines(_csv_row(row) for row in page.rows)
        if page.next_cursor is None:
            return
        query = replace(query, cursor=page.next_cursor)


def _csv_lines(rows: Any) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows([escape(cell) for cell in row] for row in rows)
    return text.getvalue().encode()


def _csv_row(row: TrackerRow) -> list[str]:
    what = row.operation
    counts = row.tally.as_dict()
    facts = [
        row.run_id, what.recipe_run_id, what.kind, what.mode, what.trigger, row.status,
        what.app and what.app.name, what.app and what.app.account, what.module, what.object_type,
        what.template and (what.template.name or what.template.id), what.user and what.user.shown,
        format_instant(row.started_at), row.finished_at and format_instant(row.finished_at),
        None if row.duration_s is None else f"{row.duration_s:g}", *(str(counts[name]) for name in _CSV_COUNTS),
        row.error and f"{row.error.code}: {row.error.message}", " ".join(row.undoes), " ".join(row.undone_by),
    ]  # fmt: skip
    return [fact or "" for fact in facts]
