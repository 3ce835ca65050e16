"""The account's recorder: appends by COPY in the order of the account's head, reads through the account's view.

An append is one transaction: it takes n positions from the account's row, which also locks it, and copies n rows.
The next append of the account waits for that row, so positions have no gap and become visible in their order: no
reader sees position k + 1 before k. Appends of different accounts share no lock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from eventsourcing.persistence import (
    ApplicationRecorder,
    IntegrityError,
    Notification,
    StoredEvent,
    Subscription,
)
from psycopg import Connection, sql
from psycopg.copy import LibpqWriter

from ledger.errors import NotFound, StreamMoved
from ledger.store.database import Database
from ledger.store.rows import (
    COPY_EVENTS,
    EVENT_COLUMNS,
    UNFLUSHED_BYTES_MAX,
    EventRow,
    LedgerStoredEvent,
    NewEvent,
    encode_copy,
)

POLL_S = 0.05
"""How often a subscription looks at the head while there is nothing new."""
FETCH_ROWS = 5_000
"""Rows read at a time where many are read."""

_TAKE_POSITIONS = """
    UPDATE accounts SET head = head + %s, head_at = greatest(head_at, clock_timestamp())
    WHERE account_id = ledger_current_account() RETURNING head, head_at
"""
_MOVED = """
    SELECT e.originator_id, e.position
    FROM (SELECT originator_id, position, originator_version FROM account_events
          WHERE originator_id = ANY(%(streams)s)) e
    JOIN unnest(%(streams)s::uuid[], %(positions)s::bigint[]) AS expected (originator_id, position)
    USING (originator_id) WHERE e.originator_version > expected.position LIMIT 1
"""
# The condition on originator_id stands inside: a join's own condition is not pushed into the account's view, which is
# a security barrier, and all of the log would be read.
BY_INDEX = "SET LOCAL enable_seqscan = off; SET LOCAL enable_nestloop = off; SET LOCAL enable_bitmapscan = off"
"""For some thousand streams of the log at once: the planner knows neither how many they are nor how few of the log."""
_SELECT = sql.SQL("SELECT {} FROM account_events").format(sql.SQL(EVENT_COLUMNS))
_WINDOW = _SELECT + sql.SQL(" WHERE position > %(after)s AND position <= %(last)s")
"""Positions have no gap, so a window of them is a number of events."""
_BY_POSITION = sql.SQL(" ORDER BY position")


class Appended(NamedTuple):
    """Where and when an append was recorded: positions first to last, both included."""

    first: int
    last: int
    recorded_at: datetime


class Recorder(ApplicationRecorder):
    """The events of one account."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self.database = database
        self.account_id = account_id

    def append(
        self,
        events: Sequence[NewEvent],
        *,
        unmoved: Mapping[UUID, int] | None = None,
        then: Callable[[Connection[Any], Appended], None] | None = None,
    ) -> Appended:
        """Appends `events` whole, in order, or not at all.

        `unmoved` names record streams and the last position each may have. Raises StreamMoved when one has a newer
        event, IntegrityError (the library's) when a run stream already has one of the versions. `then` does what
        belongs to these events, in their transaction.
        """
        return self.append_blocks(len(events), [events], unmoved=unmoved, then=then)

    def append_blocks(
        self,
        number: int,
        blocks: Iterable[Sequence[NewEvent]],
        *,
        unmoved: Mapping[UUID, int] | None = None,
        unless_head: int | None = None,
        then: Callable[[Connection[Any], Appended], None] | None = None,
    ) -> Appended:
        """append for `number` events that are made while the ones before them are being stored.

        `unless_head`: a head up to which the caller knows that nothing moved; while it still is the head, the streams
        need not be looked at. An exception from `blocks` leaves nothing behind.
        """
        try:
            with self.database.transaction(self.account_id) as connection:
                appended = self._take_positions(connection, number)
                if unmoved and appended.first - 1 != unless_head:
                    self._check_unmoved(connection, unmoved)
                cursor = connection.cursor()
                writer = LibpqWriter(cursor, flush_threshold=UNFLUSHED_BYTES_MAX)
                with cursor.copy(COPY_EVENTS, writer=writer) as copy:
                    for data in encode_copy(self.account_id.bytes, appended.first, appended.recorded_at, blocks):
                        copy.write(data)
                assert cursor.rowcount == number, "positions are taken for exactly the events that follow"
                if then is not None:
                    then(connection, appended)
        except psycopg.errors.UniqueViolation as error:
            raise IntegrityError(str(error)) from error
        self.database.announce(self.account_id)
        return appended

    def _take_positions(self, connection: Connection[Any], number: int) -> Appended:
        row = connection.execute(_TAKE_POSITIONS, (number,)).fetchone()
        if row is None:
            raise NotFound("There is no such account. Make it with `ledger account add NAME`.")
        return Appended(row[0] - number + 1, row[0], row[1])

    def _check_unmoved(self, connection: Connection[Any], unmoved: Mapping[UUID, int]) -> None:
        connection.execute(BY_INDEX)
        moved = connection.execute(_MOVED, {"streams": list(unmoved), "positions": list(unmoved.values())}).fetchone()
        if moved:
            raise StreamMoved(
                f"Stream {moved[0]} has an event at position {moved[1]}, after {unmoved[moved[0]]}. Plan again.",
                stream=str(moved[0]),
                position=moved[1],
            )

    # What the library's stores and aggregates need.

    def insert_events(self, stored_events: Sequence[StoredEvent], **_: Any) -> Sequence[int] | None:
        """Appends the library's stored events. Returns their positions, None for none."""
        if not stored_events:
            return None
        appended = self.append([_new_event(stored) for stored in stored_events])
        return range_list(appended)

    def select_events(
        self,
        originator_id: UUID | str,
        *,
        gt: int | None = None,
        lte: int | None = None,
        desc: bool = False,
        limit: int | None = None,
    ) -> Sequence[StoredEvent]:
        query = _SELECT + sql.SQL(" WHERE originator_id = %(id)s")
        query += sql.SQL("" if gt is None else " AND originator_version > %(gt)s")
        query += sql.SQL("" if lte is None else " AND originator_version <= %(lte)s")
        query += sql.SQL(" ORDER BY originator_version" + (" DESC" if desc else ""))
        query += sql.SQL("" if limit is None else " LIMIT %(limit)s")
        rows = self.read(query, {"id": originator_id, "gt": gt, "lte": lte, "limit": limit})
        return [_stored_event(row) for row in rows]

    def select_notifications(
        self,
        start: int | None,
        limit: int,
        stop: int | None = None,
        topics: Sequence[str] = (),
        *,
        inclusive_of_start: bool = True,
    ) -> Sequence[Notification]:
        after = -1 if start is None else start - 1 if inclusive_of_start else start
        last = self.max_notification_id() or 0
        last = last if stop is None else min(stop, last)
        # A window of positions is read by index; at a LIMIT, a planner with old statistics sorts all that may come.
        window = FETCH_ROWS if topics else limit
        query = _WINDOW + sql.SQL("" if not topics else " AND topic = ANY(%(topics)s)") + _BY_POSITION
        rows: list[EventRow] = []
        while after < last and len(rows) < limit:
            upto = min(last, max(after, 0) + window)
            rows += self.read(query, {"after": after, "last": upto, "topics": list(topics)})
            after = upto
        return [
            Notification(row.originator_id, row.originator_version, row.topic, row.payload or b"", row.position)
            for row in rows[:limit]
        ]

    def max_notification_id(self) -> int | None:
        with self.database.transaction(self.account_id) as connection:
            row = connection.execute("SELECT head FROM accounts WHERE account_id = ledger_current_account()").fetchone()
        return row[0] or None if row else None

    def subscribe(self, gt: int | None = None, topics: Sequence[str] = ()) -> Subscription[ApplicationRecorder]:
        return _PollingSubscription(self, gt, topics)

    # Reading in bulk.

    def read(self, query: sql.Composed, parameters: Mapping[str, Any]) -> list[EventRow]:
        """The rows of a query over EVENT_COLUMNS of account_events."""
        with self.database.transaction(self.account_id) as connection:
            rows = connection.cursor(binary=True).execute(query, parameters).fetchall()
        return [EventRow._make(row) for row in rows]

    def read_after(self, position: int, *, limit: int = FETCH_ROWS, upto: int | None = None) -> list[EventRow]:
        """At most `limit` events after `position`, in order, none past `upto`."""
        last = position + limit if upto is None else min(upto, position + limit)
        return self.read(_WINDOW + _BY_POSITION, {"after": position, "last": last})

    def read_stream(self, stream_id: UUID, *, limit: int | None = None) -> list[EventRow]:
        """The events of one stream, in order."""
        query = _SELECT + sql.SQL(" WHERE originator_id = %(id)s ORDER BY originator_version")
        query += sql.SQL("" if limit is None else " LIMIT %(limit)s")
        return self.read(query, {"id": stream_id, "limit": limit})


def range_list(appended: Appended) -> list[int]:
    """Every position of an append."""
    return list(range(appended.first, appended.last + 1))


def _new_event(stored: StoredEvent) -> NewEvent:
    stream = stored.originator_id
    assert isinstance(stream, UUID), "streams of the ledger are named by UUIDs"
    if not isinstance(stored, LedgerStoredEvent):  # the library's own, as its test cases make them
        return NewEvent(stream.bytes, stored.originator_version, stored.topic, "", 0, None, stored.state)
    return NewEvent(
        stream.bytes,
        stored.originator_version,
        stored.topic,
        stored.run_id,
        stored.sequence,
        stored.occurred_at,
        stored.state,
    )


def _stored_event(row: EventRow) -> LedgerStoredEvent:
    return LedgerStoredEvent(
        row.originator_id,
        row.originator_version,
        row.topic,
        row.payload or b"",
        row.run_id,
        row.sequence,
        row.occurred_at,
        row.recorded_at,
    )


class _PollingSubscription(Subscription[ApplicationRecorder]):
    """Follows the log by looking at it: nothing rests on NOTIFY."""

    _rows: Iterator[Notification] = iter(())

    def __next__(self) -> Notification:
        while not self._has_been_stopped:
            row = next(self._rows, None)
            if row is not None:
                self._last_notification_id = row.id
                return row
            found = self._recorder.select_notifications(
                self._last_notification_id or 0, FETCH_ROWS, topics=self._topics, inclusive_of_start=False
            )
            self._rows = iter(found)
            if not found:
                time.sleep(POLL_S)
        raise StopIteration
