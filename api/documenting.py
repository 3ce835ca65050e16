"""Endpoints: their route and what OpenAPI says of them, in one place above the function."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from http import HTTPStatus
from typing import Any, TypeVar

from flask_smorest import Blueprint
from marshmallow import Schema

from api.schemas.answers import ProblemSchema

View = TypeVar("View", bound=Callable[..., Any])
PROBLEMS_OF_ALL = (400, 401, 403, 422, 503)
_IDEMPOTENCY_KEY = {
    "in": "header",
    "name": "Idempotency-Key",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
    "description": "A repeated request with the key gets the first answer.",
}


def endpoint(
    blueprint: Blueprint,
    method: str,
    path: str,
    summary: str,
    *,
    answers: Mapping[int, type[Schema] | str],
    query: type[Schema] | None = None,
    body: type[Schema] | Mapping[str, Any] | None = None,
    problems: tuple[int, ...] = (),
    with_key: bool = False,
) -> Callable[[View], View]:
    """Adds an endpoint and describes it.

    An answer is a schema (JSON) or a media type (bytes); a body a schema or a content map.
    """
    parameters: list[Any] = [{"in": "query", "schema": query}] if query else []
    parameters += [_IDEMPOTENCY_KEY] if with_key else []
    responses = {str(status): _answer(status, shape) for status, shape in answers.items()}
    for status in sorted({*PROBLEMS_OF_ALL, *problems}):
        responses[str(status)] = {
            "description": HTTPStatus(status).phrase,
            "content": {"application/problem+json": {"schema": ProblemSchema}},
        }
    found: dict[str, Any] = {"summary": summary, "responses": responses, "parameters": parameters}
    if isinstance(body, Mapping):
        found["requestBody"] = {"required": True, "content": body}
    elif body is not None:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": body}}}

    def add(view: View) -> View:
        described = blueprint.doc(**found, description=" ".join((view.__doc__ or "").split()))
        blueprint.route(path, methods=[method])(described(view))
        return view

    return add


def _answer(status: int, shape: type[Schema] | str) -> dict[str, Any]:
    phrase = HTTPStatus(status).phrase
    if isinstance(shape, str):
        return {"description": phrase, "content": {shape: {"schema": {"type": "string"}}}}
    return {"description": phrase, "content": {"application/json": {"schema": shape}}}
