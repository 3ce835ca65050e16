"""How somebody likes to see the pages: theme, time zone and hidden columns, each kept in a cookie of their browser."""

from __future__ import annotations

import re
from datetime import UTC, datetime, time, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from flask import Response, g, redirect, request
from werkzeug.wrappers import Response as AnyResponse

from api.pages.addresses import own_path
from api.pages.blueprint import pages
from api.pages.columns import COLUMNS
from api.sign_in import refuse_other_sites

THEMES = ("auto", "light", "dark")
THEME_COOKIE, ZONE_COOKIE, COLUMNS_COOKIE = "ledger_theme", "ledger_zone", "ledger_columns"
KEPT_S = 365 * 24 * 3600
_ZONE = re.compile(r"[A-Za-z0-9_+\-]{1,40}(/[A-Za-z0-9_+\-]{1,40}){0,2}")


def theme() -> str:
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else "auto"


def zone() -> tzinfo:
    """The viewer's time zone, as their browser told it; UTC where it did not."""
    if "zone" not in g:
        g.zone = _zone(request.cookies.get(ZONE_COOKIE, ""))
    found: tzinfo = g.zone
    return found


def zone_name() -> str:
    return str(zone())


def day_as_instant(text: str, *, is_end: bool) -> str:
    """A day in the viewer's zone as the instant where it begins (is_end: where it ends); other text as it is."""
    try:
        day = datetime.fromisoformat(text).date() if len(text) == len("2026-11-28") else None
        if day is None:
            return text
        ordinal = day.toordinal() + (1 if is_end else 0)
        begin = datetime.combine(datetime.fromordinal(ordinal).date(), time(), zone())
        return begin.astimezone(UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError):
        return text


def hidden_columns() -> frozenset[str]:
    return frozenset(request.cookies.get(COLUMNS_COOKIE, "").split(".")) & {column.name for column in COLUMNS}


@pages.post("/preferences")
def keep_preferences() -> AnyResponse:
    """Keeps what the form names, and leads back to the page it stands on."""
    refuse_other_sites()
    response = redirect(own_path(request.form.get("next", "/")), 303)
    chosen = request.form.get("theme", "")
    if chosen in THEMES:
        _keep(response, THEME_COOKIE, chosen)
    if "columns" in request.form:
        shown = set(request.form.getlist("column"))
        hidden = [column.name for column in COLUMNS if column.name not in shown and column.may_hide]
        _keep(response, COLUMNS_COOKIE, ".".join(hidden))
    return response


def _keep(response: AnyResponse, name: str, value: str) -> None:
    assert isinstance(response, Response)
    response.set_cookie(name, value, max_age=KEPT_S, samesite="Strict", secure=request.is_secure, path="/")


def _zone(name: str) -> tzinfo:
    if not _ZONE.fullmatch(name):
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return UTC
