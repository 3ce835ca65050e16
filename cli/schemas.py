"""`ledger schema`: constraints of object types in the built-in target, which undos then honour."""

from __future__ import annotations

import json
from typing import IO

import click

from cli.output import open_output, write_json
from cli.session import open_session
from ledger.errors import InputError


@click.group()
def schema() -> None:
    """Declare references, unique groups, required fields, datetimes and system fields of an object type."""


@schema.command("set")
@click.argument("object_type")
@click.argument("file", type=click.File("r", encoding="utf-8"))
@click.pass_context
def set_schema(ctx: click.Context, /, object_type: str, file: IO[str]) -> None:
    """Declare a type's schema, in place of the one before.

    FILE: {"references": {field: object type}, "unique": [[field]], "required": [field], "field_types":
    {field: "datetime"}, "system_fields": [field]}
    """
    try:
        document = json.load(file)
    except ValueError as error:
        raise InputError(f"The schema is not JSON: {error}.") from error
    with open_session(ctx) as session:
        session.services.targets(session.account_id).schemas.declare(object_type, document)
        session.remark(f"Declared {object_type}. Undos of the ledger's own records honour it from now on.")


@schema.command("list")
@click.pass_context
def list_schemas(ctx: click.Context) -> None:
    """Print all declared schemas as JSON."""
    with open_session(ctx) as session, open_output(None) as stream:
        write_json(stream, session.services.targets(session.account_id).schemas.documents())


@schema.command("show")
@click.argument("object_type")
@click.pass_context
def show_schema(ctx: click.Context, /, object_type: str) -> None:
    """Print a type's declared schema as JSON."""
    with open_session(ctx) as session, open_output(None) as stream:
        write_json(stream, session.services.targets(session.account_id).schemas.get(object_type))


@schema.command("remove")
@click.argument("object_type")
@click.pass_context
def remove_schema(ctx: click.Context, /, object_type: str) -> None:
    """Forget a type's declared schema."""
    with open_session(ctx) as session:
        session.services.targets(session.account_id).schemas.remove(object_type)
