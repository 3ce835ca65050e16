"""What an account decided about keeping: legal holds, retention policies, and which erasures were carried out.

These events are a stream of the account's own; `fold_keeping` gives the rules in force.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import ClassVar, Literal
from uuid import UUID

What = Literal["before", "whole"]
"""What a retention policy erases of old changes: their before-states, or all that they hold."""


@dataclass(frozen=True, kw_only=True)
class KeepingEvent:
    """A fact about keeping. Of no run."""

    TOPIC: ClassVar[str]
    originator_id: UUID
    originator_version: int
    timestamp: datetime


@dataclass(frozen=True, kw_only=True)
class HoldPlaced(KeepingEvent):
    """Nothing of this record (None: of all records of the type) may be erased."""

    TOPIC = "hold-placed"
    object_type: str
    record_id: str | None
    reason: str
    user: str


@dataclass(frozen=True, kw_only=True)
class HoldLifted(KeepingEvent):
    """The hold is over."""

    TOPIC = "hold-lifted"
    object_type: str
    record_id: str | None
    reason: str
    user: str


@dataclass(frozen=True, kw_only=True)
class RetentionSet(KeepingEvent):
    """Changes of the type lose what `what` says when they were recorded `keep_days` ago."""

    TOPIC = "retention-set"
    object_type: str
    keep_days: int
    what: What
    reason: str
    user: str


@dataclass(frozen=True, kw_only=True)
class RetentionLifted(KeepingEvent):
    """The policy is over."""

    TOPIC = "retention-lifted"
    object_type: str
    reason: str
    user: str


@dataclass(frozen=True, kw_only=True)
class RetentionApplied(KeepingEvent):
    """The policy was applied to all changes of the type up to a position; `erased` of them lost something by it."""

    TOPIC = "retention-applied"
    object_type: str
    what: What
    upto: int
    erased: int


@dataclass(frozen=True, kw_only=True)
class ErasureRecorded(KeepingEvent):
    """A record's data was erased: the named fields, None: all. `erased` events lost something by it; `run_id` is the
    erasure's own run. `repeats`: the Run ID of the erasure that this one repeats on a restored log."""

    TOPIC = "erasure-recorded"
    run_id: str
    object_type: str
    record_id: str
    reason: str
    user: str
    fields: tuple[str, ...] | None = None
    erased: int = 0
    repeats: str | None = None


KEEPING_EVENTS: tuple[type[KeepingEvent], ...] = (
    HoldPlaced,
    HoldLifted,
    RetentionSet,
    RetentionLifted,
    RetentionApplied,
    ErasureRecorded,
)

HoldKey = tuple[str, str | None]


@dataclass(slots=True)
class Keeping:
    """The rules in force. `version` is that of the newest event of the stream, 0 where there is none."""

    version: int = 0
    holds: dict[HoldKey, HoldPlaced] = field(default_factory=dict)
    policies: dict[str, RetentionSet] = field(default_factory=dict)
    reached: dict[str, int] = field(default_factory=dict)
    """Up to which position the policy of a type was applied."""

    def hold_on(self, object_type: str, record_id: str | None) -> HoldPlaced | None:
        """The hold that keeps this record; None: none does."""
        return self.holds.get((object_type, None)) or self.holds.get((object_type, record_id))


def fold_keeping(events: Iterable[KeepingEvent]) -> Keeping:
    """The rules after these events, in order."""
    keeping = Keeping()
    for event in events:
        keeping.version = event.originator_version
        match event:
            case HoldPlaced():
                keeping.holds[event.object_type, event.record_id] = event
            case HoldLifted():
                keeping.holds.pop((event.object_type, event.record_id), None)
                keeping.reached.pop(event.object_type, None)  # what the hold kept is old by now
            case RetentionSet():
                keeping.policies[event.object_type] = event
                keeping.reached.pop(event.object_type, None)
            case RetentionLifted():
                keeping.policies.pop(event.object_type, None)
            case RetentionApplied():
                keeping.reached[event.object_type] = event.upto
    return keeping
