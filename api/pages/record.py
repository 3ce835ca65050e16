"""A record: as it is now, and everything that happened to it."""

from __future__ import annotations

from typing import Any

from flask import render_template, request

from api.auth import services
from api.pages.addresses import here, position
from api.pages.blueprint import pages, reader

CHANGES_A_PAGE = 50


@pages.get("/records")
def record() -> str:
    identity = reader()
    asked = {name: request.args.get(name, "") for name in ("object_type", "record_id")}
    found: dict[str, Any] = {"blame": None, "history": None, "next_href": None}
    if all(asked.values()):
        records = services().records(identity.account_id)
        history = records.history(
            asked["object_type"], asked["record_id"], after=position("after"), limit=CHANGES_A_PAGE
        )
        found = {
            "blame": records.blame(asked["object_type"], asked["record_id"]),
            "history": history,
            "next_href": history.next_after is not None and here(after=str(history.next_after)),
        }
    return render_template("record.html", asked=asked, **found)
