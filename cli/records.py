"""`ledger history`, `blame`, `state` and `states`."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cli.changes import describe
from cli.options import moment_of, moment_options
from cli.output import form_options, open_output, shown_instant, write_facts, write_json, write_ndjson, write_table
from cli.session import open_session
from ledger.errors import NotFound
from ledger.json_text import plain

if TYPE_CHECKING:
    from projections.records.reading import Records
    from projections.records.view import RecordState
    from projections.run_changes.view import Change

HISTORY_PAGE = 200
TABLE_RECORDS_MAX = 1_000
"""A table holds all its rows to size its columns; more records are for --ndjson."""


@click.command()
@click.argument("object_type")
@click.argument("record_id")
@click.option("--limit", type=click.IntRange(min=1), help="At most so many (default: all).")
@form_options
@click.pass_context
def history(
    ctx: click.Context, /, object_type: str, record_id: str, limit: int | None, form: str | None, output: Path | None
) -> None:
    """List every change of a record, newest first: run, user, before and after; failed attempts too."""
    with open_session(ctx) as session, open_output(output) as stream:
        records = session.services.records(session.caught_up())
        changes = list(islice(_history(records, object_type, record_id), limit))
        if not changes:
            raise NotFound(f"No run ever named the record {record_id} of type {object_type}.")
        if form == "ndjson":
            write_ndjson(stream, (change.as_dict() for change in changes))
        elif form == "json":
            shown = [change.as_dict() for change in changes]
            write_json(stream, {"object_type": object_type, "record_id": record_id, "changes": shown})
        else:
            columns = ("Position", "Happened", "Run ID", "User", "Action", "Result", "Change", "Message")
            write_table(stream, columns, [_history_cells(change) for change in changes])


@click.command()
@click.argument("object_type")
@click.argument("record_id")
@moment_options
@form_options
@click.pass_context
def blame(
    ctx: click.Context, /, object_type: str, record_id: str, form: str | None, output: Path | None, **chosen: Any
) -> None:
    """Tell for each field of a record its value, and which run and user wrote it, and when."""
    moment = moment_of(chosen)
    with open_session(ctx) as session, open_output(output) as stream:
        found = session.services.records(session.caught_up()).blame(object_type, record_id, moment)
        _require_present(found.state)
        if form == "ndjson":
            write_ndjson(stream, (field.as_dict() for field in found.fields))
        elif form == "json":
            write_json(stream, found.as_dict())
        else:
            rows = [
                [each.field, _value(each.value), each.run_id, each.user, shown_instant(each.occurred_at)]
                for each in found.fields
            ]
            write_table(stream, ("Field", "Value", "Run ID", "User", "Happened"), rows)


@click.command()
@click.argument("object_type")
@click.argument("record_id")
@moment_options
@form_options
@click.pass_context
def state(
    ctx: click.Context, /, object_type: str, record_id: str, form: str | None, output: Path | None, **chosen: Any
) -> None:
    """Show a record's fields, now or at a moment. Exit code 3 where it is absent then."""
    moment = moment_of(chosen)
    with open_session(ctx) as session:
        found = session.services.records(session.caught_up()).state(object_type, record_id, moment)
        if form or found.is_present:
            with open_output(output) as stream:
                if form:
                    write_json(stream, found.as_dict())
                else:
                    write_facts(stream, ((name, _value(text)) for name, text in (found.fields or {}).items()))
        _require_present(found)


@click.command()
@click.argument("object_type")
@moment_options
@form_options
@click.pass_context
def states(ctx: click.Context, /, object_type: str, form: str | None, output: Path | None, **chosen: Any) -> None:
    """Print all records of a type, by record id, now or at a moment; --ndjson streams any number of them."""
    moment = moment_of(chosen)
    with open_session(ctx) as session, open_output(output) as stream:
        found = session.services.records(session.caught_up()).states(object_type, moment)
        if form == "ndjson":
            write_ndjson(stream, found)
        elif form == "json":
            write_json(stream, list(found))
        else:
            rows = [[each["record_id"], _fields(each["fields"])] for each in islice(found, TABLE_RECORDS_MAX + 1)]
            write_table(stream, ("Record ID", "Fields"), rows[:TABLE_RECORDS_MAX])
            if len(rows) > TABLE_RECORDS_MAX:
                session.remark(f"The first {TABLE_RECORDS_MAX:,} records; --ndjson prints all.")


def _history(records: Records, object_type: str, record_id: str) -> Iterator[Change]:
    after: int | None = None
    while True:
        page = records.history(object_type, record_id, after=after, limit=HISTORY_PAGE)
        yield from page.changes
        if page.next_after is None:
            return
        after = page.next_after


def _history_cells(change: Change) -> list[object]:
    when, what = shown_instant(change.occurred_at), describe(change)
    position = str(change.position)
    return [position, when, change.run_id, change.actor, change.action, change.result, what, change.message]


def _require_present(found: RecordState) -> None:
    if not found.is_present:
        raise NotFound(found.message, presence=found.presence)


def _value(text: bytes) -> str:
    """A value for people; null and the empty text are told apart."""
    return "(null)" if text == b"null" else plain(text) or '""'


def _fields(fields: dict[str, Any]) -> str:
    return ", ".join(f"{name}: {_value(bytes(text))}" for name, text in fields.items())
