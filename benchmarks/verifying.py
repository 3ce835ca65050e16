"""How long verifying a log takes, against merely reading the same events.

In turn: the events are read as verifying reads them, window by window, with nothing done to them; then the log alone is
verified (events, leaves, tiles, heads, counts), then the views alone, then all of it as `ledger verify` does.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from benchmarks.setting import (
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
from ledger.access import Account
from ledger.domain.operation import Operation
from ledger.integrity.entries import WINDOW_EVENTS, read_sealed
from ledger.integrity.keys import make_log_keys
from ledger.integrity.signed_heads import SignedHeads
from ledger.integrity.verifying import signed_last, verify_log
from projections.verifying import find_view_faults

ROUNDS, RUNS, CHANGES = 5, 10, 10_000
GOALS = {"verify": "<= 3"}


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="ledger-bench-key-"))
    try:
        with fresh_database() as urls, services_on(urls) as services:
            signing = SignedHeads(folder, make_log_keys("benchmark.example/log"))
            ratios = measure(services, fill(services, signing), signing)
    finally:
        shutil.rmtree(folder)
    conclude("verifying", ratios, GOALS, events=RUNS * (CHANGES + 3))


def fill(services: Services, signing: SignedHeads) -> Account:
    """An account with runs, sealed and in all views."""
    ledger = services.ledger(new_account(services, "verify"))
    for _ in range(RUNS):
        run = ledger.start_run(Operation(object_type="contact")).run
        ledger.record_changes(run.run_id, blocks_of(change_lines(CHANGES)), offset=0)
        ledger.finish_run(run.run_id)
    account = services.accounts().find("verify")
    services.account_sealer(account, signing).seal()
    services.project_once(account.account_id)
    return account


def measure(services: Services, account: Account, signing: SignedHeads) -> dict[str, float]:
    """Each part over reading, middles of some rounds."""
    database, account_id = services.database, account.account_id
    trusted = signing.keys.trusted(account.name)
    heads = signed_last(signing, account_id, account.name)
    ratios: dict[str, list[float]] = {"log": [], "views": [], "verify": []}
    for _ in range(ROUNDS):
        reading = seconds(lambda: read(services, account))
        log = seconds(lambda: verify_log(database, account_id, trusted, heads))
        views = seconds(lambda: find_view_faults(database, account_id))
        whole = seconds(lambda: verify(services, account, signing))
        for name, took in (("log", log), ("views", views), ("verify", whole)):
            ratios[name].append(took / reading)
        print(f"reading {reading:.2f} s  log {log:.2f} s  views {views:.2f} s  all {whole:.2f} s", flush=True)
    return {name: middle(each) for name, each in ratios.items()}


def read(services: Services, account: Account) -> None:
    for after in range(0, account.head, WINDOW_EVENTS):
        with services.database.transaction(account.account_id) as connection:
            read_sealed(connection, after, after + WINDOW_EVENTS)


def verify(services: Services, account: Account, signing: SignedHeads) -> None:
    heads = signed_last(signing, account.account_id, account.name)
    verdict = services.verify(account, signing.keys.trusted(account.name), heads)
    assert verdict.findings == [], verdict.findings


if __name__ == "__main__":
    main()
