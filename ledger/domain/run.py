"""The Run aggregate: guards what may happen to a run, in what order.

Its events are the run stream. The changes themselves are record events (ledger.domain.record) appended in the same
transaction as the `changes-recorded` event that counts them, so the run stream alone gives progress, tally and the
offset to resume from.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal
from uuid import UUID

from eventsourcing.domain import Aggregate

from ledger.domain.operation import Operation
from ledger.domain.tally import Tally
from ledger.errors import Conflict, OffsetTooHigh, RunEnded

Status = Literal["running", "finished", "failed"]


@dataclass(frozen=True, slots=True)
class SystemFault:
    """Why a run died: the producer's code and text for it (API quota exhausted, automation failed)."""

    code: str
    message: str


class Run(Aggregate):
    """One execution of an operation."""

    TOPIC = "run"

    class Event(Aggregate.Event):
        """A fact about the run as a whole."""

        run_id: str

    class Created(Event, Aggregate.Created):
        """The run began. `digest` is the SHA-256 of the document it was imported from, if it was."""

        TOPIC = "run-started"
        operation: Operation
        started_at: datetime
        digest: str | None

    class ChangesRecorded(Event):
        """`tally.processed` changes follow the first `offset`; their record events directly precede this one."""

        TOPIC = "changes-recorded"
        offset: int
        tally: Tally

        def apply(self, run: Run) -> None:
            run.tally = run.tally + self.tally

    class Finished(Event):
        """The run came to its end."""

        TOPIC = "run-finished"
        finished_at: datetime

        def apply(self, run: Run) -> None:
            run.status = "finished"
            run.finished_at = self.finished_at

    class Failed(Event):
        """A system error ended the run. The changes recorded before it stay."""

        TOPIC = "run-failed"
        finished_at: datetime
        code: str
        message: str

        def apply(self, run: Run) -> None:
            run.status = "failed"
            run.finished_at = self.finished_at
            run.error = SystemFault(self.code, self.message)

    @classmethod
    def start(
        cls,
        stream_id: UUID,
        *,
        run_id: str,
        operation: Operation,
        started_at: datetime,
        timestamp: datetime,
        digest: str | None = None,
    ) -> Run:
        return cls._create(
            cls.Created,
            id=stream_id,
            timestamp=timestamp,
            run_id=run_id,
            operation=operation,
            started_at=started_at,
            digest=digest,
        )

    def __init__(self, run_id: str, operation: Operation, started_at: datetime, digest: str | None) -> None:
        self.run_id = run_id
        self.operation = operation
        self.started_at = started_at
        self.digest = digest
        self.tally = Tally()
        self.status: Status = "running"
        self.finished_at: datetime | None = None
        self.error: SystemFault | None = None

    @property
    def accepted(self) -> int:
        """How many changes have been recorded: the offset of the next batch."""
        return self.tally.processed

    @property
    def stamp_run_id(self) -> str:
        """The Run ID to write on each record: the recipe's where there is one."""
        return self.operation.recipe_run_id or self.run_id

    def record_changes(self, offset: int, tally: Tally, timestamp: datetime) -> None:
        """Counts the next batch. Raises RunEnded, or OffsetTooHigh where changes before `offset` are missing."""
        self.check_offset(offset)
        assert offset == self.accepted, "repeats are skipped before a batch is counted"
        self.trigger_event(self.ChangesRecorded, timestamp=timestamp, run_id=self.run_id, offset=offset, tally=tally)

    def check_offset(self, offset: int) -> None:
        """Raises RunEnded or OffsetTooHigh unless changes from `offset` on may be sent."""
        if self.status != "running":
            raise RunEnded(
                f"Run {self.run_id} has {self.status}, with {self.accepted} changes. "
                "Start a new run for further changes.",
                run_id=self.run_id,
                accepted=self.accepted,
            )
        if self.operation.kind == "recipe":
            raise Conflict(
                f"Run {self.run_id} is a recipe, which has no changes of its own. "
                "Start a run for each of its templates, with recipe_run_id set to this Run ID.",
                run_id=self.run_id,
            )
        if offset > self.accepted:
            raise OffsetTooHigh(
                f"Offset {offset} is above the {self.accepted} changes accepted of run {self.run_id}. "
                f"Send the changes from offset {self.accepted} on.",
                run_id=self.run_id,
                accepted=self.accepted,
            )

    def finish(self, finished_at: datetime, timestamp: datetime) -> None:
        """Ends the run. Raises RunEnded when it ended in another way; finishing twice is harmless."""
        if self.status == "failed":
            raise RunEnded(f"Run {self.run_id} has failed already; it cannot be finished.", run_id=self.run_id)
        if self.status == "running":
            self.trigger_event(self.Finished, timestamp=timestamp, run_id=self.run_id, finished_at=finished_at)

    def fail(self, code: str, message: str, finished_at: datetime, timestamp: datetime) -> None:
        """Ends the run with a system error. Raises RunEnded unless it runs or failed with the same error."""
        if self.status == "running":
            self.trigger_event(
                self.Failed,
                timestamp=timestamp,
                run_id=self.run_id,
                finished_at=finished_at,
                code=code,
                message=message,
            )
        elif self.error != SystemFault(code, message):
            raise RunEnded(f"Run {self.run_id} has {self.status} already; it cannot fail now.", run_id=self.run_id)
