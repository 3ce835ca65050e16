"""Saved views: a name for the filters, the order and the page size of a list."""

from __future__ import annotations

from flask import redirect, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.auth import services
from api.pages.addresses import own_path
from api.pages.blueprint import pages, reader
from api.sign_in import refuse_other_sites


@pages.post("/views")
def save_view() -> AnyResponse:
    refuse_other_sites()
    identity = reader()
    query = request.form.get("query", "")
    services().saved_views(identity.account_id).save(request.form.get("name", ""), query, made_by=identity.name)
    return redirect(own_path(url_for("pages.tracker") + (f"?{query}" if query else "")), 303)


@pages.post("/views/remove")
def remove_view() -> AnyResponse:
    refuse_other_sites()
    services().saved_views(reader().account_id).remove(request.form.get("name", ""))
    return redirect(own_path(request.form.get("next", "/")), 303)
