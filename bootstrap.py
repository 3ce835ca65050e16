"""The composition root: settings to services. The one place that knows every concrete class."""

from __future__ import annotations

import gc
from dataclasses import dataclass
from uuid import UUID

from ledger.service import AccountLedger
from ledger.store.database import Database
from projections.records.reading import Records
from projections.reports.reading import Reports
from projections.run_changes.reading import RunChanges


def tune_process() -> None:
    """Prepares a long-running process for bulk work: what is loaded now is never searched for garbage again, and the
    search starts at 50,000 new objects instead of 700. A batch makes some 20,000 short-lived ones and no cycles;
    measured, the default thresholds cost a third of the append rate.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that api/ and cli/ may call, on one database."""

    database: Database

    def ledger(self, account_id: UUID) -> AccountLedger:
        """Recording, for one account."""
        return AccountLedger(self.database, account_id)

    def reports(self, account_id: UUID) -> Reports:
        """Each run's changes with their before and after, as CSV, XLSX or NDJSON."""
        return Reports(self.database, account_id)

    def run_changes(self, account_id: UUID) -> RunChanges:
        """Paging inside a run, search across runs."""
        return RunChanges(self.database, account_id)

    def records(self, account_id: UUID) -> Records:
        """Records: state, history and blame at any moment."""
        return Records(self.database, account_id)

    def close(self) -> None:
        self.database.close()


def connect(service_url: str, *, pool_size_max: int = 10) -> Services:
    """Services on a migrated database. Raises Unavailable when it does not answer."""
    return Services(Database(service_url, pool_size_max=pool_size_max).open())
