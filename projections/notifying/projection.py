"""The fold of notifications: which runs a batch ends. No SQL here."""

from __future__ import annotations

from ledger.notifications.rules import EndedRun
from ledger.store.shapes import RunFailedShape, RunFinishedShape
from projections.events.batch import Batch


def fold(batch: Batch) -> list[EndedRun]:
    """In the order of the log."""
    return [
        EndedRun(
            row.run_id,
            batch.starts[row.run_id].operation,
            "finished" if isinstance(shape, RunFinishedShape) else "failed",
            shape.finished_at,
            row.position,
        )
        for row, shape in batch.run_facts
        if isinstance(shape, RunFinishedShape | RunFailedShape)
    ]
