"""What the pages of undos share: a plan as it is shown, and beginning what was looked at."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from flask import redirect, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as AnyResponse

from api.auth import services
from api.pages.addresses import here
from api.pages.undo_words import PLAN_STATUSES
from api.undos import carry_on_apart
from ledger.access import Identity
from ledger.errors import LedgerError
from ledger.undo.request import UndoRequest
from ledger.undo.result import UndoResult

CONFLICTS_A_PAGE = 100
WRITES_SHOWN_MAX = 50
KEY_CHARACTERS_MAX = 100


def plan_facts(identity: Identity, asked: UndoRequest, values: Mapping[str, str]) -> dict[str, Any]:
    """What a template shows of a plan; of a refused undo the reason."""
    undos = services().undo(identity.account_id)
    try:
        plan = undos.preview(asked)
    except LedgerError as refusal:
        return {"plan": None, "refusal": refusal.message}
    threshold = undos.approvals.threshold()
    first = _number(values.get("conflicts_from", ""))
    level, words = PLAN_STATUSES[plan.status]
    return {
        "plan": plan,
        "level": level,
        "words": words,
        "fields_to_write": fields_to_write(plan),
        "conflicts": plan.skipped.items[first : first + CONFLICTS_A_PAGE],
        "conflicts_first": first,
        "conflicts_href": _more_conflicts(plan, first),
        "writes": plan.applied.items[:WRITES_SHOWN_MAX],
        "key": secrets.token_hex(12),
        "needs_approval": threshold is not None and plan.records_to_write > threshold,
    }


def fields_to_write(plan: UndoResult) -> int:
    return sum(max(1, len(applied.fields)) for applied in plan.applied.items)


def begin(identity: Identity, asked: UndoRequest, form: MultiDict[str, str]) -> AnyResponse:
    """Begins the undo of the plan that was looked at, once for each page that showed it, and leads to its own page.

    Raises what AccountUndo.begin raises.
    """
    key = form.get("key", "")[:KEY_CHARACTERS_MAX]
    asked = replace(asked, plan_digest=form.get("digest") or None, idempotency_key=f"page/{key}" if key else None)
    undo_id, is_new = services().undo(identity.account_id).begin(asked, user=identity.user)
    if is_new:
        carry_on_apart(services(), identity.account_id, undo_id)
    return redirect(url_for("pages.undo_page", undo_id=undo_id), 303)


def _more_conflicts(plan: UndoResult, first: int) -> str | None:
    following = first + CONFLICTS_A_PAGE
    if request.method != "GET" or following >= len(plan.skipped.items):
        return None
    return here(conflicts_from=str(following))


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 7 else 0
