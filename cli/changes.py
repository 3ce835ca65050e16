"""`ledger changes`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.options import INSTANT
from cli.output import form_options, open_output, shown_instant, write_json, write_ndjson, write_table
from cli.session import open_session
from ledger.json_text import plain, split_fields

if TYPE_CHECKING:
    from projections.run_changes.view import Change, ChangePage

LIMIT = 100
PAGE_LIMIT = 1_000
FIELDS_SHOWN_MAX, VALUE_CHARACTERS_MAX = 4, 60
"""In a table, which is for people; --json and --ndjson give everything."""
COLUMNS = ("Position", "Happened", "Run ID", "User", "Object", "Record ID", "Action", "Result", "Change", "Message")
_SEARCH_ONLY = ("value", "old_value", "new_value", "user", "template", "from_at", "to_at")


@click.command()
@click.option("--run-id", metavar="RUN_ID", help="Only the changes of this run, in the log's order.")
@click.option("--field", metavar="NAME", help="Changes that touch this field.")
@click.option("--value", metavar="TEXT", help="The old or the new value.")
@click.option("--old-value", metavar="TEXT")
@click.option("--new-value", metavar="TEXT")
@click.option("--user", metavar="NAME", help="Name, e-mail address or id of the run's user.")
@click.option("--template", metavar="NAME", help="Id or name of the run's template.")
@click.option("--object-type", metavar="NAME")
@click.option("--record-id", metavar="ID")
@click.option("--result", type=click.Choice(("succeeded", "failed")))
@click.option("--action", metavar="WORD", help="create, update, delete, none or a producer's own.")
@click.option("--text", metavar="TEXT", help="In the change's message.")
@click.option("--from", "from_at", type=INSTANT, metavar="INSTANT", help="Happened then or later.")
@click.option("--to", "to_at", type=INSTANT, metavar="INSTANT", help="Happened before then.")
@click.option("--preview", is_flag=True, help="Those of preview runs too.")
@click.option("--limit", type=click.IntRange(min=1), default=LIMIT, show_default=True)
@form_options
@click.pass_context
def changes(ctx: click.Context, /, limit: int, form: str | None, output: Path | None, **filters: Any) -> None:
    """Search changes across runs, newest first; with --run-id, list those of one run."""
    from projections.run_changes.view import ChangeQuery, ChangeSearch

    in_one_run = filters["run_id"] is not None and not any(filters[name] for name in _SEARCH_ONLY)
    with open_session(ctx) as session, open_output(output) as stream:
        reader = session.services.run_changes(session.caught_up())
        page_limit = min(limit, PAGE_LIMIT)
        if in_one_run:
            chosen = {name: value for name, value in filters.items() if name not in (*_SEARCH_ONLY, "preview")}
            found = _all(reader.page, ChangeQuery(**chosen, limit=page_limit))
        else:
            found = _all(reader.search, ChangeSearch(**filters, limit=page_limit))
        rows = islice(found, limit)
        if form == "ndjson":
            write_ndjson(stream, (change.as_dict() for change in rows))
        elif form == "json":
            write_json(stream, {"changes": [change.as_dict() for change in rows]})
        else:
            write_table(stream, COLUMNS, [_cells(change) for change in rows])


def describe(change: Change) -> str:
    """`field: before → after` for the first fields, how many more there are, and what was erased."""
    if change.erased or change.erased_fields:
        gone = f"(erased: {', '.join(change.erased_fields) or 'all'})"
        left = describe(replace(change, erased=False, erased_fields=()))
        return f"{left} {gone}".lstrip()
    before, after = split_fields(change.before), split_fields(change.after)
    names = list(dict.fromkeys((*before, *after)))
    more = f" and {len(names) - FIELDS_SHOWN_MAX:,} more fields" if len(names) > FIELDS_SHOWN_MAX else ""
    if change.action in ("create", "delete"):
        fields = after or before
        return ", ".join(f"{name}: {_shown(fields[name], '')}" for name in names[:FIELDS_SHOWN_MAX]) + more
    nothing = "?" if change.before == b"null" else "(absent)"
    shown = (f"{name}: {_shown(before.get(name), nothing)} → {_shown(after.get(name), '(absent)')}" for name in names)
    return ", ".join(islice(shown, FIELDS_SHOWN_MAX)) + more


def _cells(change: Change) -> list[object]:
    return [
        str(change.position),
        shown_instant(change.occurred_at),
        change.run_id,
        change.actor,
        change.object_type,
        change.record_id,
        change.action,
        change.result,
        describe(change),
        change.message,
    ]


def _shown(text: bytes | None, absent: str) -> str:
    if text is None:
        return absent
    value = plain(text) or ("(null)" if text == b"null" else '""')
    return value if len(value) <= VALUE_CHARACTERS_MAX else value[: VALUE_CHARACTERS_MAX - 1] + "…"


def _all(read: Callable[[Any], ChangePage], query: Any) -> Iterator[Change]:
    while True:
        page = read(query)
        yield from page.changes
        if page.next_after is None:
            return
        query = replace(query, after=page.next_after)
