"""Signing in and out."""

from __future__ import annotations

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.auth import services
from api.errors import status_of
from api.pages.addresses import own_path
from api.pages.blueprint import pages
from api.sign_in import keep_signed_in, refuse_other_sites, session_secret, sign_in, sign_out
from ledger.errors import LedgerError


@pages.get("/sign-in")
def sign_in_page() -> str:
    return render_template("sign_in.html", next=request.args.get("next", "/"), error=None)


@pages.post("/sign-in")
def sign_in_form() -> AnyResponse | tuple[str, int]:
    refuse_other_sites()
    token, target = request.form.get("token", "").strip(), own_path(request.form.get("next", "/"))
    try:
        sign_in(services(), token)
    except LedgerError as error:
        return render_template("sign_in.html", next=target, error=error.message), status_of(error)
    response = redirect(target, 303)
    keep_signed_in(response, token)  # type: ignore[arg-type]
    return response


@pages.post("/sign-out")
def sign_out_form() -> AnyResponse:
    refuse_other_sites()
    if secret := session_secret():
        services().sessions().end(secret)
    response = redirect(url_for("pages.sign_in_page"), 303)
    sign_out(response)  # type: ignore[arg-type]
    return response
