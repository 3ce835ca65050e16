"""Do the projections keep up? Their rate, all of them together, beside a bare COPY of the same events.

The goal is a quarter of the COPY's rate: appending reaches about half of it, and is seldom done at full speed.
"""

from __future__ import annotations

from functools import partial

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
from ledger.domain.operation import App, Operation, Saved, User
from projections.runner import project_once

CHANGES = 100_000
SAMPLES = 5
GOALS = {"follow_of_copy": ">= 0.25"}


def main() -> None:
    operation = Operation(
        app=App("HubSpot"), object_type="contact", template=Saved(name="Tidy"), user=User(name="Ann Example")
    )
    follow: list[float] = []
    copy: list[float] = []
    with fresh_database() as urls, services_on(urls) as services:
        for sample in range(SAMPLES):
            account = new_account(services, f"follow-{sample}")
            ledger = services.ledger(account)
            run_id = ledger.start_run(operation).run.run_id
            ledger.record_changes(run_id, blocks_of(change_lines(CHANGES)))
            ledger.finish_run(run_id)
            limit = CopyLimit(urls.owner_url, account)
            before = limit.measure()
            taken = seconds(partial(project_once, services.database, account))
            assert services.tracker(account).get_run(run_id).tally.processed == CHANGES
            copy.append((before + limit.measure()) / 2)
            follow.append(limit.rows / taken)
            limit.close()
            print(f"projections {follow[-1]:10,.0f} events/s   bare COPY {copy[-1]:10,.0f} events/s", flush=True)
    ratio = middle([mine / bare for mine, bare in zip(follow, copy, strict=True)])
    conclude("follow", {"follow_of_copy": ratio}, GOALS, events_per_s=round(middle(follow)))


if __name__ == "__main__":
    main()
