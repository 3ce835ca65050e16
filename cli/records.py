"""`ledger history`, `blame`, `state`, `states`: records, now and in the past."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import click
from msgspec import Raw

from cli.moments import moment_of, moment_options
from cli.output import cell, form_options, print_document, print_rows, write_line
from cli.session import open_session
from ledger.errors import NotFound
from ledger.json_text import encode, plain, split_fields
from projections.records.reading import Records

PAGE_LIMIT = 1_000
Row = dict[str, Any]


@click.command()
@click.argument("object_type")
@click.argument("record_id")
@click.option("--limit", type=click.IntRange(1), help="How many, the newest first; without it, all.")
@form_options
@click.pass_context
def history(
    context: click.Context, object_type: str, record_id: str, limit: int | None, as_json: bool, ndjson: bool
) -> None:
    """List every change of a record, the newest first, failed attempts included."""
    with open_session(context) as session:
        records = session.services.records(session.caught_up())
        print_rows(_changes(records, object_type, record_id, limit), CHANGE_COLUMNS, as_json=as_json, ndjson=ndjson)


def _changes(records: Records, object_type: str, record_id: str, limit: int | None) -> Iterator[Row]:
    after, left = None, limit
    while left is None or left > 0:
        page = records.history(object_type, record_id, after=after, limit=min(left or PAGE_LIMIT, PAGE_LIMIT))
        if page.presence == "never_seen":
            raise NotFound(f"No run ever named the record {record_id} of type {object_type}.")
        yield from (change.as_dict() for change in page.changes)
        left = None if left is None else left - len(page.changes)
        after = page.next_after
        if after is None:
            return


def field_lines(row: Row) -> str:
    """The changed fields of a change on one line: name: before → after."""
    before, after = (split_fields(bytes(row[name]) if name in row else None) for name in ("before", "after"))
    unknown = "before" in row and bytes(row["before"]) == b"null"
    names = [*after, *(name for name in before if name not in after)]
    return "; ".join(
        f"{name}: {'?' if unknown else _value(before.get(name))} → {_value(after.get(name))}" for name in names
    )


def _value(text: bytes | None) -> str:
    return "—" if text is None else plain(text) or ('""' if text == b'""' else "null")


CHANGE_COLUMNS: list[tuple[str, Callable[[Row], Any]]] = [
    ("position", lambda row: row["position"]),
    ("happened", lambda row: row["occurred_at"]),
    ("run id", lambda row: row["run_id"]),
    ("user", lambda row: row["actor"]),
    ("type", lambda row: row["object_type"]),
    ("record id", lambda row: row["record_id"]),
    ("action", lambda row: row["action"]),
    ("result", lambda row: row["result"]),
    ("fields", field_lines),
    ("message", lambda row: row["message"]),
]


@click.command()
@click.argument("object_type")
@click.argument("record_id")
@moment_options
@form_options
@click.pass_context
def blame(context: click.Context, object_type: str, record_id: str, as_json: bool, ndjson: bool, **moment: Any) -> None:
    """Tell, for each field of a record, its value and which run wrote it, who and when."""
    asked = moment_of(moment)
    with open_session(context) as session:
        found = session.services.records(session.caught_up()).blame(object_type, record_id, asked)
    if not found.state.is_present:
        raise NotFound(found.state.message)
    if as_json:
        write_line(encode(found.as_dict()))
        return
    columns: list[tuple[str, Callable[[Row], Any]]] = [
        ("field", lambda row: row["field"]),
        ("value", lambda row: _value(bytes(row["value"]))),
        ("run id", lambda row: row["run_id"]),
        ("user", lambda row: row["user"]),
        ("happened", lambda row: row["occurred_at"]),
        ("position", lambda row: row["position"]),
    ]
    print_rows([field.as_dict() for field in found.fields], columns, as_json=False, ndjson=ndjson)


@click.command()
@click.argument("object_type")
@click.argument("record_id")
@moment_options
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@click.pass_context
def state(context: click.Context, object_type: str, record_id: str, as_json: bool, **moment: Any) -> None:
    """Show a record, now or at a moment; status 3 where it is absent."""
    asked = moment_of(moment)
    with open_session(context) as session:
        found = session.services.records(session.caught_up()).state(object_type, record_id, asked)
    if not found.is_present:
        raise NotFound(found.message)
    if not as_json:
        click.echo(
            f"{found.message} Position {found.position}, run {found.run_id}, {cell(found.occurred_at)}.", err=True
        )
    fields = {name: _value(text) for name, text in (found.fields or {}).items()}
    print_document(found.as_dict(), fields.items(), as_json=as_json)


@click.command()
@click.argument("object_type")
@moment_options
@click.option("--ndjson", is_flag=True, help="One JSON object a line: object_type, record_id, fields.")
@click.pass_context
def states(context: click.Context, object_type: str, ndjson: bool, **moment: Any) -> None:
    """Stream all records of a type, now or at a moment, by record id."""
    asked = moment_of(moment)
    with open_session(context) as session:
        found = session.services.records(session.caught_up()).states(object_type, asked)
        for record in found:
            if ndjson:
                write_line(encode(record))
            else:
                fields = "; ".join(f"{name}: {_raw(value)}" for name, value in record["fields"].items())
                click.echo(f"{cell(record['record_id'])}  {cell(fields)}")


def _raw(value: Any) -> str:
    return _value(bytes(value) if isinstance(value, Raw) else encode(value))
