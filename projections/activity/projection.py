"""The fold of activity_daily: counts by the day a run started on, its user and template. No SQL here."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, date
from typing import NamedTuple

from ledger.domain.tally import TALLY_COUNTS
from ledger.store.shapes import ChangesRecordedShape, RunFailedShape, RunStartedShape
from projections.events.batch import Batch, indexable


class DayKey(NamedTuple):
    """What a row of activity_daily counts."""

    day: date
    user: str
    template: str
    preview: bool


COUNTS = ("runs", "failed_runs", *TALLY_COUNTS)
ActivityRows = dict[DayKey, list[int]]
"""Each day's key to what the batch adds to its counts, in the order of COUNTS."""


def fold(batch: Batch) -> ActivityRows:
    rows: ActivityRows = defaultdict(lambda: [0] * len(COUNTS))
    for row, shape in batch.run_facts:
        start = batch.starts[row.run_id]
        if start.operation.kind == "recipe":
            continue
        counts = rows[_key(start)]
        if isinstance(shape, RunStartedShape):
            counts[0] += 1
        elif isinstance(shape, RunFailedShape):
            counts[1] += 1
        elif isinstance(shape, ChangesRecordedShape):
            for number, name in enumerate(TALLY_COUNTS, start=2):
                counts[number] += getattr(shape.tally, name)
    return rows


def _key(start: RunStartedShape) -> DayKey:
    what = start.operation
    return DayKey(
        start.started_at.astimezone(UTC).date(),
        indexable(what.user.shown if what.user else None),
        indexable(what.template.name or what.template.id if what.template else None),
        what.mode == "preview",
    )
