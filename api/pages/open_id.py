"""Signing in with OpenID Connect, and a person's accounts and sessions."""

from __future__ import annotations

from flask import current_app, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.auth import services
from api.errors import status_of
from api.open_id import Provider
from api.pages.addresses import own_path
from api.pages.blueprint import pages, reader
from api.sign_in import (
    client_address,
    forget_browser,
    keep_browser,
    keep_session,
    kept_browser,
    session_secret,
    sign_out,
)
from ledger.errors import LedgerError, NotFound, NotSignedIn, SignInForged

TARGET_CHARACTERS_MAX = 2_000


def provider() -> Provider:
    """Raises NotFound where the service has none."""
    found = current_app.extensions.get("open_id")
    if not isinstance(found, Provider):
        raise NotFound("No OpenID provider is set: LEDGER_OIDC_ISSUER and LEDGER_OIDC_CLIENT_ID.")
    return found


@pages.get("/sign-in/openid")
def begin_open_id() -> AnyResponse:
    """Sends the browser to the provider. A link, not a form: a form's answer could not lead to another site (CSP)."""
    target = own_path(request.args.get("next", "/"))
    new = services().sessions().begin_flow(target if len(target) <= TARGET_CHARACTERS_MAX else "/", client_address())
    response = redirect(provider().address_for(new), 303)
    keep_browser(response, new.browser)  # type: ignore[arg-type]
    return response


@pages.get("/sign-in/openid/callback")
def end_open_id() -> AnyResponse | tuple[str, int]:
    """Where the provider sends the browser back to."""
    found, sessions = provider(), services().sessions()
    flow = sessions.take_flow(request.args.get("state", ""), kept_browser())
    issuer = request.args.get("iss")
    if flow is None or (issuer is not None and issuer.rstrip("/") != found.issuer.rstrip("/")):  # RFC 9207
        raise SignInForged("This is no answer to a sign-in that was begun in this browser, or it came too late. "
                           "Sign in again.")  # fmt: skip
    try:
        if "code" not in request.args:
            raise NotSignedIn("The provider did not let you in. Sign in again.")
        secret = sessions.begin(found.redeem(request.args["code"], flow))
    except LedgerError as error:
        return render_template("sign_in.html", next=flow.target, error=error.message), status_of(error)
    if before := session_secret():
        sessions.end(before)
    response = redirect(flow.target, 303)
    forget_browser(response)  # type: ignore[arg-type]
    keep_session(response, secret)  # type: ignore[arg-type]
    return response


@pages.get("/account")
def account() -> str:
    identity, secret = reader(), session_secret()
    accounts = services().sessions().accounts(secret) if identity.email and secret else []
    return render_template("account.html", identity=identity, accounts=accounts)


@pages.post("/account")
def choose_account() -> AnyResponse:
    services().sessions().choose(_own_secret(), request.form.get("account", ""))
    return redirect(url_for("pages.tracker"), 303)


@pages.post("/sign-out-everywhere")
def sign_out_everywhere() -> AnyResponse:
    services().sessions().end_all(_own_secret())
    response = redirect(url_for("pages.sign_in_page"), 303)
    sign_out(response)  # type: ignore[arg-type]
    return response


def _own_secret() -> str:
    secret = session_secret()
    if not secret:
        raise NotSignedIn("Only who signed in with OpenID Connect has sessions and several accounts.")
    return secret
