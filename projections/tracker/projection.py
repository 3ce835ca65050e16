"""The fold of the tracker: what a batch adds to the rows of its runs, and of the recipes above them. No SQL here."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

import msgspec

from ledger.domain.operation import Operation, Saved
from ledger.domain.run import Status
from ledger.domain.tally import Tally
from ledger.store.shapes import (
    ChangesRecordedShape,
    RunFailedShape,
    RunFinishedShape,
    RunStartedShape,
    Shape,
    UndoBegunShape,
    UndoEndedShape,
    UndoReversedShape,
)
from projections.events.batch import Batch, indexable

_ENCODER = msgspec.json.Encoder()


@dataclass(slots=True)
class RunDelta:
    """What a batch tells of one run."""

    position: int = 0
    tally: Tally = field(default_factory=Tally)
    start: RunStartedShape | None = None
    """Set where the run began in this batch."""
    facts: bytes = b""
    """The payload of that beginning."""
    status: Status | None = None
    """Set where it ended in this batch; so with the next two."""
    finished_at: datetime | None = None
    error: bytes | None = None
    """JSON of code and message."""
    undone_by: str | None = None
    """Set, to a Run ID or to nothing, where that changed in this batch; so with the next one."""
    undo_under_way: str | None = None


class TouchedType(NamedTuple):
    """A row of tracker_types."""

    object_type: str
    preview: bool
    started_at: datetime
    run_id: str


class FacetValue(NamedTuple):
    """A row of tracker_values."""

    facet: str
    value: str


@dataclass(slots=True)
class TrackerRows:
    """What a batch adds to the tracker."""

    runs: dict[str, RunDelta] = field(default_factory=dict)
    types: set[TouchedType] = field(default_factory=set)
    values: set[FacetValue] = field(default_factory=set)


def fold(batch: Batch) -> TrackerRows:
    """Counts come from changes-recorded events alone; a recipe's are the sums of its children's."""
    rows = TrackerRows()
    for row, shape in batch.run_facts:
        delta = rows.runs.setdefault(row.run_id, RunDelta())
        delta.position = row.position
        if isinstance(shape, RunStartedShape):
            delta.start, delta.facts = shape, row.payload or b""
            rows.values.update(_values_of(shape.operation))
            if shape.operation.object_type:
                _touch(rows, batch, row.run_id, shape.operation.object_type)
        elif isinstance(shape, ChangesRecordedShape):
            for run_id in batch.lineage(row.run_id):
                counted = rows.runs.setdefault(run_id, RunDelta())
                counted.tally += shape.tally
                counted.position = row.position
        elif isinstance(shape, RunFinishedShape):
            delta.status, delta.finished_at = "finished", shape.finished_at
        elif isinstance(shape, RunFailedShape):
            delta.status, delta.finished_at = "failed", shape.finished_at
            delta.error = _ENCODER.encode({"code": shape.code, "message": shape.message})
        else:
            _take_undo(delta, shape)
    for run_id, object_type in {(change.row.run_id, change.shape.object_type) for change in batch.changes}:
        if object_type:
            _touch(rows, batch, run_id, object_type)
    return rows


def _take_undo(delta: RunDelta, shape: Shape) -> None:
    """What an event tells of undos of the run; nothing if it is of another kind."""
    if isinstance(shape, UndoBegunShape):
        delta.undo_under_way = shape.undo_run_id
    elif isinstance(shape, UndoEndedShape):
        delta.undo_under_way = ""
        delta.undone_by = shape.undo_run_id if shape.is_whole else delta.undone_by
    elif isinstance(shape, UndoReversedShape):
        delta.undone_by = ""


def shown_saved(saved: Saved | None) -> str:
    """A template or recipe as the tracker sorts and filters it."""
    return indexable(saved.name or saved.id if saved else None)


def shown_user(operation: Operation) -> str:
    return indexable(operation.user.shown if operation.user else None)


def shown_app(operation: Operation) -> str:
    return indexable(operation.app.name if operation.app else None)


def fold_case(text: str) -> str:
    """Text as it is compared when case does not matter."""
    return text.casefold()


def _touch(rows: TrackerRows, batch: Batch, run_id: str, object_type: str) -> None:
    name = indexable(object_type)
    rows.values.add(FacetValue("object_type", name))
    for above in batch.lineage(run_id):
        start = batch.starts[above]
        rows.types.add(TouchedType(name, start.operation.mode == "preview", start.started_at, above))


def _values_of(operation: Operation) -> list[FacetValue]:
    found = {
        "template": shown_saved(operation.template),
        "app": shown_app(operation),
        "module": indexable(operation.module),
        "user": shown_user(operation),
    }
    return [FacetValue(facet, value) for facet, value in found.items() if value]
