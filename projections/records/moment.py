"""A moment in an account's history: what readers of the past name it by. The order of events is always the log's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

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
