"""Schemas that people declare for object types: references, unique groups, required fields, datetimes, system fields.

The document is that of a scenario's `schema`: {"references": {field: object type}, "unique": [[field, ...], ...],
"required": [field, ...], "field_types": {field: "datetime"}, "system_fields": [field, ...]}.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Literal
from uuid import UUID

import msgspec

from ledger.connectors.port import Reference, TypeSchema
from ledger.errors import InputError, NotFound, Problem
from ledger.store.database import Database


class SchemaDocument(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    references: dict[str, str] = {}
    unique: list[list[str]] = []
    required: list[str] = []
    field_types: dict[str, Literal["datetime"]] = {}
    system_fields: list[str] = []


def parse_schema(document: object) -> TypeSchema:
    """A declared schema. Raises InputError."""
    try:
        parsed = msgspec.convert(document, SchemaDocument)
    except msgspec.ValidationError as error:
        problem = Problem(str(error), expected="references, unique, required, field_types, system_fields")
        raise InputError(f"The schema is not valid: {error}.", problems=(problem,)) from error
    return TypeSchema(
        references=tuple(Reference((name,), object_type) for name, object_type in parsed.references.items()),
        unique=tuple(tuple(group) for group in parsed.unique),
        required=frozenset(parsed.required),
        datetimes=frozenset(parsed.field_types),
        system_fields=frozenset(parsed.system_fields),
    )


def related(schemas: Mapping[str, TypeSchema]) -> dict[str, TypeSchema]:
    """The schemas with `is_referenced` set on each type that a reference of any other leads to."""
    led_to = {reference.object_type for schema in schemas.values() for reference in schema.references}
    found = {name: replace(schema, is_referenced=name in led_to) for name, schema in schemas.items()}
    return found | {name: TypeSchema(is_referenced=True) for name in led_to - found.keys()}


class DeclaredSchemas:
    """The declared schemas of one account."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database = database
        self._account_id = account_id

    def declare(self, object_type: str, document: object) -> None:
        """Declares a type's schema, in place of the one before. Raises InputError."""
        parse_schema(document)
        if not object_type or "\0" in object_type:
            problem = Problem("Not an object type.", found=repr(object_type[:80]), expected="a name without NUL")
            raise InputError("A schema is declared for an object type, a name without NUL.", problems=(problem,))
        with self._database.transaction(self._account_id) as connection:
            connection.execute(
                "INSERT INTO object_schemas (account_id, object_type, schema) VALUES (ledger_current_account(), %s, %s)"
                " ON CONFLICT (account_id, object_type) DO UPDATE SET schema = excluded.schema",
                (object_type, msgspec.json.encode(document)),
            )

    def documents(self) -> dict[str, object]:
        """The declared documents by object type."""
        with self._database.transaction(self._account_id) as connection:
            rows = connection.execute("SELECT object_type, schema FROM object_schemas ORDER BY object_type").fetchall()
        return {object_type: msgspec.json.decode(bytes(document)) for object_type, document in rows}

    def get(self, object_type: str) -> object:
        """The declared document of a type. Raises NotFound."""
        documents = self.documents()
        if object_type not in documents:
            raise NotFound(f"No schema is declared for {object_type}.")
        return documents[object_type]

    def remove(self, object_type: str) -> object:
        """Forgets a type's schema. Returns what it was. Raises NotFound."""
        document = self.get(object_type)
        with self._database.transaction(self._account_id) as connection:
            connection.execute("DELETE FROM object_schemas WHERE object_type = %s", (object_type,))
        return document

    def all(self) -> dict[str, TypeSchema]:
        """All declared schemas."""
        return related({name: parse_schema(document) for name, document in self.documents().items()})
