"""The demo's proof: the states that the ledger tells equal the two published versions, field by field."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from demo.airports import CHANGED, Airport, Sync
from demo.server import LedgerCommand
from demo.story import DEAD_RUN, FAILED_RECORDS_RUN, FIRST_RUN, PREVIEW_RUN, RECIPE_RUN

ALL_RUNS = {FIRST_RUN, PREVIEW_RUN, RECIPE_RUN, FAILED_RECORDS_RUN, DEAD_RUN} | {
    f"{RECIPE_RUN}-{action}" for action in ("create", "update", "delete")
}


def find_faults(ledger: LedgerCommand, first: dict[str, Airport], second: dict[str, Airport], sync: Sync) -> list[str]:
    """Everything that is not as it must be; empty when all is well."""
    counted = {name: len(getattr(sync, name)) for name in CHANGED}
    faults = [] if counted == CHANGED else [f"the versions differ by {counted}, expected {CHANGED}"]
    faults += _compare("after the first import", _states(ledger, "--after-run", FIRST_RUN), first)
    faults += _compare("before the sync", _states(ledger, "--before-run", RECIPE_RUN), first)
    faults += _compare("after the sync", _states(ledger, "--after-run", RECIPE_RUN), second)
    faults += _compare("now", _states(ledger), second)
    return faults + _check_runs(ledger, counted)


def _states(ledger: LedgerCommand, *moment: str) -> dict[str, Airport]:
    lines = ledger.lines("states", "airport", *moment, "--ndjson")
    records = (json.loads(line, parse_float=Decimal, parse_int=Decimal) for line in lines)
    return {record["record_id"]: record["fields"] for record in records}


def _compare(moment: str, found: dict[str, Airport], expected: dict[str, Airport]) -> list[str]:
    wrong = [code for code in found.keys() | expected.keys() if found.get(code) != expected.get(code)]
    print(f"state {moment}: {len(found):,} airports, {len(wrong)} differ from the published version", flush=True)
    return [f"{moment}: {code} is {found.get(code)}, expected {expected.get(code)}" for code in sorted(wrong)[:5]]


def _check_runs(ledger: LedgerCommand, counted: dict[str, int]) -> list[str]:
    rows = {row["run_id"]: row for row in map(json.loads, ledger.lines("runs", "--mode", "all", "--ndjson"))}
    faults = [f"run {run_id} is not in the tracker" for run_id in sorted(ALL_RUNS - rows.keys())]
    if faults:
        return faults
    expectations: dict[str, Any] = {
        "the recipe's tally": ({name: rows[RECIPE_RUN]["tally"][name] for name in counted}, counted),
        "the run that died": (rows[DEAD_RUN]["status"], "failed"),
        "its report": (rows[DEAD_RUN]["has_report"], False),
        "the failed records": (rows[FAILED_RECORDS_RUN]["tally"]["failed"] > 0, True),
        "the preview's mode": (rows[PREVIEW_RUN]["mode"], "preview"),
    }
    return [f"{what}: {found}, expected {due}" for what, (found, due) in expectations.items() if found != due]
