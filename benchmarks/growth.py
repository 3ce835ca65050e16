"""Do appending and projecting stay as quick when the log grows from 100,000 events to 3,000,000?

COPY itself slows down with the size of the table (its indexes outgrow the caches), so each rate is divided by that of a
bare COPY into an equally large table at that moment. The quotient may grow 1.3 times at most.
"""

from __future__ import annotations

from functools import partial
from uuid import UUID

from benchmarks.setting import (
    CopyLimit,
    blocks_of,
    change_lines,
    conclude,
    fresh_database,
    middle,
    new_account,
    seconds,
    services_on,
)
from bootstrap import Services
from ledger.domain.operation import Operation
from projections.runner import project_once

SMALL, LARGE = 100_000, 3_000_000
PIECE = 50_000
"""Changes appended, projected and copied at a time."""
SAMPLES = 5
GOALS = {"append_growth": "<= 1.3", "project_growth": "<= 1.3"}


def main() -> None:
    body = change_lines(PIECE)
    with fresh_database() as urls, services_on(urls) as services:
        account = new_account(services, "growth")
        append(services, account, body)
        project_once(services.database, account)
        limit = CopyLimit(urls.owner_url, account)
        slowness: dict[int, tuple[float, float]] = {}
        for size in (SMALL, LARGE):
            fill(services, account, limit, size)
            slowness[size] = measure(services, account, limit, size)
        limit.close()
    ratios = {
        "append_growth": slowness[LARGE][0] / slowness[SMALL][0],
        "project_growth": slowness[LARGE][1] / slowness[SMALL][1],
    }
    conclude("growth", ratios, GOALS)


def fill(services: Services, account: UUID, limit: CopyLimit, size: int) -> None:
    """Brings the log, its views and the table that the bare COPY fills to `size` events."""
    while (head := services.ledger(account).store.recorder.max_notification_id() or 0) < size:
        append(services, account, change_lines(PIECE))
        project_once(services.database, account)
        if head // 500_000 != (head + PIECE) // 500_000:
            print(f"{head + PIECE:,} events", flush=True)
    limit.grow_to(size)


def measure(services: Services, account: UUID, limit: CopyLimit, size: int) -> tuple[float, float]:
    """How much longer than the bare COPY of as many rows appending and projecting take, medians of the samples."""
    appends, projects = [], []
    for _ in range(SAMPLES):
        body = change_lines(PIECE)
        copied = 1 / limit.measure_more()
        appended = seconds(partial(append, services, account, body)) / PIECE
        projected = seconds(lambda: project_once(services.database, account)) / PIECE
        appends.append(appended / copied)
        projects.append(projected / copied)
        print(
            f"at {size:,}: COPY {1 / copied:,.0f}/s, append {1 / appended:,.0f}/s, project {1 / projected:,.0f}/s",
            flush=True,
        )
    return middle(appends), middle(projects)


def append(services: Services, account: UUID, body: bytes) -> None:
    ledger = services.ledger(account)
    run = ledger.start_run(Operation(object_type="contact")).run
    ledger.record_changes(run.run_id, blocks_of(body), offset=0)
    ledger.finish_run(run.run_id)


if __name__ == "__main__":
    main()
