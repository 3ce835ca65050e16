"""API tokens over HTTP, for administrators."""

from __future__ import annotations

from flask import Response
from flask_smorest import Blueprint

from api.answers import json_answer, refuse_idempotency_key
from api.auth import identify, services
from api.bodies import read_json
from api.documenting import endpoint
from api.queries import read_query
from api.schemas.answers import MadeTokenSchema, TokenSchema, TokensSchema
from api.schemas.requests import MakeTokenSchema
from ledger.wire.runs import StrictSchema, load, read_document

tokens = Blueprint("tokens", __name__, url_prefix="/v1", description="Who may use the API")


@endpoint(tokens, "GET", "/tokens", "List API tokens", answers={200: TokensSchema})
def list_tokens() -> Response:
    """The newest first; never the tokens themselves."""
    identity = identify("manage")
    read_query(StrictSchema)
    return json_answer({"tokens": [token.as_dict() for token in services().tokens(identity.account_id).list()]})


@endpoint(
    tokens,
    "POST",
    "/tokens",
    "Make an API token",
    body=MakeTokenSchema,
    answers={201: MadeTokenSchema},
    problems=(413, 415),
)
def make_token() -> Response:
    """The token is shown only in this answer."""
    identity = identify("manage")
    read_query(StrictSchema)
    refuse_idempotency_key()
    facts = load(MakeTokenSchema(), read_document(read_json(), raw=frozenset()))
    text, token = services().tokens(identity.account_id).make(facts["role"], facts["name"], facts.get("expires_at"))
    answer = json_answer({"token": text} | token.as_dict(), 201)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@endpoint(
    tokens, "DELETE", "/tokens/<text:token_id>", "Revoke an API token", answers={200: TokenSchema}, problems=(404,)
)
def revoke_token(token_id: str) -> Response:
    """At once; again is harmless."""
    identity = identify("manage")
    read_query(StrictSchema)
    return json_answer(services().tokens(identity.account_id).revoke(token_id).as_dict())
