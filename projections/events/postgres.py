"""Reading batches of an account's events."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.errors import IntegrityFailed
from ledger.ids import run_stream_id
from ledger.store.mapper import decode_shape
from ledger.store.shapes import RunStartedShape
from projections.events.batch import Batch, Change, RunFact, StoredRow, decode_rows

BATCH_EVENTS = 8_000
"""Events a transaction: long enough that its commit costs little, short enough that readers follow closely."""
STARTS_KEPT_MAX = 10_000
"""Runs whose beginning a reader remembers, some 20 MB."""

_EVENTS_AFTER = """
    SELECT position, uuid_send(originator_id), topic, run_id, sequence, timestamptz_send(occurred_at), payload
    FROM account_events WHERE position > %s AND position <= %s ORDER BY position
"""
"""Positions have no gap, so a range is a number of events. A LIMIT instead lets a planner whose statistics are old sort
the whole log first."""
_RECORD_EVENTS_AT = """
    SELECT position, uuid_send(originator_id), topic, run_id, sequence, timestamptz_send(occurred_at), payload
    FROM account_events WHERE position = ANY(%s) AND sequence > 0 ORDER BY position
"""
_STARTS = """
    SELECT run_id, payload FROM account_events WHERE originator_id = ANY(%s) AND originator_version = 1
"""


class EventReader:
    """The events of one account, and how its runs began. Remembers the latter; they never change."""

    def __init__(self, account_id: UUID) -> None:
        self._account_id = account_id
        self._starts: OrderedDict[str, RunStartedShape] = OrderedDict()

    def read(self, connection: Connection[Any], after: int, *, limit: int = BATCH_EVENTS) -> Batch | None:
        """The next events after a position, None where there are none. Raises IntegrityFailed, with the position."""
        cursor = connection.cursor(binary=True)
        fetched = cursor.execute(_EVENTS_AFTER, (after, after + limit), prepare=False).fetchall()
        if not fetched:
            return None
        rows = [StoredRow._make(row) for row in fetched]
        try:
            changes, run_facts = decode_rows(rows)
        except IntegrityFailed as error:
            raise IntegrityFailed(f"Between positions {after + 1} and {rows[-1].position}: {error}") from error
        return Batch(rows[-1].position, changes, run_facts, self._starts_of(connection, changes, run_facts))

    def read_at(self, connection: Connection[Any], positions: Sequence[int]) -> Batch:
        """The record events at these positions, in order, as a batch."""
        fetched = connection.cursor(binary=True).execute(_RECORD_EVENTS_AT, (list(positions),), prepare=False)
        changes, _ = decode_rows(StoredRow._make(row) for row in fetched.fetchall())
        return Batch(max(positions, default=0), changes, [], self._starts_of(connection, changes, []))

    def _starts_of(
        self, connection: Connection[Any], changes: Iterable[Change], run_facts: Iterable[RunFact]
    ) -> dict[str, RunStartedShape]:
        known = self._starts
        for row, shape in run_facts:
            if isinstance(shape, RunStartedShape):
                known[row.run_id] = shape
        wanted = {row.run_id for row, _ in changes} | {row.run_id for row, _ in run_facts}
        starts: dict[str, RunStartedShape] = {}
        while wanted:
            self._load(connection, wanted - known.keys())
            starts |= {run_id: known[run_id] for run_id in wanted}
            for run_id in wanted:
                known.move_to_end(run_id)
            above = {starts[run_id].operation.recipe_run_id for run_id in wanted}
            wanted = {run_id for run_id in above if run_id is not None} - starts.keys()
        while len(known) > STARTS_KEPT_MAX:
            known.popitem(last=False)
        return starts

    def _load(self, connection: Connection[Any], run_ids: set[str]) -> None:
        if not run_ids:
            return
        streams = [run_stream_id(self._account_id, run_id) for run_id in run_ids]
        for run_id, payload in connection.execute(_STARTS, (streams,), prepare=False):
            shape = decode_shape("run-started", payload or b"")
            assert isinstance(shape, RunStartedShape)
            self._starts[run_id] = shape
        missing = run_ids - self._starts.keys()
        if missing:
            raise IntegrityFailed(f"Run {min(missing)} has events but no beginning.")
