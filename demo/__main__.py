"""`python -m demo [--check]`: plays the history; then shows it and serves the page, or checks it and ends."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from demo.airports import FIRST, SECOND, difference, load_version
from demo.bad_run import play_bad_run
from demo.check import find_faults
from demo.proof import show_proof
from demo.server import LedgerCommand
from demo.story import play
from demo.tour import show
from ledger.client import Client

FOLDER = Path(".demo")
PORT = 8321


def main() -> int:
    """Exit status 0 when all is as it must be, 1 when the check finds a fault."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--check", action="store_true", help="compare the states with the published data")
    parser.add_argument("--folder", type=Path, default=FOLDER, help="where data and database are kept (%(default)s)")
    parser.add_argument("--port", type=int, default=PORT, help="where the page is served (%(default)s)")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)

    print(f"Fetching versions {FIRST} and {SECOND} of PyPI's airportsdata ...", flush=True)
    first, second = (load_version(chosen.folder, version) for version in (FIRST, SECOND))
    sync = difference(first, second)
    home = (chosen.folder / "ledger").resolve()
    ledger = LedgerCommand(home)
    ledger.text("migrate")
    tokens = ledger.make_tokens()
    with ledger.serving(0 if chosen.check else chosen.port) as (url, server):
        started = time.monotonic()
        with Client(url, tokens["producer"]) as client:
            play(client, first, sync, lambda text: print(f"- {text}", flush=True))
        print(f"Recorded through {url} in {time.monotonic() - started:.1f} s", flush=True)
        show(ledger, sync)
        faults = play_bad_run(ledger, home)
        show_proof(ledger, home)
        if chosen.check:
            return _report(faults + find_faults(ledger, first, second, sync))
        print(f"\nThe Activity Tracker: {url}/\nSign in with one of these tokens (made for this demo):")
        for role, token in tokens.items():
            print(f"  {role:9} {token}")
        print("Ctrl-C stops it.", flush=True)
        try:
            server.wait()
        except KeyboardInterrupt:
            print("\nStopping ...")
    return 0


def _report(faults: list[str]) -> int:
    for fault in faults:
        print(f"FAULT {fault}", file=sys.stderr)
    print("demo check failed" if faults else "demo check passed: every state equals the published data")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
