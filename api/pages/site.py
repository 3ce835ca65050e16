"""Adds the pages and what their templates need to the application."""

from __future__ import annotations

from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from flask import Flask, current_app, g, request

from api import shown
from api.differences import marked
from api.open_id import Provider
from api.pages import open_id, overview, record, run, search, signing_in, tracker, undo, undo_run, verify, viewer, views
from api.pages.blueprint import may, pages
from api.pages.progress import progress_of
from api.pages.undo_words import reason_words
from ledger.json_text import plain
from ledger.settings import Settings

MODULES = (open_id, overview, record, run, search, signing_in, tracker, undo, undo_run, verify, viewer, views)
"""Imported for the routes they add to the blueprint."""


def add_pages(app: Flask, settings: Settings) -> None:
    if settings.oidc_issuer is not None:
        app.extensions["open_id"] = Provider(settings)
    for name in ("instant_exact", "instant_utc", "duration", "number", "web_link"):
        app.template_filter(name)(getattr(shown, name))
    app.template_filter("instant")(lambda moment: shown.instant(moment, viewer.zone()))
    app.template_filter("plain_value")(plain)
    app.template_filter("key")(lambda text: sha256(text.encode(errors="replace")).hexdigest()[:12])
    app.jinja_env.globals.update(field_changes=shown.field_changes, marked=marked, may=may, reason_words=reason_words)
    app.jinja_env.globals["progress_of"] = lambda row: progress_of(row, datetime.now(UTC))
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.context_processor(_about_the_viewer)
    app.register_blueprint(pages)


def _about_the_viewer() -> dict[str, Any]:
    return {
        "identity": g.get("identity"),
        "theme": viewer.theme(),
        "zone": viewer.zone_name(),
        "this_page": request.full_path.rstrip("?"),
        "known_pages": current_app.view_functions,
        "has_open_id": "open_id" in current_app.extensions,
    }
