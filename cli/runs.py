"""`ledger runs`, `ledger show`, `ledger activity`: the Activity Tracker at a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import click

from cli.output import form_options, print_document, print_rows
from cli.session import open_session
from ledger.json_text import encode
from projections.tracker.postgres import Tracker
from projections.tracker.query_text import parse_run_query
from projections.tracker.view import PAGE_SIZE_MAX, SORTS, RunQuery

LIMIT = 50
Row = dict[str, Any]


def _name(thing: Row | None) -> str | None:
    return thing and (thing.get("name") or thing.get("id") or thing.get("email"))


def _tally(name: str) -> Callable[[Row], Any]:
    return lambda row: row["tally"][name]


_COLUMNS: list[tuple[str, Callable[[Row], Any]]] = [
    ("", lambda row: "!" if row["error"] else None),
    ("run id", lambda row: row["run_id"]),
    ("template", lambda row: _name(row["template"])),
    ("type", lambda row: row["object_type"]),
    ("user", lambda row: _name(row["user"])),
    ("started", lambda row: row["started_at"][:19] + "Z"),
    ("seconds", lambda row: row["duration_s"] if row["duration_s"] is None else round(row["duration_s"], 1)),
    *((name, _tally(name)) for name in ("updated", "created", "deleted", "failed", "succeeded", "unmodified")),
    ("mode", lambda row: row["mode"]),
    ("kind", lambda row: row["kind"]),
    ("status", lambda row: row["status"]),
]


@click.command()
@click.option("--text", help="In the template's name or the object type, or how the Run ID begins.")
@click.option("--object-type")
@click.option("--template")
@click.option("--module")
@click.option("--app")
@click.option("--user")
@click.option("--mode", help="update (default), preview or all.")
@click.option("--kind", help="run or recipe.")
@click.option("--trigger", help="manual or automated.")
@click.option("--status", help="running, finished or failed.")
@click.option("--recipe-run-id", help="Only the children of this recipe run.")
@click.option("--from", "from_", metavar="DAY|INSTANT", help="Started at or after.")
@click.option("--to", metavar="DAY|INSTANT", help="Started before; a day is included whole.")
@click.option("--has-failures", is_flag=True)
@click.option("--zero-succeeded", is_flag=True)
@click.option("--sort", help=f"One of {', '.join(SORTS)}.")
@click.option("--order", help="asc or desc.")
@click.option("--limit", type=click.IntRange(1), help=f"How many ({LIMIT}; all with --ndjson).")
@form_options
@click.pass_context
def runs(context: click.Context, limit: int | None, as_json: bool, ndjson: bool, **filters: Any) -> None:
    """List runs, the newest first. Previews are left out unless --mode asks for them."""
    filters["from"] = filters.pop("from_")
    given = {name: "true" if value is True else value for name, value in filters.items()}
    query = parse_run_query({name: [value] for name, value in given.items() if value})
    if limit is None and not ndjson:
        limit = LIMIT
    with open_session(context) as session:
        tracker = session.services.tracker(session.caught_up())
        print_rows(_rows(tracker, query, limit), _COLUMNS, as_json=as_json, ndjson=ndjson)


def _rows(tracker: Tracker, query: RunQuery, limit: int | None) -> Iterator[Row]:
    left = limit
    query = replace(query, page_size=min(PAGE_SIZE_MAX, limit or PAGE_SIZE_MAX))
    while True:
        page = tracker.list_runs(query)
        for row in page.rows[:left]:
            yield row.as_dict()
        left = None if left is None else left - len(page.rows)
        if page.next_cursor is None or (left is not None and left <= 0):
            return
        query = replace(query, cursor=page.next_cursor)


@click.command()
@click.argument("run_id")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@click.pass_context
def show(context: click.Context, run_id: str, as_json: bool) -> None:
    """Show all facts of the run RUN_ID."""
    with open_session(context) as session:
        facts = session.services.tracker(session.caught_up()).get_run(run_id).as_dict()
    lines = [(name, _shown(value)) for name, value in facts.items() if name not in ("tally", "error", "links")]
    lines += [(name, value) for name, value in facts["tally"].items()]
    if facts["error"]:
        lines.append(("system error", f"{facts['error']['code']}: {facts['error']['message']}"))
    print_document(facts, lines, as_json=as_json)


def _shown(value: Any) -> Any:
    if isinstance(value, dict):
        return " / ".join(str(part) for part in value.values() if part)
    if isinstance(value, list):
        return ", ".join(value)
    return value if value is None or isinstance(value, str | int | float | bool) else encode(value).decode()


@click.command()
@click.option("--from", "first", metavar="DAY", type=click.DateTime(["%Y-%m-%d"]), help="Default: 30 days ago.")
@click.option("--to", "last", metavar="DAY", type=click.DateTime(["%Y-%m-%d"]), help="Default: today (UTC).")
@click.option("--user")
@click.option("--template")
@form_options
@click.pass_context
def activity(
    context: click.Context,
    first: datetime | None,
    last: datetime | None,
    user: str | None,
    template: str | None,
    as_json: bool,
    ndjson: bool,
) -> None:
    """Count runs and changes by day, user and template."""
    today: date = datetime.now(UTC).date()
    until = last.date() if last else today
    since = first.date() if first else until - timedelta(days=30)
    with open_session(context) as session:
        days = session.services.activity(session.caught_up()).days(since, until, user=user, template=template)
    columns: list[tuple[str, Callable[[Row], Any]]] = [
        (name, lambda row, name=name: row[name])  # type: ignore[misc]
        for name in ("day", "user", "template", "runs", "failed_runs")
    ]
    columns += [(name, _tally(name)) for name in ("updated", "created", "deleted", "unmodified", "failed")]
    print_rows([day.as_dict() for day in days], columns, as_json=as_json, ndjson=ndjson)
