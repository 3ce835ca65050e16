"""What the browser tests look at: one account whose history has a run of every kind, recorded once for all of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from ledger.domain.operation import App, Operation, Saved, User
from ledger.service import AccountLedger
from tests.examples import ndjson
from tests.naughty import DIRECTIONS, MARKUP

BEGAN = datetime(2026, 11, 2, 9, tzinfo=UTC)
ANN, EVE = User("u-1", "Ann Example", "ann@example.com"), User("u-2", "Eve Corrector")
HUBSPOT = App("HubSpot", "4711")
PHONES, CORRECTION, PREVIEW, FAILED, DEAD, RUNNING = (
    "phones-1",
    "by-hand-1",
    "preview-1",
    "failing-1",
    "dead-1",
    "live-1",
)
RECIPE, HOSTILE, UNDONE = "weekly-1", "hostile-1", "to-undo-1"
TOTAL = 400
HOSTILE_TEXTS = [text for text in MARKUP + DIRECTIONS if text.isprintable()]


def record_scene(ledger: AccountLedger) -> None:
    """All runs, from the oldest to the newest."""
    for day in range(6):
        _run(ledger, f"phones-0{day}", day, _phones(10 + day, 3), template="Format phone numbers")
    _run(ledger, PHONES, 8, _phones(1, 3), template="Format phone numbers")
    _run(ledger, UNDONE, 9, _to_undo(), template="Shorten titles")
    _run(ledger, CORRECTION, 10, _corrections(), template="Correct by hand", user=EVE)
    _run(ledger, PREVIEW, 11, _phones(20, 2), template="Format phone numbers", mode="preview")
    _run(ledger, FAILED, 12, _failures(), template="Check e-mail addresses", details=b'{"filter":"country is FR"}')
    start(
        ledger,
        RECIPE,
        13,
        kind="recipe",
        template=None,
        recipe=Saved("r-1", "Weekly clean-up", "https://app.example/r"),
    )
    for number in (1, 2):
        _run(ledger, f"weekly-1-{number}", 13, _phones(30 + number, 2), recipe_run_id=RECIPE, template=f"Step {number}")
    ledger.finish_run(RECIPE, finished_at=BEGAN + timedelta(days=13, hours=1))
    start(ledger, DEAD, 14, template="Nightly import")
    ledger.fail_run(
        DEAD, "quota_exhausted", "No calls are left today.", finished_at=BEGAN + timedelta(days=14, minutes=3)
    )
    for number, text in enumerate(HOSTILE_TEXTS):
        _run(ledger, f"{HOSTILE}-{number}", 15, [_hostile(text)], template=text, user=User(name=text), module=text,
             app=App(text, text), message=text)  # fmt: skip
    start(ledger, RUNNING, 16, template="Import contacts", details=b'{"total":%d}' % TOTAL)
    feed(ledger, 100)


def feed(ledger: AccountLedger, number: int) -> None:
    """Goes on with the running import."""
    lines = [{"record_id": f"new-{at}", "action": "create", "after": {"name": f"Contact {at}"}} for at in range(number)]
    ledger.record_changes(RUNNING, [ndjson(lines)])


def start(ledger: AccountLedger, run_id: str, day: int, **facts: Any) -> None:
    template = facts.pop("template", None)
    standard: dict[str, Any] = {
        "app": HUBSPOT, "module": "cleanse", "object_type": "contact", "user": ANN,
        "template": template and Saved(None, template, "https://app.example/t/1"),
    }  # fmt: skip
    ledger.start_run(Operation(**(standard | facts)), run_id=run_id, started_at=BEGAN + timedelta(days=day))


def _run(ledger: AccountLedger, run_id: str, day: int, lines: list[dict[str, Any]], **facts: Any) -> None:
    start(ledger, run_id, day, **facts)
    ledger.record_changes(run_id, [ndjson(lines)])
    ledger.finish_run(run_id, finished_at=BEGAN + timedelta(days=day, minutes=5))


def _phones(first: int, number: int) -> list[dict[str, Any]]:
    return [
        {
            "record_id": str(at), "action": "update", "label": f"person{at}@example.com",
            "link": f"https://app.example/contact/{at}",
            "before": {"phone": f"202 555 {at:04}", "note": "call before nine"},
            "after": {"phone": f"+1 202 555 {at:04}", "note": "call after nine"},
        }
        for at in range(first, first + number)
    ]  # fmt: skip


def _to_undo() -> list[dict[str, Any]]:
    return [
        {"record_id": f"u-{at}", "action": "update", "before": {"title": "Doctor", "city": "Bonn"},
         "after": {"title": "Dr", "city": "BONN"}}
        for at in (1, 2, 3)
    ]  # fmt: skip


def _corrections() -> list[dict[str, Any]]:
    return [{"record_id": "u-2", "action": "update", "before": {"title": "Dr"}, "after": {"title": "Professor"}}]


def _failures() -> list[dict[str, Any]]:
    refused = {"action": "update", "result": "failed", "after": {"email": "x"}}
    lines = [{"record_id": str(at), "message": "The address has no @."} | refused for at in range(40, 47)]
    return [*lines, {"record_id": "2", "message": "The contact is locked."} | refused,
            *({"record_id": str(at), "action": "none"} for at in range(50, 53))]  # fmt: skip


def _hostile(text: str) -> dict[str, Any]:
    return {"record_id": text or "-", "action": "update", "label": text, "link": text, "message": text,
            "before": {text or "-": text}, "after": {text or "-": text + "!"}, "details": {"x": text}}  # fmt: skip
