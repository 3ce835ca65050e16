"""Applying retention policies: changes of a type lose their before-states, or all that they hold, when they are old."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from ledger.domain.keeping import Keeping, RetentionApplied, RetentionSet
from ledger.erasure.keeping import KeepingStore
from ledger.erasure.port import NoViews, Views
from ledger.erasure.rest import NO_TEXTS, rest_of_intent, rest_of_run, rest_without_before
from ledger.erasure.service import ERASE, forget_requests
from ledger.json_text import encode
from ledger.service import utc_now
from ledger.store.database import Database
from ledger.store.event_store import AccountStore, IntegrityError
from ledger.store.mapper import decode_shape, is_record_topic, to_new_event
from ledger.store.recorder import Appended
from ledger.store.rows import EventRow, NewEvent
from ledger.store.shapes import RecordShape, RunStartedShape, UndoIntendedShape
from ledger.store.streams import Streams

WINDOW_EVENTS = 5_000
"""Events looked at together; what they lose is one transaction."""
NOTED_EVERY = 100_000
"""After so many events of which none loses anything, the log notes how far the policy came."""
_RECORDED_AT = "SELECT recorded_at FROM account_events WHERE position = %s"


@dataclass(frozen=True, slots=True)
class Applied:
    """What became of one policy. `stopped`: why it did not reach all that is old enough."""

    object_type: str
    upto: int
    erased: int
    stopped: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(slots=True)
class _Window:
    """What a policy takes from some events in a row."""

    last: int
    rests: dict[int, bytes]
    run_ids: list[str]
    expired: list[NewEvent]


class Retention:
    """The policies of one account. Again is harmless: what was applied is not looked at twice."""

    def __init__(
        self,
        database: Database,
        account_id: UUID,
        views: Views | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._database, self._account_id, self._clock = database, account_id, clock
        self._views = views or NoViews()
        self._store = AccountStore(database, account_id)
        self._streams = Streams(database, account_id)
        self._keeping = KeepingStore(database, account_id, clock=clock)

    def apply(self) -> list[Applied]:
        """Applies every policy in force to all changes that are old enough by now."""
        keeping = self._keeping.load()
        return [self._apply(policy) for _, policy in sorted(keeping.policies.items())]

    def _apply(self, policy: RetentionSet) -> Applied:
        erased = 0
        keeping = self._keeping.load()
        upto = noted = keeping.reached.get(policy.object_type, 0)
        last = self._last_before(self._clock() - timedelta(days=policy.keep_days))
        while upto < last:
            if (policy.object_type, None) in keeping.holds:
                return Applied(policy.object_type, upto, erased, "A legal hold is on the whole type.")
            window = self._window(policy, keeping, upto, min(upto + WINDOW_EVENTS, last))
            if isinstance(window, str):
                return Applied(policy.object_type, upto, erased, window)
            if window.rests or window.last - noted >= NOTED_EVERY:
                try:
                    self._carry_out(policy, keeping, window)
                except IntegrityError:  # a rule or one of the runs changed meanwhile: look again
                    keeping = self._keeping.load()
                    if keeping.policies.get(policy.object_type) != policy:
                        return Applied(policy.object_type, upto, erased, "The policy was changed.")
                    continue
                keeping, noted = self._keeping.load(), window.last
            upto = window.last
            erased += len(window.rests)
        return Applied(policy.object_type, upto, erased)

    def _window(self, policy: RetentionSet, keeping: Keeping, after: int, last: int) -> _Window | str:
        """What the policy takes from these events; a text: why it must not yet."""
        window = _Window(last, {}, [], [])
        touched: dict[str, None] = {}
        for row in self._streams.between(after, last):
            rest = _rest(policy, keeping, row)
            if rest is not None:
                window.rests[row.position] = rest
                touched[row.run_id] = None
        for run_id in touched:
            run = self._store.load_run(run_id)
            if run.undo_under_way is not None or (run.undoes and run.status == "running"):
                return f"Undo {run.undo_under_way or run_id} is under way."
            if not run.before_states_expired:
                run.expire_before_states(self._clock())
                window.expired += [to_new_event(event) for event in run.collect_events()]  # type: ignore[arg-type]
        starts = [row for row in self._streams.run_events(touched) if row.topic == "run-started"]
        for row in starts:
            shape = decode_shape(row.topic, row.payload or b"")
            rest_of_start = rest_of_run(shape, NO_TEXTS) if isinstance(shape, RunStartedShape) else None
            if rest_of_start is not None:
                window.rests[row.position] = encode(rest_of_start)
                window.run_ids.append(row.run_id)
        return window

    def _carry_out(self, policy: RetentionSet, keeping: Keeping, window: _Window) -> None:
        told = RetentionApplied(
            **self._keeping.columns(keeping), object_type=policy.object_type, what=policy.what, upto=window.last,
            erased=len(window.rests),
        )  # fmt: skip
        self._views.catch_up()

        def erase(connection: Any, appended: Appended) -> None:
            connection.execute(ERASE, (appended.last, list(window.rests), list(window.rests.values())))
            self._views.forget(connection, list(window.rests), window.run_ids)
            forget_requests(connection, NO_TEXTS)

        self._keeping.recorder.append([*window.expired, to_new_event(told)], then=erase)

    def _last_before(self, instant: datetime) -> int:
        """The newest position that was recorded before an instant; 0: none. Times never go back along the log."""
        low, high = 0, self._keeping.recorder.max_notification_id() or 0
        with self._database.transaction(self._account_id) as connection:
            while low < high:
                middle = (low + high + 1) // 2
                row = connection.execute(_RECORDED_AT, (middle,)).fetchone()
                assert row is not None, "positions have no gap"
                low, high = (middle, high) if row[0] < instant else (low, middle - 1)
        return low


def _rest(policy: RetentionSet, keeping: Keeping, row: EventRow) -> bytes | None:
    """What the policy leaves of an event. None: it takes nothing from it."""
    rest: Any = None
    if row.topic == "undo-intended":
        shape = decode_shape(row.topic, row.payload or b"")
        assert isinstance(shape, UndoIntendedShape)
        rest = rest_of_intent(
            shape,
            lambda step: (
                step.object_type == policy.object_type and not keeping.hold_on(step.object_type, step.record_id)
            ),
            None,
        )
    elif is_record_topic(row.topic) and row.topic != "record-erased" and row.payload is not None:
        shape = decode_shape(row.topic, row.payload)
        assert isinstance(shape, RecordShape)
        if shape.object_type == policy.object_type and not keeping.hold_on(shape.object_type, shape.record_id):
            rest = rest_without_before(shape, whole=policy.what == "whole")
    return None if rest is None else encode(rest)
