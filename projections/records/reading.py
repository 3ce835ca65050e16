"""Records at any moment: state, history and blame from the record's own stream, all records of a type by the view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from msgspec import Raw

from ledger.domain.record import RecordEvent
from ledger.errors import InputError, Problem
from ledger.ids import record_stream_id
from ledger.store.database import Database
from ledger.store.mapper import decode_record
from ledger.store.rows import EVENT_COLUMNS, EventRow
from projections.progress import wait_for
from projections.records.folding import RecordFold
from projections.records.moment import Cut, Moment, resolve
from projections.records.view import Blame, HistoryPage, NamedRecord, RecordState
from projections.run_changes.decoding import decode_change
from projections.tracking.postgres import live_generation

HISTORY_LIMIT_MAX = 1_000
STATES_RECORDS = 250
"""Records whose streams are read together, and whose states are held at once."""
STATES_ROWS = 1_000

NOW = Moment()

_HISTORY = f"""
    SELECT {EVENT_COLUMNS} FROM account_events
    WHERE originator_id = %(stream)s AND originator_version < %(before)s
    ORDER BY originator_version DESC LIMIT %(limit)s
"""  # noqa: S608  (constants only)
_RECORDS = """
    SELECT record_id, originator_id FROM records
    WHERE account_id = %(account)s AND generation = %(generation)s AND object_type = %(object_type)s
    AND record_id > %(after)s AND first_position <= %(position)s ORDER BY record_id LIMIT %(limit)s
"""
_NAMED = """
    SELECT object_type, record_id, label, is_present FROM records
    WHERE account_id = %s AND generation = %s AND object_type = ANY(%s) AND record_id = %s ORDER BY object_type
"""
_RUNS_SINCE = """
    SELECT run_id FROM account_events WHERE originator_id = %s AND occurred_at > %s
    AND topic IN ('record-created', 'record-updated', 'record-deleted') GROUP BY run_id ORDER BY min(position)
"""
_STREAMS = f"""
    SELECT {EVENT_COLUMNS} FROM account_events
    WHERE originator_id = ANY(%(streams)s) AND originator_version <= %(position)s
    ORDER BY originator_id, originator_version
"""  # noqa: S608  (constants only)
_POSITION_MAX = 2**63 - 1


class Records:
    """The records of one account."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database = database
        self._account_id = account_id

    def state(self, object_type: str, record_id: str, moment: Moment = NOW) -> RecordState:
        """The record at a moment; an absent record is a value too.

        Raises NotFound for an unknown run, InputError for a position that is not there (yet).
        """
        return self._fold(object_type, record_id, moment).state(moment.shown)

    def blame(self, object_type: str, record_id: str, moment: Moment = NOW) -> Blame:
        """Which change gave each field its value. Raises as state does."""
        folded = self._fold(object_type, record_id, moment)
        return Blame(folded.state(moment.shown), folded.blamed())

    def history(self, object_type: str, record_id: str, *, after: int | None = None, limit: int = 100) -> HistoryPage:
        """The record's changes, newest first. `after` is the `next_after` of the page before. Raises InputError."""
        if not 1 <= limit <= HISTORY_LIMIT_MAX:
            expected = f"1 to {HISTORY_LIMIT_MAX}"
            problem = Problem("The limit is not valid.", parameter="limit", found=str(limit), expected=expected)
            raise InputError(f"A page has {expected} changes.", problems=(problem,))
        parameters = {
            "stream": record_stream_id(self._account_id, object_type, record_id),
            "before": _POSITION_MAX if after is None else after,
            "limit": limit + 1,
        }
        with self._database.transaction(self._account_id) as connection:
            rows = connection.cursor(binary=True).execute(_HISTORY, parameters).fetchall()
        changes = tuple(decode_change(EventRow._make(row)) for row in rows[:limit])
        presence = self._fold(object_type, record_id, NOW).state("now").presence
        next_after = changes[-1].position if len(rows) > limit else None
        return HistoryPage(object_type, record_id, presence, changes, next_after)

    def named(self, record_id: str, object_types: Sequence[str]) -> list[NamedRecord]:
        """The records of these types that have this id."""
        with self._database.transaction(self._account_id) as connection:
            generation = live_generation(connection, self._account_id, "records")
            parameters = (self._account_id, generation, list(object_types), record_id.replace("\0", "\ufffd"))
            return [NamedRecord._make(row) for row in connection.execute(_NAMED, parameters)]

    def runs_since(self, object_type: str, record_id: str, instant: datetime) -> list[str]:
        """The runs that changed a record after an instant, in the order of the log."""
        stream = record_stream_id(self._account_id, object_type, record_id)
        with self._database.transaction(self._account_id) as connection:
            return [row[0] for row in connection.execute(_RUNS_SINCE, (stream, instant))]

    def states(self, object_type: str, moment: Moment = NOW) -> Iterator[dict[str, Any]]:
        """All records of a type at a moment, by record id: {"object_type", "record_id", "fields"}; `fields` holds
        msgspec.Raw values. Streamed with bounded memory; one consistent moment however long it takes.

        Raises NotFound (unknown run), InputError and NotCaughtUp before the first record.
        """
        cut = resolve(self._database, self._account_id, moment)
        wait_for(self._database, self._account_id, cut.position, names=["records"])
        return self._states(object_type.replace("\0", "\ufffd"), cut)

    def _states(self, object_type: str, cut: Cut) -> Iterator[dict[str, Any]]:
        after = ""
        while found := self._some_records(object_type, after, cut.position):
            folds = self._fold_streams(object_type, found, cut)
            for record_id, stream in found:
                fields = folds[stream].fields
                if fields is not None:
                    exact = {name: Raw(text) for name, text in fields.items()}
                    yield {"object_type": object_type, "record_id": record_id, "fields": exact}
            after = found[-1][0]

    def _some_records(self, object_type: str, after: str, position: int) -> list[tuple[str, UUID]]:
        with self._database.transaction(self._account_id) as connection:
            parameters = {
                "account": self._account_id,
                "generation": live_generation(connection, self._account_id, "records"),
                "object_type": object_type,
                "after": after,
                "position": position,
                "limit": STATES_RECORDS,
            }
            return connection.execute(_RECORDS, parameters).fetchall()

    def _fold(self, object_type: str, record_id: str, moment: Moment) -> RecordFold:
        cut = resolve(self._database, self._account_id, moment)
        stream = record_stream_id(self._account_id, object_type, record_id)
        return self._fold_streams(object_type, [(record_id, stream)], cut)[stream]

    def _fold_streams(self, object_type: str, found: list[tuple[str, UUID]], cut: Cut) -> dict[UUID, RecordFold]:
        """Stream to fold. The events come through a cursor of the server's: some at a time, however many there are."""
        folds = {stream: RecordFold(object_type, record_id) for record_id, stream in found}
        with (
            self._database.transaction(self._account_id) as connection,
            connection.cursor(name="streams", binary=True) as cursor,
        ):
            cursor.execute(_STREAMS, {"streams": list(folds), "position": cut.position})
            while rows := cursor.fetchmany(STATES_ROWS):
                for row in map(EventRow._make, rows):
                    if cut.includes(row):
                        folds[row.originator_id].take(row, _event(row))
        return folds


def _event(row: EventRow) -> RecordEvent | None:
    """None: erased."""
    return None if row.payload is None else decode_record(row)
