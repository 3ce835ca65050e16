"""Follows the log as the views do, and adds to the queue instead of filling a table.

Jobs and tracking position are written in one transaction: each run that ended gives each rule's jobs exactly once,
through crashes too. Nothing is rebuilt here: what was told once is not told again.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.jobs.queue import add_jobs
from ledger.notifications.rules import EndedRun, jobs_of, may_match, read_rules
from projections.events.batch import Batch
from projections.notifying.projection import fold


class NotificationsFollower:
    """Adds the jobs that tell of runs that ended."""

    name = "notifications"

    def fold(self, batch: Batch) -> list[EndedRun]:
        return fold(batch)

    def write(self, connection: Connection[Any], account_id: UUID, generation: int, rows: list[EndedRun]) -> None:  # noqa: ARG002 - there is one generation
        if not rows:
            return
        rules = read_rules(connection, account_id)
        jobs = (job for run in rows for rule in rules if may_match(rule, run) for job in jobs_of(rule, run))
        add_jobs(connection, account_id, jobs)

    def remove(self, connection: Connection[Any], account_id: UUID, generation: int, limit: int) -> int:  # noqa: ARG002
        return 0
