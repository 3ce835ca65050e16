"""What happens in the demo: runs of a data-management tool, recorded through the public client.

Every run has a fixed Run ID, so that the demo can be played again: what is recorded already is passed over.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from demo.airports import FIRST, SECOND, Airport, Sync
from ledger.client import Client

FIRST_RUN = f"airports-{FIRST}"
RECIPE_RUN = f"airports-sync-{SECOND}"
PREVIEW_RUN, FAILED_RECORDS_RUN, DEAD_RUN = f"{RECIPE_RUN}-preview", "airports-iata-check", "airports-nightly"

APP = {"name": "Airport registry", "account": "demo"}
STEWARD = {"id": "u-1", "name": "Dana Steward", "email": "dana@example.com"}
ROBOT = {"id": "u-2", "name": "Nightly sync"}
SITE = "https://example.com/airports"


class QuotaExhausted(Exception):
    """The registry's daily limit of calls was reached."""

    code = "quota_exhausted"


def play(client: Client, first: dict[str, Airport], sync: Sync, say: Callable[[str], None]) -> None:
    """Records the whole story. `say` is told each run as it begins."""
    _import_first(client, first, say)
    _preview_sync(client, sync, say)
    _sync(client, sync, say)
    _check_codes(client, first, sync, say)
    _die(client, say)


def _import_first(client: Client, first: dict[str, Airport], say: Callable[[str], None]) -> None:
    say(f"import of version {FIRST}: {len(first):,} airports are created")
    with client.run(run_id=FIRST_RUN, **_facts("Import registry", "import", STEWARD)) as run:
        for code in sorted(first):
            run.created(code, after=first[code], **_shown(first[code]))


def _preview_sync(client: Client, sync: Sync, say: Callable[[str], None]) -> None:
    say("preview of the updates: nothing is written")
    facts = _facts("Update changed airports", "sync", STEWARD)
    with client.run(run_id=PREVIEW_RUN, mode="preview", **facts) as run:
        for code in sorted(sync.updated)[:500]:
            before, after = sync.updated[code]
            run.updated(code, before=before, after=after, link=f"{SITE}/{code}")


def _sync(client: Client, sync: Sync, say: Callable[[str], None]) -> None:
    say(f"sync to version {SECOND}: a recipe of three templates")
    recipe = {"id": "r-7", "name": f"Sync registry to {SECOND}", "url": "https://example.com/recipes/7"}
    facts = _facts("", "sync", ROBOT, trigger="automated")
    del facts["template"]
    with client.recipe(recipe, run_id=RECIPE_RUN, **facts) as own:
        children = (
            ("create", "Create new airports", sync.created),
            ("update", "Update changed airports", sync.updated),
            ("delete", "Delete closed airports", sync.deleted),
        )
        for action, template, airports in children:
            child = _facts(template, "sync", ROBOT, trigger="automated")
            with own.run(run_id=f"{RECIPE_RUN}-{action}", **child) as run:
                for code in sorted(airports):
                    _record(run, action, code, airports[code])


def _record(run: Any, action: str, code: str, airport: Any) -> None:
    if action == "create":
        run.created(code, after=airport, **_shown(airport))
    elif action == "delete":
        run.deleted(code, before=airport, **_shown(airport))
    else:
        before, after = airport
        run.updated(code, before=before, after=after, link=f"{SITE}/{code}")


def _check_codes(client: Client, first: dict[str, Airport], sync: Sync, say: Callable[[str], None]) -> None:
    say("a run with failed records: the registry refuses some of them")
    facts = _facts("Check IATA codes", "cleanse", STEWARD)
    with client.run(run_id=FAILED_RECORDS_RUN, **facts) as run:
        for code in sorted(first)[:400]:
            if code in sync.deleted:
                run.failed(code, "The airport is closed: its record cannot be written.", after={"iata": "XXX"})
            else:
                run.unmodified(code, link=f"{SITE}/{code}")
        run.failed(None, "Line 401 of the list names no airport.", action="create")


def _die(client: Client, say: Callable[[str], None]) -> None:
    say("a run that dies of a system error")
    try:
        with client.run(run_id=DEAD_RUN, **_facts("Nightly clean-up", "cleanse", ROBOT, trigger="automated")):
            raise QuotaExhausted("The registry allows 10,000 calls a day; none are left.")
    except QuotaExhausted:
        pass


def _facts(template: str, module: str, user: dict[str, str], trigger: str = "manual") -> dict[str, Any]:
    identity = template.lower().replace(" ", "-")
    return {
        "app": APP,
        "module": module,
        "object_type": "airport",
        "template": {"id": identity, "name": template, "url": f"https://example.com/templates/{identity}"},
        "user": user,
        "trigger": trigger,
    }


def _shown(airport: Airport) -> dict[str, str]:
    return {"label": airport["name"], "link": f"{SITE}/{airport['icao']}"}
