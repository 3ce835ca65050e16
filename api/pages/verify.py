"""The signed log for people: its newest checkpoint, who signed it, and how to check it from outside."""

from __future__ import annotations

from typing import Any

from flask import Response, render_template, request

from api.auth import services
from api.pages.blueprint import pages, reader
from ledger.access import Account, Identity
from ledger.errors import InputError, NotFound, Problem
from ledger.integrity.checkpoint import parse_checkpoint
from ledger.integrity.note import parse_note
from ledger.integrity.signed_log import SignedLog
from ledger.integrity.tlog_proof import format_proof


@pages.get("/verify")
def verify() -> str:
    """A log that was never sealed is told as that."""
    identity = reader()
    store = services().ledger(identity.account_id).store
    found: dict[str, Any] = {
        "head": store.recorder.max_notification_id() or 0,
        "verification": services().account_verification(identity.account_id).last(),
    }
    try:
        text = _log(identity).checkpoint().note
    except NotFound as error:
        return render_template("verify.html", note=None, why=error.message, **found)
    note = parse_note(text.encode())
    return render_template(
        "verify.html", note=text, checkpoint=parse_checkpoint(note.text), signatures=note.signatures, **found
    )


@pages.get("/verify/proof")
def proof() -> Response:
    """The proof of one event, as a file. Raises InputError, NotFound."""
    text = request.args.get("position", "").strip()
    if not text.isascii() or not text.isdecimal() or not int(text[:18]) > 0 or len(text) > 18:
        problem = Problem("Not a position.", parameter="position", found=repr(text[:40]), expected="1 or more")
        raise InputError(f"{text[:40]!r} is not the position of an event.", problems=(problem,))
    response = Response(format_proof(_log(reader()).proof(int(text))), content_type="text/plain; charset=utf-8")
    response.headers.set("Content-Disposition", "attachment", filename=f"{text}.tlog-proof")
    return response


def _log(identity: Identity) -> SignedLog:
    return services().signed_log(Account(identity.account_id, "", 0))
