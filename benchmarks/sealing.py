"""How much sealing costs those who append, and whether proofs get slower as the log grows.

The same changes go through the service in turn with sealing on and off. A `ledger seal --follow` process stands beside
both times; where sealing is off it is stopped (SIGSTOP), and catches up afterwards, outside the measure. Told too: how
long after the last append of a measured round the log was under a signed head. Proofs are made in turn in a log of
1,000 and one of 1,000,000 events.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
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
from ledger.embedded import DatabaseUrls
from ledger.errors import NotFound
from ledger.integrity.keys import make_log_keys, write_keys
from ledger.integrity.signed_heads import SignedHeads

ROUNDS, CHANGES = 7, 50_000
SMALL, LARGE = 1_000, 1_000_000
PROOFS = 300
GOALS = {"sealing_on": ">= 0.75", "proof_p99": "<= 3"}


def main() -> None:
    folder = Path(tempfile.mkdtemp(prefix="ledger-bench-key-"))
    try:
        with fresh_database() as urls, services_on(urls) as services:
            keys = make_log_keys("benchmark.example/log")
            write_keys(folder / "log.key", keys)
            ratio, wait_s = measure_appends(urls, services, folder)
            p99 = measure_proofs(services, SignedHeads(folder / "log-heads", keys))
    finally:
        shutil.rmtree(folder)
    conclude("sealing", {"sealing_on": ratio, "proof_p99": p99}, GOALS, signed_after_s=round(wait_s, 2))


def measure_appends(urls: DatabaseUrls, services: Services, folder: Path) -> tuple[float, float]:
    """On over off, and how long until the last append was signed: medians."""
    body = change_lines(CHANGES)
    new_account(services, "append")
    account = services.accounts().find("append")
    append(services, account, body)  # not counted
    ratios: list[float] = []
    waits: list[float] = []
    with sealing(urls, folder) as sealer:
        wait_until_signed(services, account)
        for _ in range(ROUNDS):
            on = append(services, account, body)
            waits.append(seconds(lambda: wait_until_signed(services, account)))
            sealer.send_signal(signal.SIGSTOP)
            off = append(services, account, body)
            sealer.send_signal(signal.SIGCONT)
            wait_until_signed(services, account)
            ratios.append(on / off)
            print(f"on {on:,.0f}/s  off {off:,.0f}/s  signed after {waits[-1]:.2f} s", flush=True)
    return middle(ratios), middle(waits)


def append(services: Services, account: Account, body: bytes) -> float:
    """Changes a second, a run of its own."""
    ledger = services.ledger(account.account_id)
    run = ledger.start_run(Operation(object_type="contact")).run
    took = seconds(lambda: ledger.record_changes(run.run_id, blocks_of(body), offset=0))
    ledger.finish_run(run.run_id)
    return body.count(b"\n") / took


@contextmanager
def sealing(urls: DatabaseUrls, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A process that seals."""
    chosen = {"LEDGER_DATABASE_URL": urls.service_url, "LEDGER_LOG_KEY_FILE": str(folder / "log.key")}
    command = [sys.executable, "-m", "cli.main", "-q", "seal", "--follow"]
    with subprocess.Popen(command, env={**os.environ, **chosen}) as process:
        try:
            yield process
        finally:
            process.terminate()


def wait_until_signed(services: Services, account: Account) -> None:
    head = services.accounts().find(account.name).head
    while signed_size(services, account) < head:
        time.sleep(0.02)


def signed_size(services: Services, account: Account) -> int:
    with suppress(NotFound):  # nothing was signed yet
        return services.signed_log(account).checkpoint().size
    return 0


def measure_proofs(services: Services, signing: SignedHeads) -> float:
    """The 99th percentile of a proof in the large log over that in the small one."""
    logs = {}
    for name, size in (("small", SMALL), ("large", LARGE)):
        new_account(services, name)
        account = services.accounts().find(name)
        for _ in range(max(1, size // 100_000)):
            append(services, account, change_lines(min(size, 100_000)))
        services.account_sealer(account, signing).seal()
        logs[name] = services.signed_log(account)
    times: dict[str, list[float]] = {name: [] for name in logs}
    for _ in range(PROOFS):
        for name, size in (("small", SMALL), ("large", LARGE)):
            position = random.randrange(1, size)
            times[name].append(seconds(lambda log=logs[name], position=position: log.proof(position)))  # type: ignore[misc]
    p99 = {name: sorted(each)[int(len(each) * 0.99)] for name, each in times.items()}
    print("  ".join(f"{name} {1000 * each:.1f} ms" for name, each in p99.items()), flush=True)
    return p99["large"] / p99["small"]


if __name__ == "__main__":
    main()
