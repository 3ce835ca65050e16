"""Search: a Run ID, a record, a value, a user, a field. One look is short; the page asks on until there is enough."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from flask import make_response, render_template, request
from werkzeug.wrappers import Response as AnyResponse

from api.auth import services
from api.pages.addresses import here, position
from api.pages.blueprint import pages, reader
from api.pages.tracker import is_run
from api.pages.viewer import day_as_instant
from ledger.errors import InputError, Problem
from ledger.wire.changes import parse_instant
from projections.run_changes.view import ChangePage, ChangeSearch

CHANGES_A_PAGE = 50
BLOCKS_A_LOOK = 2
"""Of 4,096 positions each: some hundredths of a second, whatever the size of the log."""
TEXT_CHARACTERS_MAX = 4_096
_TEXTS = ("field", "user", "template", "object_type", "record_id", "result", "action", "old_value", "new_value")


@pages.get("/search")
def search() -> AnyResponse | str:
    identity = reader()
    asked = {name: text for name, text in request.args.items() if text}
    found: dict[str, Any] = {"page": None, "run_id": None, "records": [], "next_href": None}
    if any(asked.get(name) for name in ("q", *_TEXTS)):
        if position("after") is None and "q" in asked:
            found |= _exact(identity.account_id, asked["q"])
        page = _changes(identity.account_id, asked)
        found |= {"page": page, "next_href": page.next_after is not None and here(after=str(page.next_after))}
    view = services().tracker(identity.account_id)
    facets = {facet: view.facet_values(facet) for facet in ("object_type", "template", "user")}
    return make_response(render_template("search.html", asked=asked, facets=facets, **found))


def _exact(account_id: UUID, text: str) -> dict[str, Any]:
    """The run and the records that are called so."""
    view = services().tracker(account_id)
    records = services().records(account_id).named(text, view.facet_values("object_type"))
    return {"run_id": text if is_run(view, text) else None, "records": records}


def _changes(account_id: UUID, asked: dict[str, str]) -> ChangePage:
    """Raises InputError."""
    for name, text in asked.items():
        if len(text) > TEXT_CHARACTERS_MAX:
            expected = f"at most {TEXT_CHARACTERS_MAX:,} characters"
            problem = Problem("Too long.", parameter=name, found=f"{len(text):,} characters", expected=expected)
            raise InputError(f"{name} is too long: {expected} are looked for.", problems=(problem,))
    texts: dict[str, Any] = {name: asked[name] for name in _TEXTS if name in asked}
    query = ChangeSearch(
        value=asked.get("q"),
        from_at=parse_instant(day_as_instant(asked.get("from", ""), is_end=False)),
        to_at=parse_instant(day_as_instant(asked.get("to", ""), is_end=True)),
        preview=asked.get("preview") == "true",
        after=position("after"),
        limit=CHANGES_A_PAGE,
        **texts,
    )
    return services().run_changes(account_id).search(query, blocks_max=BLOCKS_A_LOOK)
