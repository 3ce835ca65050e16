"""A moment in an account's history: what readers of the past name it by. The order of events is always the log's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from ledger.errors import InputError, NotFound, Problem
from ledger.ids import run_stream_id
from ledger.store.database import Database
from ledger.store.mapper import decode_shape
from ledger.store.recorder import Recorder
from ledger.store.rows import EventRow
from ledger.store.shapes import RunStartedShape
from projections.families import Families

Kind = Literal["now", "at", "recorded_at", "position", "after_run", "before_run"]


@dataclass(frozen=True, slots=True)
class Moment:
    """Use the constructors: exactly the member that `kind` names is set."""

    kind: Kind = "now"
    instant: datetime | None = None
    position: int | None = None
    run_id: str | None = None

    @classmethod
    def now(cls) -> Moment:
        """With everything recorded so far."""
        return cls()

    @classmethod
    def at(cls, instant: datetime) -> Moment:
        """With what had happened by this instant (occurred_at <= instant), whenever the ledger came to know it."""
        return cls("at", instant=instant)

    @classmethod
    def recorded_at(cls, instant: datetime) -> Moment:
        """With what the ledger knew at this instant (recorded_at <= instant)."""
        return cls("recorded_at", instant=instant)

    @classmethod
    def at_position(cls, position: int) -> Moment:
        """With all events up to this position, included."""
        return cls("position", position=position)

    @classmethod
    def after_run(cls, run_id: str) -> Moment:
        """Up to the run's last event: its end, or as far as it came. A recipe's: up to the last of its children."""
        return cls("after_run", run_id=run_id)

    @classmethod
    def before_run(cls, run_id: str) -> Moment:
        """Up to the event before the run's first."""
        return cls("before_run", run_id=run_id)

    @property
    def shown(self) -> str:
        """As it stands in messages: "at position 12", "after run R"."""
        if self.instant is not None:
            return f"{'at' if self.kind == 'at' else 'recorded by'} {self.instant.isoformat()}"
        if self.position is not None:
            return f"at position {self.position}"
        if self.run_id is not None:
            return f"{'after' if self.kind == 'after_run' else 'before'} run {self.run_id}"
        return "now"


class Cut(NamedTuple):
    """A moment as what it includes: events up to a position, of those perhaps only some by their times."""

    position: int
    occurred_by: datetime | None = None
    recorded_by: datetime | None = None

    def includes(self, row: EventRow) -> bool:
        return (
            row.position <= self.position
            and (self.occurred_by is None or row.occurred_at <= self.occurred_by)
            and (self.recorded_by is None or row.recorded_at <= self.recorded_by)
        )


_RUN_SPAN = "SELECT min(position), max(position) FROM account_events WHERE originator_id = ANY(%s)"
_START = "SELECT payload FROM account_events WHERE originator_id = %s AND originator_version = 1"


def resolve(database: Database, account_id: UUID, moment: Moment) -> Cut:
    """The events that a moment includes; those recorded after this call never.

    Raises NotFound for an unknown run, InputError for a position below 0 or above the newest, NotCaughtUp for a
    recipe whose children are not known yet.
    """
    if moment.run_id is not None:
        first, last = _run_span(database, account_id, moment.run_id, with_children=moment.kind == "after_run")
        return Cut(last if moment.kind == "after_run" else first - 1)
    head = Recorder(database, account_id).max_notification_id() or 0
    if moment.position is not None:
        _check_position(moment.position, head)
        return Cut(moment.position)
    if moment.kind == "at":
        return Cut(head, occurred_by=moment.instant)
    return Cut(head, recorded_by=moment.instant)


def _run_span(database: Database, account_id: UUID, run_id: str, *, with_children: bool) -> tuple[int, int]:
    """The positions of the first and the last event of a run's own stream; the last one of its children's too."""
    stream = run_stream_id(account_id, run_id)
    with database.transaction(account_id) as connection:
        start = connection.execute(_START, (stream,)).fetchone()
    if start is None:
        raise NotFound(f"There is no run {run_id} in this account.", run_id=run_id)
    shape = decode_shape("run-started", start[0] or b"")
    streams = [stream]
    if with_children and isinstance(shape, RunStartedShape) and shape.operation.kind == "recipe":
        streams += [run_stream_id(account_id, child) for child in Families(database, account_id).children(run_id)]
    with database.transaction(account_id) as connection:
        row = connection.execute(_RUN_SPAN, (streams,)).fetchone()
    assert row is not None, "an aggregate always has a row"
    return row[0], row[1]


def _check_position(position: int, head: int) -> None:
    if not 0 <= position <= head:
        problem = Problem(
            "There is no such position.", parameter="position", found=str(position), expected=f"0 to {head}"
        )
        raise InputError(
            f"Position {position} is not in the log, whose newest is {head}. Ask for 0 to {head}, or for now.",
            problems=(problem,),
        )
