"""Who looks at a page: an API token, or the secret of a session, in a cookie that scripts cannot read.

A token's cookie holds the token itself, checked on each request as the API checks it: revoking a token ends its
sign-ins at once, and several processes need no common key. A session (who signed in with OpenID Connect) is looked up
in its table. A POST from another site is refused by its Origin and Sec-Fetch-Site.
"""

from __future__ import annotations

from urllib.parse import urlsplit

from flask import Response, current_app, g, request
from werkzeug.datastructures import Headers

from bootstrap import Services
from ledger.access import Identity, require
from ledger.errors import NotPermitted, NotSignedIn
from ledger.sessions import FLOW_MINUTES

COOKIE = "ledger_token"
SESSION_COOKIE = "ledger_session"
BROWSER_COOKIE = "ledger_sign_in"
"""While a sign-in is at the provider: that its answer comes back to the browser it was begun in."""


def sign_in(services: Services, token: str) -> Identity:
    """Whose token it is. Raises NotSignedIn, NotPermitted (a role that may not read), Unavailable (too many tries)."""
    sessions, address = services.sessions(), client_address()
    sessions.check_failures(address)
    try:
        identity = services.authenticate(token)
    except NotSignedIn:
        sessions.add_failure(address)
        raise
    require(identity, "read")
    return identity


def keep_signed_in(response: Response, token: str) -> None:
    """Sets the cookie, for as long as the browser runs; a session that was there is left."""
    response.set_cookie(COOKIE, token, httponly=True, samesite="Strict", secure=_is_secure(), path="/")
    if session_secret():
        response.delete_cookie(_session_cookie(), path="/", httponly=True, samesite="Lax", secure=_is_secure())


def keep_session(response: Response, secret: str) -> None:
    """Sets the session's cookie, for as long as the browser runs; a token that was there is left.

    SameSite=Lax: the provider sends the browser back from another site, and Strict would hide the cookie from the first
    page. Nothing is changed by a GET, and forms are refused by their origin.
    """
    response.set_cookie(_session_cookie(), secret, httponly=True, samesite="Lax", secure=_is_secure(), path="/")
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="Strict", secure=_is_secure())


def session_secret() -> str | None:
    return request.cookies.get(_session_cookie()) or None


def keep_browser(response: Response, secret: str) -> None:
    """Marks the browser in which a sign-in begins."""
    response.set_cookie(
        BROWSER_COOKIE, secret, httponly=True, samesite="Lax", secure=_is_secure(), path="/sign-in",
        max_age=FLOW_MINUTES * 60,
    )  # fmt: skip


def kept_browser() -> str:
    return request.cookies.get(BROWSER_COOKIE, "")


def forget_browser(response: Response) -> None:
    response.delete_cookie(BROWSER_COOKIE, path="/sign-in", httponly=True, samesite="Lax", secure=_is_secure())


def client_address() -> str:
    return request.remote_addr or ""


def sign_out(response: Response) -> None:
    """Removes all cookies of signing in."""
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="Strict", secure=_is_secure())
    response.delete_cookie(_session_cookie(), path="/", httponly=True, samesite="Lax", secure=_is_secure())


def _session_cookie() -> str:
    """Over TLS with the prefix by which browsers let nobody else set it (RFC 6265bis, section 4.1.3.2)."""
    return f"__Host-{SESSION_COOKIE}" if _is_secure() else SESSION_COOKIE


def _is_secure() -> bool:
    """Whether people reach the service over TLS, be it through a proxy that ends it."""
    base_url: str | None = current_app.extensions["settings"].base_url
    return request.is_secure or (base_url is not None and base_url.startswith("https://"))


def signed_in(services: Services) -> Identity:
    """Who looks at this page. Raises NotSignedIn, NotPermitted."""
    if "identity" not in g:
        token, secret = request.cookies.get(COOKIE), session_secret()
        if not token and not secret:
            raise NotSignedIn("Sign in to see this page.")
        identity = services.sessions().identify(secret) if secret else services.authenticate(token or "")
        require(identity, "read")
        g.identity = identity
    identity = g.identity
    assert isinstance(identity, Identity)
    return identity


def refuse_other_sites() -> None:
    """Raises NotPermitted for a request that a page of another site sent (Fetch Metadata; RFC 6454 section 7)."""
    headers: Headers = request.headers
    origin = headers.get("Origin")
    site = headers.get("Sec-Fetch-Site", "same-origin")
    if site not in ("same-origin", "none") or (origin is not None and urlsplit(origin).netloc != request.host):
        raise NotPermitted("The form was sent by a page of another site. Open the ledger's own page and send it there.")
