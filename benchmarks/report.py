"""How quickly, and in how much memory, does a run of 1,000,000 changes come out as CSV?

The limit beside it, in turn: psycopg alone reading the same events, all columns, in the binary form, 5,000 positions
at a time, into Python's values. Each is done by a process of its own, so that its peak memory is its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from uuid import UUID

import psycopg

import bootstrap
from benchmarks.setting import blocks_of, change_lines, conclude, fresh_database, middle, new_account, services_on
from ledger.domain.operation import Operation
from ledger.ids import account_id_of
from ledger.store.rows import EVENT_COLUMNS

CHANGES = 1_000_000
ROUNDS = 5
STEP = 50_000
RUN_ID = "benchmark"
ACCOUNT = "benchmark"
READ_ROWS = 5_000
MEMORY_MB_MAX = 200
GOALS = {"csv_to_read": ">= 0.333", "peak_mb": f"<= {MEMORY_MB_MAX}"}

_READ = (
    f"SELECT {EVENT_COLUMNS} FROM account_events WHERE position BETWEEN %s AND %s ORDER BY position"  # constants only
)


def main() -> None:
    with fresh_database() as urls:
        with services_on(urls) as services:
            _record(services, new_account(services, ACCOUNT))
        found: dict[str, list[dict[str, float]]] = {"read": [], "csv": [], "exact": [], "ndjson": []}
        for number in range(ROUNDS):
            for what in found if number == 0 else ("read", "csv"):
                found[what].append(_in_own_process(what, urls.service_url))
                print(f"{what:8} {found[what][-1]['rate']:10,.0f} changes/s  {found[what][-1]['peak_mb']:6.1f} MB peak")
    rates = {what: middle([one["rate"] for one in runs]) for what, runs in found.items()}
    ratios = {what + "_to_read": middle(_in_turn(found["read"], found[what])) for what in found if what != "read"}
    peak = max(one["peak_mb"] for what, runs in found.items() if what != "read" for one in runs)
    conclude(
        "report", ratios | {"peak_mb": peak}, GOALS, changes=CHANGES, rates={k: round(v) for k, v in rates.items()}
    )


def _in_turn(reads: list[dict[str, float]], reports: list[dict[str, float]]) -> list[float]:
    """Each report over the reading directly before it: a busy moment of the machine slows both."""
    return [report["rate"] / read["rate"] for read, report in zip(reads, reports, strict=False)]


def _record(services: bootstrap.Services, account_id: UUID) -> None:
    ledger = services.ledger(account_id)
    ledger.start_run(Operation(object_type="contact"), run_id=RUN_ID)
    for _ in range(CHANGES // STEP):
        ledger.record_changes(RUN_ID, blocks_of(change_lines(STEP)))
    ledger.finish_run(RUN_ID)


def _in_own_process(what: str, url: str) -> dict[str, float]:
    output = subprocess.run(
        [sys.executable, "-m", "benchmarks.report", what, url], check=True, capture_output=True, text=True
    ).stdout
    found: dict[str, float] = json.loads(output)
    return found


def _measure(what: str, url: str) -> None:
    """Reads everything once and prints the rate and this process's peak memory."""
    bootstrap.tune_process()
    start = time.perf_counter()
    number = _read_alone(url) if what == "read" else _read_report(what, url)
    rate = number / (time.perf_counter() - start)
    print(json.dumps({"rate": rate, "peak_mb": _peak_mb()}))


def _read_report(what: str, url: str) -> int:
    services = bootstrap.connect(url, pool_size_max=2)
    reports = services.reports(account_id_of(ACCOUNT))
    report = reports.open(
        RUN_ID, "ndjson" if what == "ndjson" else "csv", dialect="exact" if what == "exact" else "spreadsheet"
    )
    lines = sum(block.count(b"\n") for block in report.blocks)
    services.close()
    assert lines - (what != "ndjson") == CHANGES, f"{lines} lines"
    return CHANGES


def _read_alone(url: str) -> int:
    number = 0
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET ROLE ledger_service")
        while True:
            with connection.transaction():
                account = str(account_id_of(ACCOUNT))
                connection.execute("SELECT set_config('ledger.account_id', %s, true)", (account,))
                bounds = (number + 1, number + READ_ROWS)
                rows = connection.cursor(binary=True).execute(_READ, bounds).fetchall()
            number += len(rows)
            if len(rows) < READ_ROWS:
                return number


def _peak_mb() -> float:
    """This program's own peak. Not ru_maxrss, which a new process takes over from the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


if __name__ == "__main__":
    if len(sys.argv) == 3:
        _measure(*sys.argv[1:])
    else:
        main()
