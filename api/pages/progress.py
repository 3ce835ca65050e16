"""How far a running run is."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from ledger.json_text import split_fields
from projections.tracker.view import TrackerRow

DIGITS_MAX = 15


class Progress(NamedTuple):
    """`total`: what the producer said it would process (`details.total` of the run); None where it did not."""

    processed: int
    total: int | None
    rate: float
    """Changes a second since the run began."""

    @property
    def percent(self) -> int | None:
        return None if not self.total else min(100, 100 * self.processed // self.total)


def progress_of(row: TrackerRow, now: datetime) -> Progress | None:
    """None for a run that has ended."""
    if row.status != "running":
        return None
    seconds = max(1.0, (now - row.started_at).total_seconds())
    return Progress(row.tally.processed, _total(row.operation.details), row.tally.processed / seconds)


def _total(details: bytes | None) -> int | None:
    digits = split_fields(details).get("total", b"")
    return int(digits) if digits.isdigit() and len(digits) <= DIGITS_MAX else None
