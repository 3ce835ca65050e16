"""What producers do with the ledger, one method a use case, in one rhythm: load, done already?, decide, append."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

from eventsourcing.persistence import IntegrityError

from ledger.domain.operation import Operation
from ledger.domain.run import Run
from ledger.errors import Conflict, InputError, NotFound, Problem, RunExists
from ledger.ids import check_run_id, make_run_id, run_stream_id
from ledger.recording import batch_events
from ledger.store.database import Database
from ledger.store.event_store import AccountStore
from ledger.wire.changes import Lines, read_batches

Clock = Callable[[], datetime]

CONTENTION_RETRIES = 5
"""How often a batch is tried again when another sender of the same run was first."""


def utc_now() -> datetime:
    return datetime.now(UTC)


class Accepted(NamedTuple):
    """How many changes of the run are recorded now, and up to which position readers must be to see them."""

    accepted: int
    position: int | None


class RunOutcome(NamedTuple):
    """A run after a use case, and the position of what the use case appended (None: nothing was to be done)."""

    run: Run
    position: int | None


class AccountLedger:
    """The use cases of recording, for one account."""

    def __init__(self, database: Database, account_id: UUID, *, clock: Clock = utc_now) -> None:
        self.account_id = account_id
        self.store = AccountStore(database, account_id)
        self._clock = clock

    def start_run(
        self,
        operation: Operation,
        *,
        run_id: str | None = None,
        started_at: datetime | None = None,
        digest: str | None = None,
    ) -> RunOutcome:
        """Starts a run, with the producer's Run ID or a new one.

        Starting a run that is there already with the same facts is harmless. Raises RunExists where its facts differ,
        InputError for a bad Run ID, NotFound and Conflict for a recipe run that is not there or is none.
        """
        now = self._clock()
        run_id = make_run_id() if run_id is None else check_run_id(run_id)
        existing = self.store.find_run(run_id)
        if existing is not None:
            return _same_run(existing, operation, started_at, digest)
        if operation.recipe_run_id is not None:
            self._check_recipe(operation.recipe_run_id)
        run = Run.start(
            run_stream_id(self.account_id, run_id),
            run_id=run_id,
            operation=operation,
            started_at=started_at or now,
            timestamp=now,
            digest=digest,
        )
        try:
            return RunOutcome(run, self.store.save(run).last)
        except IntegrityError:  # somebody started it between our look and our append
            return _same_run(self.store.load_run(run_id), operation, started_at, digest)

    def record_changes(self, run_id: str, blocks: Iterable[bytes], *, offset: int | None = None) -> Accepted:
        """Records the changes of a body (NDJSON or a JSON array, any blocks of bytes), batch by batch.

        `offset` says how many changes of the run were sent before this body; None: as many as are accepted. Repeats
        below what was accepted are skipped. Raises OffsetTooHigh, RunEnded, BadLine; the batches before stay.
        """
        last = deque(self.record_batches(run_id, blocks, offset=offset), maxlen=1)
        return last[0] if last else Accepted(self.store.load_run(run_id).accepted, None)

    def record_batches(self, run_id: str, blocks: Iterable[bytes], *, offset: int | None = None) -> Iterator[Accepted]:
        """record_changes, telling after each batch how far it is: for progress."""
        run = self.store.load_run(run_id)
        sent = run.accepted if offset is None else offset
        if sent < 0:
            raise InputError(
                f"The offset {sent} is below 0.",
                problems=(Problem("The offset is not valid.", parameter="offset", expected="0 or more"),),
            )
        run.check_offset(sent)
        try:
            for lines in read_batches(blocks):
                run, position = self._record_batch(run, sent, lines)
                sent += len(lines.texts)
                yield Accepted(run.accepted, position)
        except InputError as error:  # the batches before the bad one stay: tell where to go on
            error.details = {"run_id": run_id, "accepted": run.accepted} | error.details
            raise

    def _record_batch(self, run: Run, offset: int, lines: Lines) -> tuple[Run, int | None]:
        for _ in range(CONTENTION_RETRIES):
            run.check_offset(offset)
            fresh = lines.from_line(run.accepted - offset) if offset < run.accepted else lines
            if not fresh.texts:
                return run, None
            events = batch_events(self.account_id, run, fresh, self._clock())
            try:
                return run, self.store.recorder.append_blocks(len(fresh.texts) + 1, events).last
            except IntegrityError:  # another sender's batch came first: look what is left of ours
                run = self.store.load_run(run.run_id)
        raise Conflict(f"Several senders record run {run.run_id} at the same moment. Send its changes from one place.")

    def finish_run(self, run_id: str, *, finished_at: datetime | None = None) -> RunOutcome:
        """Ends a run. Finishing a finished run again is harmless. Raises NotFound, RunEnded."""
        now = self._clock()
        return self._end(run_id, lambda run: run.finish(finished_at or now, now))

    def fail_run(self, run_id: str, code: str, message: str, *, finished_at: datetime | None = None) -> RunOutcome:
        """Ends a run with a system error. Repeating it is harmless. Raises NotFound, RunEnded."""
        now = self._clock()
        return self._end(run_id, lambda run: run.fail(code, message, finished_at or now, now))

    def _end(self, run_id: str, decide: Callable[[Run], None]) -> RunOutcome:
        for _ in range(CONTENTION_RETRIES):
            run = self.store.load_run(run_id)
            decide(run)
            if not run.pending_events:
                return RunOutcome(run, None)
            try:
                return RunOutcome(run, self.store.save(run).last)
            except IntegrityError:  # a batch came in between: decide again on the run as it is now
                continue
        raise Conflict(f"Run {run_id} is still being recorded. End it when its last batch was accepted.")

    def _check_recipe(self, recipe_run_id: str) -> None:
        recipe = self.store.find_run(check_run_id(recipe_run_id, "/recipe_run_id"))
        if recipe is None:
            raise NotFound(
                f"There is no recipe run {recipe_run_id}. Start it first, with kind `recipe`.",
                run_id=recipe_run_id,
            )
        if recipe.operation.kind != "recipe":
            raise Conflict(f"Run {recipe_run_id} is no recipe. Start the recipe's run with kind `recipe`.")


def _same_run(run: Run, operation: Operation, started_at: datetime | None, digest: str | None) -> RunOutcome:
    same = run.operation == operation and run.digest == digest and started_at in (None, run.started_at)
    if not same:
        raise RunExists(
            f"Run {run.run_id} is there already, with other facts. Use another Run ID, or send the same facts again.",
            run_id=run.run_id,
        )
    return RunOutcome(run, None)
