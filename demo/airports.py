"""Two dated versions of a real, maintained data set, and what its maintainers changed between them.

PyPI's `airportsdata` (MIT) keeps every dated version. Each of the two is installed into a folder of its own, so the
difference is real history, not ours.
"""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

PACKAGE = "airportsdata"
FIRST, SECOND = "20241001", "20260905"
CHANGED = {"created": 716, "deleted": 650, "updated": 12_766}
"""What the maintainers changed between the two versions, counted once by hand-written code: the demo's own check."""

Airport = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Sync:
    """The difference between two versions: new airports, gone ones, and changed ones with the fields that differ."""

    created: dict[str, Airport]
    deleted: dict[str, Airport]
    updated: dict[str, tuple[Airport, Airport]]


def load_version(folder: Path, version: str) -> dict[str, Airport]:
    """All airports of a version by ICAO code; numbers as decimals with the digits of the file."""
    place = folder / f"{PACKAGE}-{version}"
    source = place / PACKAGE / "airports.csv"
    if not source.exists():
        _install(place, version)
    with source.open(encoding="utf-8", newline="") as lines:
        return {row["icao"]: _typed(row) for row in csv.DictReader(lines)}


def difference(before: dict[str, Airport], after: dict[str, Airport]) -> Sync:
    """What must be created, deleted and updated to come from `before` to `after`."""
    return Sync(
        {code: after[code] for code in after.keys() - before.keys()},
        {code: before[code] for code in before.keys() - after.keys()},
        {
            code: _differing(before[code], after[code])
            for code in before.keys() & after.keys()
            if before[code] != after[code]
        },
    )


def _differing(before: Airport, after: Airport) -> tuple[Airport, Airport]:
    names = [name for name in after if before[name] != after[name]]
    return {name: before[name] for name in names}, {name: after[name] for name in names}


def _typed(row: dict[str, str]) -> Airport:
    numbers = ("elevation", "lat", "lon")
    return {name: Decimal(value) if name in numbers else value for name, value in row.items()}


def _install(place: Path, version: str) -> None:
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--disable-pip-version-check"]
    command += ["--target", str(place), f"{PACKAGE}=={version}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"pip could not fetch {PACKAGE} {version}; the demo needs it.\n{done.stderr.strip()}")
