"""Runs and reports, for whoever tells of them."""

from __future__ import annotations

from uuid import UUID

from ledger.errors import NotFound, Unavailable
from ledger.integrity.signed_log import SignedLog
from ledger.notifications.told import ToldRun
from ledger.store.database import Database
from projections.progress import wait_for
from projections.reports.reading import Report, Reports
from projections.tracker.postgres import Tracker

WAIT_S = 2.0
"""The tracker is moved on together with what added the job; a worker that must wait longer tries again later."""


class NotifiedRuns:
    """The runs of all accounts, from the tracker."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def run(self, account_id: UUID, run_id: str, position: int) -> ToldRun:
        """The run as of its end. Raises NotCaughtUp."""
        wait_for(self._database, account_id, position, WAIT_S, names=["tracker"])
        row = Tracker(self._database, account_id).get_run(run_id)
        if row.finished_at is None:
            raise Unavailable(f"The tracker does not show the end of run {run_id} yet.")
        return ToldRun(
            run_id=row.run_id, operation=row.operation, status=row.status, tally=row.tally, error=row.error,
            started_at=row.started_at, finished_at=row.finished_at, has_report=row.has_report, document=row.as_dict(),
        )  # fmt: skip

    def report(self, account_id: UUID, run_id: str) -> Report:
        """As CSV for spreadsheets. Raises NoReport."""
        return Reports(self._database, account_id).open(run_id)

    def checkpoint(self, account_id: UUID) -> str | None:
        """With the cosignatures that it has already."""
        try:
            return SignedLog(self._database, account_id).checkpoint().note
        except NotFound:
            return None
