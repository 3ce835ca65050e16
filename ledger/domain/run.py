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
        """The run began. `digest` is the SHA-256 of the document it was imported from, if it was. `undoes`: of an
        undo, the Run IDs whose changes it puts back."""

        TOPIC = "run-started"
        operation: Operation
        started_at: datetime
        digest: str | None
        undoes: tuple[str, ...] = ()

    class ChangesRecorded(Event):
        """`tally.processed` changes follow the first `offset`; their record events directly precede this one."""

        TOPIC = "changes-recorded"
        offset: int
        tally: Tally

        def apply(self, run: Run) -> None:
            run.tally = run.tally + self.tally

    class Finished(Event):
        """The run came to its end. `outcome`: of an undo, canonical JSON text of its status and counts."""

        TOPIC = "run-finished"
        finished_at: datetime
        outcome: bytes | None = None

        def apply(self, run: Run) -> None:
            run.status = "finished"
            run.finished_at = self.finished_at
            run.outcome = self.outcome

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

    class UndoBegun(Event):
        """An undo of this run is under way."""

        TOPIC = "undo-begun"
        undo_run_id: str

        def apply(self, run: Run) -> None:
            run.undo_under_way = self.undo_run_id

    class UndoEnded(Event):
        """The undo came to its end. is_whole: all that this run changed is written back or was so already. Noted again
        when what had taken the undo back is undone itself."""

        TOPIC = "undo-ended"
        undo_run_id: str
        is_whole: bool

        def apply(self, run: Run) -> None:
            run.undo_under_way = None
            if self.is_whole:
                run.undone_by = self.undo_run_id

    class UndoReversed(Event):
        """What an undo of this run had written back was undone by another: the run can be undone again."""

        TOPIC = "undo-reversed"
        undo_run_id: str
        by_run_id: str

        def apply(self, run: Run) -> None:
            run.undone_by = None
            run.reversals = {**run.reversals, self.by_run_id: self.undo_run_id}

    class UndoIntended(Event):
        """This run, an undo, is about to write to its target. `writes`: canonical JSON text, ledger.undo.intents."""

        TOPIC = "undo-intended"
        writes: bytes

        def apply(self, run: Run) -> None:
            pass

    class BeforeStatesExpired(Event):
        """The before-states of this run were purged: it can no longer be undone."""

        TOPIC = "before-states-expired"

        def apply(self, run: Run) -> None:
            run.before_states_expired = True

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
        undoes: tuple[str, ...] = (),
    ) -> Run:
        return cls._create(
            cls.Created,
            id=stream_id,
            timestamp=timestamp,
            run_id=run_id,
            operation=operation,
            started_at=started_at,
            digest=digest,
            undoes=undoes,
        )

    def __init__(
        self,
        run_id: str,
        operation: Operation,
        started_at: datetime,
        digest: str | None,
        undoes: tuple[str, ...] = (),
    ) -> None:
        self.run_id = run_id
        self.operation = operation
        self.started_at = started_at
        self.digest = digest
        self.undoes = undoes
        self.tally = Tally()
        self.status: Status = "running"
        self.finished_at: datetime | None = None
        self.error: SystemFault | None = None
        self.outcome: bytes | None = None
        self.undo_under_way: str | None = None
        self.undone_by: str | None = None
        self.before_states_expired = False
        self.reversals: dict[str, str] = {}
        """Run ID of what undid an undo of this run, to that undo's."""

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

    def begin_undo(self, undo_run_id: str, timestamp: datetime) -> None:
        """Notes that an undo of this run begins; ledger.undo.refusals says whether it may."""
        self.trigger_event(self.UndoBegun, timestamp=timestamp, run_id=self.run_id, undo_run_id=undo_run_id)

    def end_undo(self, undo_run_id: str, *, is_whole: bool, timestamp: datetime) -> None:
        """Notes that its undo ended."""
        self.trigger_event(
            self.UndoEnded, timestamp=timestamp, run_id=self.run_id, undo_run_id=undo_run_id, is_whole=is_whole
        )

    def reverse_undo(self, undo_run_id: str, by_run_id: str, timestamp: datetime) -> None:
        """Notes that an undo of this run was itself undone. Nothing where another undo came after it."""
        if self.undone_by == undo_run_id:
            self.trigger_event(
                self.UndoReversed,
                timestamp=timestamp,
                run_id=self.run_id,
                undo_run_id=undo_run_id,
                by_run_id=by_run_id,
            )

    def reinstate_undo(self, reversed_by: str, timestamp: datetime) -> None:
        """Notes that what had undone an undo of this run was itself undone: the run is undone again. Nothing where it
        is undone by another, or an undo is under way that will tell."""
        undo_run_id = self.reversals.get(reversed_by)
        if undo_run_id is not None and self.undone_by is None and self.undo_under_way is None:
            self.end_undo(undo_run_id, is_whole=True, timestamp=timestamp)

    def intend(self, writes: bytes, timestamp: datetime) -> None:
        """Notes what this undo is about to write."""
        self.trigger_event(self.UndoIntended, timestamp=timestamp, run_id=self.run_id, writes=writes)

    def expire_before_states(self, timestamp: datetime) -> None:
        """Notes that the before-states of this run were purged."""
        self.trigger_event(self.BeforeStatesExpired, timestamp=timestamp, run_id=self.run_id)

    def step_back(self, version: int, tally: Tally) -> None:
        """Forgets a batch that was counted and then not appended: as before, at this version with this tally."""
        self.collect_events()
        self._version = version
        self.tally = tally

    def finish(self, finished_at: datetime, timestamp: datetime, outcome: bytes | None = None) -> None:
        """Ends the run. Raises RunEnded when it ended in another way; finishing twice is harmless."""
        if self.status == "failed":
            raise RunEnded(f"Run {self.run_id} has failed already; it cannot be finished.", run_id=self.run_id)
        if self.status == "running":
            self.trigger_event(
                self.Finished, timestamp=timestamp, run_id=self.run_id, finished_at=finished_at, outcome=outcome
            )

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
