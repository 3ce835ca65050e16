"""The log as OCSF events, from a cursor on: the position of the last event that was seen."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from typing import Any, NamedTuple
from uuid import UUID

from ledger.domain.operation import Operation
from ledger.errors import InputError, Problem
from ledger.ids import run_stream_id
from ledger.store.database import Database
from ledger.store.mapper import decode_shape, is_keeping_topic, is_record_topic, keeping_event
from ledger.store.recorder import Recorder
from ledger.store.rows import EventRow
from ledger.store.shapes import RunStartedShape
from projections.run_changes.decoding import decode_change
from projections.siem.ocsf import change_event, rule_event

LOG_EVENTS_MAX = 1_000
"""Events of the log looked at for one page; most become one OCSF event."""
RUNS_KEPT_MAX = 1_000


class OcsfPage(NamedTuple):
    """`cursor`: from which the next page goes on; the same as was given where there is nothing new."""

    events: list[dict[str, Any]]
    cursor: int


class OcsfExport:
    """The events of one account. Previews are left out: they change nothing."""

    def __init__(self, database: Database, account_id: UUID, account: str) -> None:
        self._recorder = Recorder(database, account_id)
        self._account_id, self._account = account_id, account
        self._operations: OrderedDict[str, Operation] = OrderedDict()

    def page(self, cursor: int = 0) -> OcsfPage:
        """The next events after a cursor, in order. Raises InputError for a cursor that is none of this log."""
        head = self._recorder.max_notification_id() or 0
        if not 0 <= cursor <= head:
            expected = f"0 to {head}"
            problem = Problem("Not a position of this log.", parameter="cursor", found=str(cursor), expected=expected)
            raise InputError(f"The cursor {cursor} is not in the log. Expected {expected}.", problems=(problem,))
        rows = self._recorder.read_after(cursor, limit=LOG_EVENTS_MAX)
        events = [event for row in rows if (event := self._event(row)) is not None]
        return OcsfPage(events, rows[-1].position if rows else cursor)

    def pages(self, cursor: int = 0) -> Iterator[OcsfPage]:
        """All pages up to the head."""
        while True:
            page = self.page(cursor)
            if page.cursor == cursor:
                return
            yield page
            cursor = page.cursor

    def _event(self, row: EventRow) -> dict[str, Any] | None:
        if is_keeping_topic(row.topic):
            return rule_event(self._account_id, self._account, row, keeping_event(row))
        if not is_record_topic(row.topic):
            return None
        change = decode_change(row)
        if change.preview:
            return None
        return change_event(self._account_id, self._account, change, self._operation(row.run_id))

    def _operation(self, run_id: str) -> Operation:
        known = self._operations.get(run_id)
        if known is None:
            (start,) = self._recorder.read_stream(run_stream_id(self._account_id, run_id), limit=1)
            shape = decode_shape(start.topic, start.payload or b"")
            assert isinstance(shape, RunStartedShape), "a run begins with its start"
            while len(self._operations) >= RUNS_KEPT_MAX:
                self._operations.popitem(last=False)
            known = self._operations[run_id] = shape.operation
        return known
