"""The application: all routes, errors, headers, put together from services and settings."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from threading import Lock
from typing import Any

from flask import Flask, Response, request
from flask_smorest import Api, Blueprint

from api.assets import add_assets
from api.changes import changes
from api.docs import docs
from api.edited_reports import edited_reports
from api.erasures import erasures
from api.errors import add_errors
from api.exports import exports
from api.health import health
from api.logs import add_logs
from api.metrics import add_metrics
from api.notifications import notifications
from api.pages.site import add_pages
from api.paths import RawPaths, TextConverter
from api.records import records
from api.reports import reports
from api.restores import restores
from api.runs import runs
from api.signed_log import signed_log
from api.targets import targets
from api.tokens import tokens
from api.undos import undos
from api.users import users
from bootstrap import Services
from ledger.settings import Settings

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self';"
    " base-uri 'none'; frame-ancestors 'none'"
)
_DESCRIPTION = (
    "Records what bulk tools change in business records, and tells it again. Send an API token as "
    "`Authorization: Bearer ldg_...`; errors are problem documents (RFC 9457)."
)


class LedgerApi(Api):  # type: ignore[misc]  # flask-smorest has no types
    """flask-smorest without its own error answers: ours are problem documents. Describing all endpoints takes longer
    than everything else that starts a server, so it is put off until somebody asks for the description."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        self._described = Lock()
        self._undescribed: list[Blueprint] = []
        super().__init__(*arguments, **options)

    def _register_error_handlers(self) -> None:
        pass

    def register_blueprint(self, blueprint: Blueprint) -> None:
        """Its routes now, its description later."""
        self._app.register_blueprint(blueprint)
        self._undescribed.append(blueprint)

    def document(self) -> dict[str, Any]:
        """The OpenAPI document."""
        with self._described:
            for blueprint in self._undescribed:
                blueprint.register_views_in_doc(self, self._app, self.spec, name=blueprint.name, parameters=None)
                self.spec.tag({"name": blueprint.name, "description": blueprint.description})
            self._undescribed.clear()
            found: dict[str, Any] = self.spec.to_dict()
        for operation in (one for item in found["paths"].values() for one in item.values() if "responses" in one):
            operation["responses"].pop("default", None)  # flask-smorest's own; every answer of ours is named
        found["components"].pop("responses", None)
        found["components"]["schemas"].pop("Error", None)
        return found


def create_app(services: Services, settings: Settings) -> Flask:
    """The WSGI application. `settings` are kept for those who ask; services come ready."""
    app = Flask("api")
    app.config.update(
        API_TITLE="Audit ledger",
        API_VERSION=_release(),
        OPENAPI_VERSION="3.1.0",
        OPENAPI_URL_PREFIX=None,
        MAX_FORM_MEMORY_SIZE=64 * 1024,
        PROPAGATE_EXCEPTIONS=False,
    )
    app.extensions["services"], app.extensions["settings"] = services, settings
    app.url_map.converters["text"] = TextConverter
    app.url_map.merge_slashes = False
    add_logs(app)
    add_metrics(app, services)
    add_errors(app)
    app.register_blueprint(health)
    app.register_blueprint(docs)
    _add_api(app)
    add_pages(app, settings)
    add_assets(app)
    app.after_request(_add_headers)
    app.wsgi_app = RawPaths(app.wsgi_app)  # type: ignore[method-assign]
    return app


def _add_api(app: Flask) -> None:
    spec = {
        "info": {"description": _DESCRIPTION},
        "components": {"securitySchemes": {"token": {"type": "http", "scheme": "bearer"}}},
        "security": [{"token": []}],
    }
    api = LedgerApi(app, spec_kwargs=spec)
    api.register_converter(TextConverter, lambda _: {"type": "string", "minLength": 1})
    blueprints = (
        runs, changes, reports, records, undos, signed_log, edited_reports, restores, targets, erasures, exports,
        tokens, users, notifications,
    )  # fmt: skip
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    app.extensions["openapi"] = api.document
    app.add_url_rule("/v1/openapi.json", "openapi", api.document)


def _add_headers(response: Response) -> Response:
    headers = response.headers
    headers.setdefault("Content-Security-Policy", POLICY)
    headers.setdefault("X-Content-Type-Options", "nosniff")
    headers.setdefault("Referrer-Policy", "same-origin")
    headers.setdefault("Cross-Origin-Opener-Policy", "same-origin")
    headers.setdefault("Cross-Origin-Resource-Policy", "same-origin")
    if request.endpoint != "static":
        headers.setdefault("Cache-Control", "private, no-cache")
        headers.add("Vary", "Authorization, Cookie")
    if request.is_secure:
        headers.setdefault("Strict-Transport-Security", "max-age=31536000")
    return response


def _release() -> str:
    try:
        return version("audit-ledger")
    except PackageNotFoundError:
        return "0"
