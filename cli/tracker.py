"""`ledger runs` and `ledger show`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import INSTANT
from cli.output import form_options, open_output, shown_instant, write_facts, write_json, write_ndjson, write_table
from cli.session import open_session

if TYPE_CHECKING:
    from projections.tracker.postgres import Tracker
    from projections.tracker.view import RunQuery, TrackerRow

LIMIT = 50
UNDOES_SHOWN_MAX = 3
COLUMNS = (
    "Run ID", "Started", "Status", "Mode", "Template", "Object", "App", "User", "Updated", "Created", "Deleted",
    "Unmodified", "Other", "Failed", "Undo",
)  # fmt: skip


@click.command()
@click.option("--text", metavar="TEXT", help="In the template or object type, or the beginning of the Run ID.")
@click.option("--object-type", metavar="NAME")
@click.option("--template", metavar="NAME")
@click.option("--module", metavar="NAME")
@click.option("--app", metavar="NAME")
@click.option("--user", metavar="NAME")
@click.option("--mode", type=click.Choice(("update", "preview", "all")), default="update", show_default=True)
@click.option("--kind", type=click.Choice(("run", "recipe")))
@click.option("--trigger", type=click.Choice(("manual", "automated")))
@click.option("--status", type=click.Choice(("running", "finished", "failed")))
@click.option("--recipe-run-id", metavar="RUN_ID", help="Only the runs of this recipe's run.")
@click.option("--from", "started_from", type=INSTANT, metavar="INSTANT", help="Started then or later.")
@click.option("--to", "started_to", type=INSTANT, metavar="INSTANT", help="Started before then.")
@click.option("--has-failures/--no-failures", default=None, help="With, or without, failed changes.")
@click.option("--zero-succeeded/--some-succeeded", default=None, help="Without, or with, succeeded changes.")
@click.option("--undo-state", type=click.Choice(("none", "under_way", "undone")))
@click.option("--sort", metavar="COLUMN", default="started_at", show_default=True)
@click.option("--ascending", is_flag=True, help="Smallest first (default: largest, newest first).")
@click.option("--limit", type=click.IntRange(min=1), help=f"At most so many (default: {LIMIT}; all with --ndjson).")
@form_options
@click.pass_context
def runs(
    ctx: click.Context,
    /,
    sort: str,
    ascending: bool,
    limit: int | None,
    form: str | None,
    output: Path | None,
    **filters: Any,
) -> None:
    """List runs, newest first: the Activity Tracker. Previews are hidden unless --mode asks for them."""
    from projections.tracker.view import PAGE_SIZE_MAX, SORTS, RunQuery

    if sort not in SORTS:
        raise click.BadParameter(f"{sort!r} is no column; one of {', '.join(SORTS)}.", param_hint="--sort")
    limit = limit or (None if form == "ndjson" else LIMIT)
    page_size = min(limit or PAGE_SIZE_MAX, PAGE_SIZE_MAX)
    query = RunQuery(**filters, sort=sort, descending=not ascending, page_size=page_size)
    with open_session(ctx) as session, open_output(output) as stream:
        tracker = session.services.tracker(session.caught_up())
        first = tracker.list_runs(query)
        rows = islice(_rows(tracker, query, first), limit)
        if form == "ndjson":
            write_ndjson(stream, (row.as_dict() for row in rows))
            return
        shown = list(rows)
        total = {"total": first.total, "total_is_capped": first.total_is_capped}
        if form == "json":
            write_json(stream, {"runs": [row.as_dict() for row in shown], **total})
            return
        write_table(stream, COLUMNS, [_cells(row) for row in shown])
        session.remark(f"{len(shown):,} of {first.total:,}{' or more' if first.total_is_capped else ''} runs.")


@click.command()
@click.argument("run_id")
@form_options
@click.pass_context
def show(ctx: click.Context, /, run_id: str, form: str | None, output: Path | None) -> None:
    """Show the run RUN_ID: what was run, by whom, its tally, why it failed."""
    with open_session(ctx) as session, open_output(output) as stream:
        row = session.services.tracker(session.caught_up()).get_run(run_id)
        if form:
            write_json(stream, row.as_dict())
        else:
            write_facts(stream, _facts(row))


def _rows(tracker: Tracker, query: RunQuery, first: Any) -> Iterator[TrackerRow]:
    def pages() -> Iterator[Any]:
        page = first
        yield page.rows
        while page.next_cursor is not None:
            page = tracker.list_runs(replace(query, cursor=page.next_cursor))
            yield page.rows

    return chain.from_iterable(pages())


def _cells(row: TrackerRow) -> list[object]:
    what, tally = row.operation, row.tally
    return [
        row.run_id,
        shown_instant(row.started_at),
        "interrupted" if row.is_interrupted else row.status,
        what.kind if what.kind == "recipe" else what.mode,
        _name(what.recipe if what.kind == "recipe" else what.template),
        what.object_type,
        what.app and what.app.name,
        what.user and what.user.shown,
        tally.updated,
        tally.created,
        tally.deleted,
        tally.unmodified,
        tally.other,
        tally.failed,
        _undo(row),
    ]


def _undo(row: TrackerRow) -> str | None:
    """What undid the run, or is about to, or what it undoes itself."""
    if row.undo_under_way:
        return f"under way: {row.undo_under_way}"
    if row.undone_by:
        return f"undone by {', '.join(row.undone_by)}"
    return f"undoes {', '.join(row.undoes[:UNDOES_SHOWN_MAX])}" if row.undoes else None


def _facts(row: TrackerRow) -> Iterator[tuple[str, object]]:
    what = row.operation
    yield "Run ID", row.run_id
    yield "Status", f"interrupted (ledger undo --resume {row.run_id})" if row.is_interrupted else row.status
    if row.error:
        yield "System error", f"{row.error.code}: {row.error.message}"
    yield "Kind", what.kind
    yield "Mode", what.mode
    yield "Trigger", what.trigger
    yield "Template", _name(what.template)
    yield "Recipe", _name(what.recipe)
    yield "Recipe run", what.recipe_run_id
    yield "App", what.app and (f"{what.app.name} ({what.app.account})" if what.app.account else what.app.name)
    yield "Module", what.module
    yield "Object type", what.object_type
    yield "User", what.user and what.user.shown
    yield "Target", what.target
    yield "Message", what.message
    yield "Started", shown_instant(row.started_at) + " UTC"
    yield "Finished", row.finished_at and shown_instant(row.finished_at) + " UTC"
    yield "Duration", None if row.duration_s is None else f"{row.duration_s:,.1f} s"
    for name, number in row.tally.as_dict().items():
        yield name.capitalize(), number
    yield "Report", "yes: ledger report " + row.run_id if row.has_report else "none"
    yield "Undoes", ", ".join(row.undoes) or None
    yield "Undone by", ", ".join(row.undone_by) or None
    yield "Undo under way", row.undo_under_way
    yield "Position", row.position
    yield "Details", what.details and what.details.decode()


def _name(saved: Any) -> str | None:
    return (saved.name or saved.id) if saved else None
