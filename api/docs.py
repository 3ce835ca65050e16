"""The API's description as a page that people read, made from the same OpenAPI document."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, current_app, render_template

docs = Blueprint("docs", __name__)


@docs.get("/v1/docs")
def show_docs() -> str:
    """All operations, and the schemas they name."""
    document = current_app.extensions["openapi"]()
    operations = [
        {"method": method.upper(), "path": path, "parameters": _parameters(item, operation), **operation}
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post", "delete", "put", "patch")
    ]
    return render_template("docs.html", info=document["info"], operations=operations, schemas=_schemas(document))


def _parameters(item: dict[str, Any], operation: dict[str, Any]) -> list[Any]:
    return [*item.get("parameters", ()), *operation.get("parameters", ())]


def _schemas(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document.get("components", {}).get("schemas", {})
    return found
