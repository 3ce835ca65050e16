"""Who looks at a page: an API token in a cookie that scripts cannot read and other sites cannot send.

The cookie holds the token itself, checked on each request as the API checks it: revoking a token ends its sign-ins at
once, and several processes need no common key. A POST from another site is refused by its Origin and Sec-Fetch-Site.
"""

from __future__ import annotations

import time
from collections import deque
from threading import Lock
from urllib.parse import urlsplit

from flask import Response, current_app, g, request
from werkzeug.datastructures import Headers

from bootstrap import Services
from ledger.access import Identity, require
from ledger.errors import NotPermitted, NotSignedIn, Unavailable

COOKIE = "ledger_token"
FAILURES_MAX, FAILURES_WITHIN_S = 10, 60.0
"""Failed sign-ins of one address before it must wait."""


class FailedSignIns:
    """Counts failed sign-ins by address, in this process."""

    def __init__(self) -> None:
        self._failures: dict[str, deque[float]] = {}
        self._lock = Lock()

    def check(self, address: str) -> None:
        """Raises Unavailable for an address that failed too often just now."""
        with self._lock:
            recent = self._recent(address)
            if len(recent) >= FAILURES_MAX:
                wait_s = FAILURES_WITHIN_S - (time.monotonic() - recent[0])
                raise Unavailable(
                    f"Too many failed sign-ins. Try again in {wait_s:.0f} s.", retry_after_s=int(wait_s) + 1
                )

    def add(self, address: str) -> None:
        with self._lock:
            self._recent(address).append(time.monotonic())

    def _recent(self, address: str) -> deque[float]:
        if len(self._failures) > 10_000:  # many addresses: forget them rather than grow
            self._failures.clear()
        times = self._failures.setdefault(address, deque())
        while times and time.monotonic() - times[0] > FAILURES_WITHIN_S:
            times.popleft()
        return times


def sign_in(services: Services, token: str) -> Identity:
    """Whose token it is. Raises NotSignedIn, NotPermitted (a role that may not read), Unavailable (too many tries)."""
    failures: FailedSignIns = current_app.extensions["failed_sign_ins"]
    address = request.remote_addr or ""
    failures.check(address)
    try:
        identity = services.authenticate(token)
    except NotSignedIn:
        failures.add(address)
        raise
    require(identity, "read")
    return identity


def keep_signed_in(response: Response, token: str) -> None:
    """Sets the cookie, for as long as the browser runs."""
    response.set_cookie(COOKIE, token, httponly=True, samesite="Strict", secure=request.is_secure, path="/")


def sign_out(response: Response) -> None:
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="Strict", secure=request.is_secure)


def signed_in(services: Services) -> Identity:
    """Who looks at this page. Raises NotSignedIn, NotPermitted."""
    if "identity" not in g:
        token = request.cookies.get(COOKIE)
        if not token:
            raise NotSignedIn("Sign in to see this page.")
        identity = services.authenticate(token)
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
