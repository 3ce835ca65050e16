"""`ledger changes`: the changes of a run, or a search across runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import click

from cli.output import form_options, print_rows
from cli.records import CHANGE_COLUMNS
from cli.session import open_session
from ledger.errors import InputError, Problem
from ledger.wire.changes import parse_instant
from projections.run_changes.view import Change, ChangePage, ChangeQuery, ChangeSearch

LIMIT, PAGE_LIMIT = 100, 1_000


@click.command()
@click.option("--run", "run_id", metavar="RUN_ID", help="Only of this run (a recipe: of all its runs).")
@click.option("--result", type=click.Choice(["succeeded", "failed"]))
@click.option("--action")
@click.option("--object-type")
@click.option("--record", "record_id", metavar="RECORD_ID")
@click.option("--field", help="That names this field.")
@click.option("--text", help="With this in the message.")
@click.option("--value", help="Whose old or new value is this.")
@click.option("--old-value")
@click.option("--new-value")
@click.option("--user")
@click.option("--template")
@click.option("--from", "from_at", metavar="INSTANT", help="That happened at or after.")
@click.option("--to", "to_at", metavar="INSTANT", help="That happened before.")
@click.option("--limit", type=click.IntRange(1), help=f"How many ({LIMIT}; all with --ndjson).")
@form_options
@click.pass_context
def changes(context: click.Context, limit: int | None, as_json: bool, ndjson: bool, **filters: Any) -> None:
    """List changes: those of one run in its order, or, searching across runs, the newest first."""
    for name in ("from_at", "to_at"):
        filters[name] = _instant(name, filters[name])
    given = {name: value for name, value in filters.items() if value is not None}
    only_search = given.keys() & {"value", "old_value", "new_value", "user", "template", "from_at", "to_at"}
    if limit is None and not ndjson:
        limit = LIMIT
    with open_session(context) as session:
        found = session.services.run_changes(session.caught_up())
        rows: Iterator[Change]
        if "run_id" in given and not only_search:
            rows = _pages(found.page, ChangeQuery(**given), limit)
        else:
            rows = _pages(found.search, ChangeSearch(**given), limit)
        print_rows((row.as_dict() for row in rows), CHANGE_COLUMNS, as_json=as_json, ndjson=ndjson)


def _pages(read: Callable[[Any], ChangePage], query: Any, limit: int | None) -> Iterator[Change]:
    left = limit
    while left is None or left > 0:
        page = read(replace(query, limit=min(left or PAGE_LIMIT, PAGE_LIMIT)))
        yield from page.changes
        left = None if left is None else left - len(page.changes)
        if page.next_after is None:
            return
        query = replace(query, after=page.next_after)


def _instant(name: str, text: str | None) -> Any:
    instant = None if text is None else parse_instant(text)
    if text is not None and instant is None:
        flag = "--from" if name == "from_at" else "--to"
        expected = "an RFC 3339 instant such as 2026-11-23T10:00:00Z"
        problem = Problem("Not an instant.", parameter=flag, found=repr(text[:60]), expected=expected)
        raise InputError(f"{flag} is not an instant.", problems=(problem,))
    return instant
