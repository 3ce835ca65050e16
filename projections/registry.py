"""All projections, and what else follows the log."""

from __future__ import annotations

from typing import Any

from projections.activity.postgres import ActivityProjection
from projections.notifying.postgres import NotificationsFollower
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
FOLLOWERS: tuple[Projection[Any], ...] = (*PROJECTIONS, NotificationsFollower())
"""With what has no view of its own: it is moved on with the others, but nobody reads it and nothing is rebuilt."""
FOLLOWER_NAMES = tuple(follower.name for follower in FOLLOWERS)
