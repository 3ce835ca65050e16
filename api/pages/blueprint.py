"""The pages' blueprint, who looks at them, and what they show instead of a problem document."""

from __future__ import annotations

from flask import Blueprint, Response, redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.auth import services
from api.errors import status_of
from api.sign_in import refuse_other_sites, signed_in
from ledger.access import PERMISSIONS, Identity, Permission, require
from ledger.errors import LedgerError, NotSignedIn

pages = Blueprint("pages", __name__)


@pages.before_request
def refuse_forms_of_other_sites() -> None:
    """Every form, whether or not its page asks for it too. Raises NotPermitted."""
    if request.method not in ("GET", "HEAD", "OPTIONS"):
        refuse_other_sites()


def reader() -> Identity:
    """Who looks at this page. Raises NotSignedIn, NotPermitted."""
    return signed_in(services())


def actor(permission: Permission) -> Identity:
    """Who sends this form, if they may. Raises NotSignedIn, NotPermitted."""
    identity = reader()
    require(identity, permission)
    return identity


def may(identity: Identity, permission: Permission) -> bool:
    return permission in PERMISSIONS[identity.role]


@pages.errorhandler(NotSignedIn)
def ask_to_sign_in(error: NotSignedIn) -> AnyResponse:
    if request.method != "GET":
        return Response(error.message, 401, mimetype="text/plain")
    return redirect(url_for("pages.sign_in_page", next=request.full_path.rstrip("?")), 303)


@pages.errorhandler(LedgerError)
def show_problem(error: LedgerError) -> tuple[str, int]:
    return render_template("problem.html", problem={"title": error.title, "detail": error.message}), status_of(error)
