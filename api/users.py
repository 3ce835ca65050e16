"""Users over HTTP, for administrators: who may sign in to the pages with OpenID Connect."""

from __future__ import annotations

from flask import Response
from flask_smorest import Blueprint

from api.answers import json_answer
from api.auth import identify, services
from api.bodies import read_json
from api.documenting import endpoint
from api.queries import read_query
from api.schemas.answers import AccountUserSchema, AccountUsersSchema
from api.schemas.requests import AddUserSchema
from ledger.wire.runs import StrictSchema, load, read_document

users = Blueprint("users", __name__, url_prefix="/v1", description="Who may sign in to the pages")


@endpoint(users, "GET", "/users", "List users", answers={200: AccountUsersSchema})
def list_users() -> Response:
    """By address."""
    identity = identify("manage")
    read_query(StrictSchema)
    return json_answer({"users": [user.as_dict() for user in services().users(identity.account_id).list()]})


@endpoint(
    users,
    "POST",
    "/users",
    "Add a user",
    body=AddUserSchema,
    answers={201: AccountUserSchema},
    problems=(409, 413, 415),
)
def add_user() -> Response:
    """The address is taken in lower case. Who signs in with it first keeps it."""
    identity = identify("manage")
    read_query(StrictSchema)
    facts = load(AddUserSchema(), read_document(read_json(), raw=frozenset()))
    made = services().users(identity.account_id).add(facts["email"], facts["role"], facts.get("name"))
    return json_answer(made.as_dict(), 201)


@endpoint(users, "DELETE", "/users/<text:email>", "Remove a user", answers={200: AccountUserSchema}, problems=(404,))
def remove_user(email: str) -> Response:
    """Ends their access at once."""
    identity = identify("manage")
    read_query(StrictSchema)
    return json_answer(services().users(identity.account_id).remove(email).as_dict())
