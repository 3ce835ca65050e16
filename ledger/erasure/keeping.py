"""The account's keeping stream: holds, retention policies, erasures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from ledger.domain.keeping import (
    HoldLifted,
    HoldPlaced,
    Keeping,
    KeepingEvent,
    RetentionLifted,
    RetentionSet,
    What,
    fold_keeping,
)
from ledger.errors import Conflict, InputError, NotFound, Problem
from ledger.ids import keeping_stream_id
from ledger.service import utc_now
from ledger.store.database import Database
from ledger.store.event_store import IntegrityError
from ledger.store.mapper import keeping_event, to_new_event
from ledger.store.recorder import Appended, Recorder

TRIES_MAX = 5
KEEP_DAYS_MAX = 36_500
_Decide = Callable[[Keeping, dict[str, Any]], KeepingEvent | None]


class KeepingStore:
    """Reads and appends the events of the stream."""

    def __init__(self, database: Database, account_id: UUID, *, clock: Callable[[], datetime] = utc_now) -> None:
        self.recorder = Recorder(database, account_id)
        self.stream = keeping_stream_id(account_id)
        self._clock = clock

    def load(self) -> Keeping:
        """The rules in force."""
        return fold_keeping(event for _, event in self.rows())

    def rows(self, topics: Collection[str] = ()) -> list[tuple[int, KeepingEvent]]:
        """The events of the stream (of these topics), each with its position."""
        found = self.recorder.read_stream(self.stream)
        return [(row.position, keeping_event(row)) for row in found if not topics or row.topic in topics]

    def append(self, event: KeepingEvent, then: Callable[[Any, Appended], None] | None = None) -> Appended:
        """Raises IntegrityError where the stream moved on."""
        return self.recorder.append([to_new_event(event)], then=then)

    def columns(self, keeping: Keeping) -> dict[str, Any]:
        """What each event of the stream begins with, for the next one."""
        return {
            "originator_id": self.stream,
            "originator_version": keeping.version + 1,
            "timestamp": self._clock(),
        }

    # Rules.

    def place_hold(self, object_type: str, record_id: str | None, *, reason: str, user: str) -> int | None:
        """Keeps a record (None: all of a type) from being erased. The event's position; None: it was held already."""
        check_text("reason", reason)
        return self._decide(
            lambda keeping, columns: (
                None
                if (object_type, record_id) in keeping.holds
                else HoldPlaced(**columns, object_type=object_type, record_id=record_id, reason=reason, user=user)
            )
        )

    def lift_hold(self, object_type: str, record_id: str | None, *, reason: str, user: str) -> int | None:
        """Ends a hold. Raises NotFound."""
        check_text("reason", reason)

        def lift(keeping: Keeping, columns: dict[str, Any]) -> KeepingEvent:
            if (object_type, record_id) not in keeping.holds:
                of = object_type if record_id is None else f"{object_type} {record_id}"
                raise NotFound(f"There is no hold on {of}. `ledger hold list` shows all.")
            return HoldLifted(**columns, object_type=object_type, record_id=record_id, reason=reason, user=user)

        return self._decide(lift)

    def set_retention(
        self, object_type: str, keep_days: int, *, what: What = "before", reason: str, user: str
    ) -> int | None:
        """Changes of the type lose what `what` says once they are so old. None: that was the rule already."""
        check_text("reason", reason)
        if not 1 <= keep_days <= KEEP_DAYS_MAX:
            expected = f"1 to {KEEP_DAYS_MAX:,}"
            problem = Problem("Not a number of days.", "/keep_days", found=str(keep_days), expected=expected)
            raise InputError(f"A retention policy keeps {expected} days, found {keep_days}.", problems=(problem,))

        def decide(keeping: Keeping, columns: dict[str, Any]) -> KeepingEvent | None:
            old = keeping.policies.get(object_type)
            if old is not None and (old.keep_days, old.what) == (keep_days, what):
                return None
            return RetentionSet(
                **columns, object_type=object_type, keep_days=keep_days, what=what, reason=reason, user=user
            )

        return self._decide(decide)

    def lift_retention(self, object_type: str, *, reason: str, user: str) -> int | None:
        """Ends a policy. Raises NotFound."""
        check_text("reason", reason)

        def lift(keeping: Keeping, columns: dict[str, Any]) -> KeepingEvent:
            if object_type not in keeping.policies:
                raise NotFound(f"There is no retention policy for {object_type}. `ledger retention list` shows all.")
            return RetentionLifted(**columns, object_type=object_type, reason=reason, user=user)

        return self._decide(lift)

    def _decide(self, decide: _Decide) -> int | None:
        for _ in range(TRIES_MAX):
            keeping = self.load()
            event = decide(keeping, self.columns(keeping))
            if event is None:
                return None
            try:
                return self.append(event).last
            except IntegrityError:
                continue
        raise Conflict("The account's rules are being changed by others at this moment. Try again.")


def check_text(name: str, text: str, length_max: int = 1_000) -> None:
    """Raises InputError for an empty, too long or unstorable text."""
    if not text.strip() or len(text) > length_max or "\0" in text:
        expected = f"1 to {length_max:,} characters"
        problem = Problem(f"The {name} is not valid.", f"/{name}", found=repr(text[:40]), expected=expected)
        raise InputError(f"A {name} of {expected} is needed, found {text[:40]!r}.", problems=(problem,))


def shown_rules(keeping: Keeping) -> dict[str, Sequence[dict[str, Any]]]:
    """The rules in force as JSON tells them."""
    return {
        "holds": [
            {"object_type": hold.object_type, "record_id": hold.record_id, "reason": hold.reason, "user": hold.user,
             "placed_at": hold.timestamp}
            for hold in keeping.holds.values()
        ],
        "retention": [
            {"object_type": policy.object_type, "keep_days": policy.keep_days, "what": policy.what,
             "reason": policy.reason, "user": policy.user, "set_at": policy.timestamp,
             "applied_upto": keeping.reached.get(policy.object_type, 0)}
            for policy in keeping.policies.values()
        ],
    }  # fmt: skip
