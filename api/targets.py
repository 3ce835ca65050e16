"""Targets and declared schemas over HTTP: what undos write to, and the constraints of the ledger's own records."""

from __future__ import annotations

from flask import Response, url_for
from flask_smorest import Blueprint

from api.answers import json_answer
from api.auth import identify, services
from api.bodies import read_json
from api.documenting import endpoint
from api.queries import read_query
from api.schemas.targets import SchemaPageSchema, TargetPageSchema, TargetSchema
from ledger.wire.runs import StrictSchema
from ledger.wire.targets import AddTargetSchema, ObjectSchemaSchema, parse_object_schema, parse_target

targets = Blueprint("targets", __name__, url_prefix="/v1", description="Target systems and declared schemas")


@endpoint(targets, "GET", "/targets", "List targets", answers={200: TargetPageSchema})
def list_targets() -> Response:
    """All but the built-in one, `ledger`. Connection strings are shown without secrets."""
    identity = identify("read")
    read_query(StrictSchema)
    found = services().targets(identity.account_id).list()
    return json_answer({"targets": [target.as_dict() for target in found]})


@endpoint(
    targets, "POST", "/targets", "Add a target", body=AddTargetSchema, answers={201: TargetSchema},
    problems=(404, 409, 413, 415),
)  # fmt: skip
def add_target() -> Response:
    """Administrators only; the tables are looked up at once. `dsn` names a variable of the service, for this account
    alone: `env:LEDGER_TARGET__ACCOUNT__NAME`. So no secret travels, and nobody reaches another account's database."""
    identity = identify("manage")
    read_query(StrictSchema)
    account = services().accounts().get(identity.account_id)
    target = parse_target(read_json(), account.name)
    added = services().add_target(identity.account_id, target)
    answer = json_answer(added.as_dict(), 201)
    answer.headers["Location"] = url_for("targets.get_target", name=target.name)
    return answer


@endpoint(targets, "GET", "/targets/<text:name>", "Look at a target", answers={200: TargetSchema}, problems=(404,))
def get_target(name: str) -> Response:
    """As it was added."""
    identity = identify("read")
    read_query(StrictSchema)
    return json_answer(services().targets(identity.account_id).get(name).as_dict())


@endpoint(targets, "DELETE", "/targets/<text:name>", "Remove a target", answers={200: TargetSchema}, problems=(404,))
def remove_target(name: str) -> Response:
    """Administrators only. Its records and its runs stay as they are; capture, where it is on, goes on."""
    identity = identify("manage")
    read_query(StrictSchema)
    found = services().targets(identity.account_id)
    target = found.get(name)
    found.remove(name)
    return json_answer(target.as_dict())


@endpoint(targets, "GET", "/schemas", "List declared schemas", answers={200: SchemaPageSchema})
def list_schemas() -> Response:
    """By object type. Undos of the ledger's own records honour them."""
    identity = identify("read")
    read_query(StrictSchema)
    return json_answer({"schemas": services().targets(identity.account_id).schemas.documents()})


@endpoint(
    targets, "GET", "/schemas/<text:object_type>", "Look at a declared schema", answers={200: ObjectSchemaSchema},
    problems=(404,),
)  # fmt: skip
def get_schema(object_type: str) -> Response:
    """As it was declared."""
    identity = identify("read")
    read_query(StrictSchema)
    return json_answer(services().targets(identity.account_id).schemas.get(object_type))


@endpoint(
    targets, "PUT", "/schemas/<text:object_type>", "Declare a schema", body=ObjectSchemaSchema,
    answers={200: ObjectSchemaSchema}, problems=(413, 415),
)  # fmt: skip
def declare_schema(object_type: str) -> Response:
    """Administrators only; in place of the one before."""
    identity = identify("manage")
    read_query(StrictSchema)
    document = parse_object_schema(read_json())
    services().targets(identity.account_id).schemas.declare(object_type, document)
    return json_answer(document)


@endpoint(
    targets, "DELETE", "/schemas/<text:object_type>", "Remove a declared schema", answers={200: ObjectSchemaSchema},
    problems=(404,),
)  # fmt: skip
def remove_schema(object_type: str) -> Response:
    """Administrators only. Undos then know of no constraints of this type."""
    identity = identify("manage")
    read_query(StrictSchema)
    return json_answer(services().targets(identity.account_id).schemas.remove(object_type))
