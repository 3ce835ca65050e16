"""Targets and declared schemas on the wire."""

from __future__ import annotations

import re
from typing import Any

from marshmallow import fields

from ledger.connectors.registry import KINDS, Target
from ledger.errors import InputError, Problem
from ledger.wire.fields import NAME_CHARACTERS_MAX, Choice, Text
from ledger.wire.runs import StrictSchema, load, read_document

_REFERENCE = re.compile(r"env:LEDGER_TARGET__([A-Z0-9_]+)__([A-Z0-9]+(?:_[A-Z0-9]+)*)")
"""The last part has no double underscore, so the account's part is never another account's."""


class AddTargetSchema(StrictSchema):
    """Body of `POST /v1/targets`."""

    name = Text(required=True, length_max=63)
    kind = Choice(*KINDS, required=True)
    dsn = Text(
        required=True,
        metadata={"description": "env:LEDGER_TARGET__ACCOUNT__NAME: a variable of the service with the DSN."},
    )
    tables = fields.Dict(
        keys=Text(length_max=NAME_CHARACTERS_MAX),
        values=Text(),
        required=True,
        metadata={"description": "Object type to table."},
    )
    system_fields = fields.List(Text(), metadata={"description": "Columns that the database keeps itself."})
    run_id_column = Text(allow_none=True, metadata={"description": "A column to stamp with the Run ID."})


class ObjectSchemaSchema(StrictSchema):
    """Body of `PUT /v1/schemas/{object_type}`."""

    references = fields.Dict(keys=fields.String(), values=Text(), metadata={"description": "Field to object type."})
    unique = fields.List(fields.List(Text()), metadata={"description": "Groups of fields."})
    required = fields.List(Text())
    field_types = fields.Dict(keys=fields.String(), values=Choice("datetime"))
    system_fields = fields.List(Text(), metadata={"description": "Fields that are never compared or restored."})


def parse_target(body: bytes, account: str) -> Target:
    """A target to be added over HTTP. Raises InputError, with a Problem for each fault."""
    facts = load(AddTargetSchema(), read_document(body, raw=frozenset()))
    if not facts["tables"]:
        raise _bad("/tables", "No table.", "{}", "an object type and its table")
    owner = account.upper().replace("-", "_")
    reference = _REFERENCE.fullmatch(facts["dsn"])
    if reference is None or reference[1] != owner:
        raise _bad(
            "/dsn", "Not a variable for targets of this account.", "another text", f"env:LEDGER_TARGET__{owner}__NAME"
        )  # fmt: skip
    settings = {
        "dsn": facts["dsn"], "tables": facts["tables"], "system_fields": facts.get("system_fields", []),
        "run_id_column": facts.get("run_id_column"),
    }  # fmt: skip
    return Target(facts["name"], facts["kind"], settings)


def parse_object_schema(body: bytes) -> dict[str, Any]:
    """A schema to be declared, as it is kept. Raises InputError."""
    return load(ObjectSchemaSchema(), read_document(body, raw=frozenset()))


def _bad(pointer: str, detail: str, found: str, expected: str) -> InputError:
    problem = Problem(detail, pointer=pointer, found=found, expected=expected)
    return InputError(f"{pointer}: {detail} Found {found}, expected {expected}.", problems=(problem,))
