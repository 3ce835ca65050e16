"""What the demo shows: the commands a newcomer would try first, and what they print."""

from __future__ import annotations

from itertools import islice

from demo.airports import Sync
from demo.server import LedgerCommand
from demo.story import FIRST_RUN, RECIPE_RUN

REPORT_LINES = 6


def show(ledger: LedgerCommand, sync: Sync) -> None:
    """Prints the tour."""
    code = min(code for code, (before, _) in sync.updated.items() if len(before) > 1)
    _step(ledger, "The Activity Tracker: one row a run", "runs", "--mode", "all")
    _step(ledger, "One run", "show", f"{RECIPE_RUN}-update")
    _step(ledger, "Its before/after report", "report", f"{RECIPE_RUN}-update", lines=REPORT_LINES)
    _step(ledger, "One record's history", "history", "airport", code)
    _step(ledger, "Who wrote each of its fields", "blame", "airport", code)
    _step(ledger, "The record now", "state", "airport", code)
    _step(ledger, "The record as the first import left it", "state", "airport", code, "--after-run", FIRST_RUN)


def _step(ledger: LedgerCommand, title: str, *arguments: str, lines: int | None = None) -> None:
    print(f"\n{title}\n$ ledger {' '.join(arguments)}", flush=True)
    text = ledger.text(*arguments).splitlines()
    for line in islice(text, lines):
        print(line[:200])
    if lines is not None and len(text) > lines:
        print(f"... {len(text) - lines:,} more lines")
