"""The shapes of targets and declared schemas, for OpenAPI."""

from __future__ import annotations

from marshmallow import Schema
from marshmallow.fields import Dict, List, Nested, String

from api.schemas.answers import described
from ledger.wire.targets import ObjectSchemaSchema


class TargetSchema(Schema):
    name = String()
    kind = String()
    dsn = String(**described("Where it is; never with a password."))
    tables = Dict(keys=String(), values=String(), **described("Object type to table."))
    system_fields = List(String())
    run_id_column = String(allow_none=True)


class TargetPageSchema(Schema):
    targets = List(Nested(TargetSchema))


class SchemaPageSchema(Schema):
    schemas = Dict(keys=String(), values=Nested(ObjectSchemaSchema))
