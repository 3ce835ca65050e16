"""The proof: the signed head of the demo's log, and everything recomputed from it."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

from demo.server import LedgerCommand


def show_proof(ledger: LedgerCommand, home: Path) -> None:
    """Prints what an auditor would type. Ends the program where the log is not what was signed."""
    _step(
        ledger,
        "The signed head of the log: whoever keeps a copy can tell if history is ever changed",
        "log",
        "checkpoint",
    )
    _step(ledger, "Recompute it all: events, tree, heads, counts, views", "verify", "--state", str(home / "verified"))


def _step(ledger: LedgerCommand, title: str, *arguments: str) -> None:
    typed = " ".join(takewhile(lambda argument: not argument.startswith("--"), arguments))
    print(f"\n{title}\n$ ledger {typed}", flush=True)
    print(ledger.text(*arguments), end="", flush=True)
