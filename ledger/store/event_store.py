"""The account's event store: Run aggregates in and out, and batches of changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from uuid import UUID

from eventsourcing.application import AggregateNotFoundError, Repository
from eventsourcing.persistence import EventStore, IntegrityError

from ledger.domain.run import Run
from ledger.errors import NotFound
from ledger.ids import run_stream_id
from ledger.store.database import Database
from ledger.store.mapper import LedgerMapper, to_new_event
from ledger.store.recorder import Appended, Recorder
from ledger.store.rows import EventRow, NewEvent

__all__ = ["AccountStore", "IntegrityError"]


class AccountStore(EventStore[UUID]):
    """The library's event store, bound to one account."""

    recorder: Recorder

    def __init__(self, database: Database, account_id: UUID) -> None:
        super().__init__(LedgerMapper(), Recorder(database, account_id))
        self.account_id = account_id
        self._runs: Repository[UUID] = Repository(self)

    def find_run(self, run_id: str) -> Run | None:
        """The run as its events tell, None where there is none."""
        try:
            return self._runs.get(run_stream_id(self.account_id, run_id))
        except AggregateNotFoundError:
            return None

    def load_run(self, run_id: str) -> Run:
        """The run as its events tell. Raises NotFound."""
        run = self.find_run(run_id)
        if run is None:
            raise NotFound(f"There is no run {run_id} in this account.", run_id=run_id)
        return run

    def save(
        self, run: Run, changes: Sequence[NewEvent] = (), *, unmoved: Mapping[UUID, int] | None = None
    ) -> Appended:
        """Appends changes and, directly behind them, what is pending of their run: one transaction."""
        pending = [to_new_event(event) for event in run.collect_events()]  # type: ignore[arg-type]
        return self.recorder.append([*changes, *pending], unmoved=unmoved)

    def run_rows(self, run_id: str) -> list[EventRow]:
        """The rows of the run's own stream, in order."""
        return self.recorder.read_stream(run_stream_id(self.account_id, run_id))
