"""All projections."""

from __future__ import annotations

from typing import Any

from projections.activity.postgres import ActivityProjection
from projections.port import Projection
from projections.records.postgres import RecordsProjection
from projections.run_changes.postgres import RunChangesProjection
from projections.tracker.filling.postgres import TrackerProjection

PROJECTIONS: tuple[Projection[Any], ...] = (
    TrackerProjection(),
    RunChangesProjection(),
    RecordsProjection(),
    ActivityProjection(),
)
PROJECTION_NAMES = tuple(projection.name for projection in PROJECTIONS)
