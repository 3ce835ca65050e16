"""Who sends a request: the Bearer token (RFC 6750), its role, its account."""

from __future__ import annotations

from flask import current_app, g, request

from bootstrap import Services
from ledger.access import Identity, Permission, require
from ledger.errors import NotSignedIn


def services() -> Services:
    """What the application was made with."""
    found = current_app.extensions["services"]
    assert isinstance(found, Services)
    return found


def identify(permission: Permission) -> Identity:
    """Who sends this request. Raises NotSignedIn, NotPermitted."""
    identity = g.get("identity")
    if identity is None:
        kind, _, token = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise NotSignedIn("The request has no API token. Send it as `Authorization: Bearer ldg_...`.")
        identity = g.identity = services().authenticate(token.strip())
    assert isinstance(identity, Identity)
    require(identity, permission)
    return identity
