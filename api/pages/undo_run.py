"""An undo on its way and at its end: how far it is, cancelling, resuming, what came of it and the proof."""

from __future__ import annotations

from typing import Any

import msgspec
from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response as AnyResponse

from api.auth import services
from api.pages.blueprint import actor, pages, reader
from api.pages.undo_words import STATUSES
from api.sign_in import refuse_other_sites
from api.undos import carry_on_apart
from ledger.access import Identity
from ledger.domain.run import Run

RESULT_CHANGES_MAX = 20_000
"""Of a larger undo, what was left is read from its report instead of listed here."""
LEFT_SHOWN_MAX = 200


@pages.get("/undos/<undo_id>")
def undo_page(undo_id: str) -> str:
    return render_template("undo_run.html", **_facts(reader(), undo_id))


@pages.get("/undos/<undo_id>/progress")
def undo_progress(undo_id: str) -> str:
    """Asked for again and again while the undo is carried out."""
    return render_template("undo_progress.html", is_poll="Ledger-Poll" in request.headers, **_facts(reader(), undo_id))


@pages.post("/undos/<undo_id>/cancel")
def cancel_undo(undo_id: str) -> AnyResponse:
    refuse_other_sites()
    services().undo(actor("undo").account_id).cancel(undo_id)
    return redirect(url_for("pages.undo_page", undo_id=undo_id), 303)


@pages.post("/undos/<undo_id>/resume")
def resume_undo(undo_id: str) -> AnyResponse:
    refuse_other_sites()
    identity = actor("undo")
    if services().undo(identity.account_id).state(undo_id) == "interrupted":
        carry_on_apart(services(), identity.account_id, undo_id)
    return redirect(url_for("pages.undo_page", undo_id=undo_id), 303)


def _facts(identity: Identity, undo_id: str) -> dict[str, Any]:
    """Raises NotFound."""
    undos, store = services().undo(identity.account_id), services().ledger(identity.account_id).store
    state = undos.state(undo_id)
    run = store.load_run(undo_id)
    found: dict[str, Any] = {"undo": run, "state": state, "outcome": None, "left": (), "left_count": 0}
    if state != "ended":
        undone = [one for one in map(store.find_run, run.undoes) if one is not None]
        return found | {"total": sum(one.tally.processed for one in undone) or None}
    return found | _result(identity, run)


def _result(identity: Identity, run: Run) -> dict[str, Any]:
    outcome: dict[str, Any] = msgspec.json.decode(run.outcome) if run.outcome else {}
    level, words = STATUSES[outcome.get("status", "interrupted")]
    found: dict[str, Any] = {"outcome": outcome, "level": level, "words": words}
    if run.tally.processed <= RESULT_CHANGES_MAX:
        result = services().undo(identity.account_id).result(run.run_id)
        left = [*result.failed.items, *result.skipped.items]
        found |= {"left": left[:LEFT_SHOWN_MAX], "left_count": result.failed.count + result.skipped.count}
    return found
