"""Does the tracker page stay as quick when there are a hundred times as many runs?

Two accounts of one database, 2,000 and 200,000 runs of the same distribution; the page is asked through the application
itself (session check, queries, rendering), small and large in turn. For each filter, each order and several depths: p95
of the large over p95 of the small. A case over the goal is measured again, twice at most, since a neighbour's burst
looks the same as a slow page; its lowest ratio counts.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from urllib.parse import urlencode
from uuid import UUID

from flask.testing import FlaskClient

from api.app import create_app
from api.sign_in import COOKIE
from benchmarks.setting import conclude, fresh_database, new_account, seconds, services_on
from bootstrap import Services
from ledger.domain.operation import App, Operation, Saved, User
from ledger.domain.run import Run
from ledger.domain.tally import Tally
from ledger.ids import run_stream_id
from ledger.settings import read_settings
from ledger.store.mapper import to_new_event
from ledger.store.recorder import Recorder
from ledger.store.rows import NewEvent
from projections.runner import project_once
from projections.tracker.view import SORTS

SMALL, LARGE = 2_000, 200_000
SAMPLES, AGAIN_MAX = 40, 2
RARE_RUNS, ZERO_SHARE = 66, 0.06
"""Runs with a rare value; the share of runs in which nothing succeeded, which fill a page at both sizes too."""
DEEP_PAGE, VISIBLE = 200, 0.8
"""Runs on a deep page; the share of runs that are surely shown, so that the deepest page is full at both sizes."""
APPEND_EVENTS = 6_000
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
GOALS = {"worst": "<= 1.5"}

FILTERS: dict[str, dict[str, str]] = {
    "none": {},
    "text in a common template": {"text": "phone"},
    "text in a rare template": {"text": "rare thing 7"},
    "text nowhere": {"text": "no such text"},
    "text of a Run ID": {"text": "run-000012"},
    "object type, common": {"object_type": "contact"},
    "object type, rare": {"object_type": "ticket"},
    "template, common": {"template": "Format phones"},
    "template, rare": {"template": "Rare thing 7"},
    "app": {"app": "HubSpot"},
    "module": {"module": "cleanse"},
    "user, common": {"user": "User 1"},
    "user, rare": {"user": "Rare user"},
    "previews": {"mode": "preview"},
    "all modes": {"mode": "all"},
    "trigger": {"trigger": "automated"},
    "finished": {"status": "finished"},
    "failed": {"status": "failed"},
    "recipes": {"kind": "recipe"},
    "children of a recipe": {"recipe_run_id": "run-0000040"},
    "days": {"from": "2026-01-02", "to": "2026-01-03"},
    "with failures": {"has_failures": "true"},
    "zero succeeded": {"zero_succeeded": "true"},
    "undone": {"undo_state": "undone"},
    "several": {"object_type": "contact", "trigger": "automated", "has_failures": "true"},
    "several that hardly a run passes": {"kind": "recipe", "zero_succeeded": "true"},
}
DEPTHS = (0.1, 0.5, 0.9)


def main() -> None:
    with fresh_database() as urls, services_on(urls) as services:
        clients = {}
        for size in (SMALL, LARGE):
            account = new_account(services, f"runs-{size}")
            print(f"making {size:,} runs ...", flush=True)
            fill(services, account, size)
            clients[size] = signed_in_client(services, account)
        ratios = {}
        for name, addresses in cases(clients):
            found = [ratio(clients, addresses)]
            while found[-1] > 1.5 and len(found) <= AGAIN_MAX:
                found.append(ratio(clients, addresses))
            ratios[name] = min(found)
            print(f"{ratios[name]:5.2f}  {name}", flush=True)
    conclude("tracker_page", {"worst": max(ratios.values())}, GOALS, cases=len(ratios), worst_case=worst(ratios))


def worst(ratios: dict[str, float]) -> str:
    return max(ratios, key=lambda name: ratios[name])


def fill(services: Services, account_id: UUID, size: int) -> None:
    """Runs of one distribution, whatever their number, and their rows in the tracker."""
    recorder, events = Recorder(services.database, account_id), list[NewEvent]()
    chance = random.Random(size)
    for number in range(size):
        events += run_events(account_id, number, size, chance)
        if len(events) >= APPEND_EVENTS or number == size - 1:
            recorder.append(events)
            events = []
    project_once(services.database, account_id)


def run_events(account_id: UUID, number: int, size: int, chance: random.Random) -> list[NewEvent]:
    run_id = f"run-{number:07}"
    start = BEGIN + timedelta(days=10) * (number / size)
    run = Run.start(
        run_stream_id(account_id, run_id),
        run_id=run_id,
        operation=operation(number, size, chance),
        started_at=start,
        timestamp=start,
    )
    end = start + timedelta(seconds=chance.expovariate(1 / 60))
    if run.operation.kind == "run":
        failed = chance.choice((0, 0, 0, 0, 0, 0, 0, 0, 3, 40))
        tally = Tally(updated=int(chance.expovariate(1 / 500)) + 1, created=int(chance.random() * 9), failed=failed)
        run.record_changes(0, Tally(failed=failed) if chance.random() < ZERO_SHARE else tally, end)
    if chance.random() < 0.03:
        run.fail("quota_exhausted", "The daily limit was reached.", end, end)
    elif chance.random() < 0.999:
        run.finish(end, end)
    return [to_new_event(event) for event in run.collect_events()]  # type: ignore[arg-type]


def operation(number: int, size: int, chance: random.Random) -> Operation:
    """One in 40 runs is a recipe, the five after it are its children. Rare values are those of RARE_RUNS runs, spread
    over all: a page full at both sizes, so that the pages differ in nothing but how much lies around their rows."""
    place = number % 40
    rare = number % (size // RARE_RUNS) == 7
    template = "Rare thing 7" if rare else chance.choice(("Format phones", "Merge twins", "Import"))
    return Operation(
        kind="recipe" if place == 0 else "run",
        mode="preview" if chance.random() < 0.1 else "update",
        trigger=chance.choice(("manual", "automated")),
        app=App(chance.choice(("HubSpot", "Salesforce", "Pipedrive"))),
        module=chance.choice(("cleanse", "merge", "import", "associate")),
        object_type="ticket" if rare else chance.choice(("contact", "contact", "company", "deal")),
        template=Saved(name=template),
        user=User(name="Rare user" if rare else f"User {chance.randrange(12)}"),
        recipe_run_id=f"run-{number - place:07}" if 1 <= place <= 5 else None,
    )


def signed_in_client(services: Services, account_id: UUID) -> FlaskClient:
    client = create_app(services, read_settings(environment={"LEDGER_LOG_LEVEL": "warning"})).test_client()
    client.set_cookie(COOKIE, services.tokens(account_id).make("auditor", "benchmark")[0])
    return client


def cases(clients: dict[int, FlaskClient]) -> Iterator[tuple[str, dict[int, str]]]:
    """Each case: its name, and the address to ask at each size (they differ by the cursor only)."""
    for name, query in FILTERS.items():
        yield f"filter {name}", dict.fromkeys(clients, "/?" + urlencode(query))
        if name in ("user, rare", "object type, common", "with failures", "several"):
            for sort in ("duration_s", "failed", "updated"):
                address = "/?" + urlencode({**query, "sort": sort, "order": "desc"})
                yield f"filter {name} by {sort}", dict.fromkeys(clients, address)
    for sort in SORTS:
        for order in ("asc", "desc"):
            address = "/?" + urlencode({"sort": sort, "order": order})
            yield f"order {sort} {order}", dict.fromkeys(clients, address)
    for depth in DEPTHS:
        yield (
            f"depth {depth:.0%}",
            {size: deep(client, int(size * VISIBLE * depth)) for size, client in clients.items()},
        )


def deep(client: FlaskClient, runs_before: int) -> str:
    """The address of a page that begins about so many runs after the first, found as a reader would: page by page."""
    query, passed = {"page_size": str(DEEP_PAGE), "sort": "started_at", "order": "desc"}, 0
    while passed + DEEP_PAGE <= runs_before:
        page = client.get("/", query_string=query).text
        marker = "cursor="
        found = page.rsplit(marker, 1)
        if len(found) < 2 or 'rel="next"' not in page:
            break
        query["cursor"] = found[1].split("&", 1)[0].split('"', 1)[0]
        passed += DEEP_PAGE
    return "/?" + urlencode(query)


def ratio(clients: dict[int, FlaskClient], addresses: dict[int, str]) -> float:
    times: dict[int, list[float]] = {size: [] for size in clients}
    for size, client in clients.items():
        ask(client, addresses[size])
    for _ in range(SAMPLES):
        for size, client in clients.items():
            times[size].append(seconds(partial(ask, client, addresses[size])))
    return p95(times[max(times)]) / p95(times[min(times)])


def ask(client: FlaskClient, address: str) -> None:
    answer = client.get(address)
    assert answer.status_code == 200, answer.text[:500]


def p95(values: list[float]) -> float:
    return sorted(values)[int(len(values) * 0.95) - 1]


if __name__ == "__main__":
    main()
