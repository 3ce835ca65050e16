"""The live rows of each view against what the events give, which is folded in memory: nothing is written where rows are
many. The tracker and activity_daily have few: they are filled beside the live ones and taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol
from uuid import UUID

from psycopg import Connection

from projections.events.batch import Batch
from projections.port import Projection
from projections.records.projection import RecordRow, RecordRows
from projections.records.projection import fold as fold_records
from projections.run_changes.projection import Block, expected_rows
from projections.run_changes.projection import fold as fold_changes
from projections.tracking.postgres import add_generation, compare_rows

_CHANGES = """
    SELECT position, sequence, timestamptz_send(occurred_at), failed, preview, run_id, action, object_type, actor,
        array_send(fields), record_id, label, message
    FROM account_run_changes WHERE generation = %s AND position > %s AND position <= %s ORDER BY position
"""
_STRAY = """
    SELECT min(position) FROM account_run_changes WHERE generation = %s AND (position > %s OR position < 1)
"""
_BLOCKS = "SELECT facet, value, block FROM change_blocks WHERE account_id = %s AND generation = %s"
_RECORDS = """
    SELECT object_type, record_id, uuid_send(originator_id), first_position, last_position, changed_position,
        is_present, run_id, label
    FROM records WHERE account_id = %s AND generation = %s
"""
_ROWS_FETCHED = 5_000


class Fault(NamedTuple):
    """A row that the events do not give. `position`: of an event that it tells of, where it tells of one."""

    view: str
    detail: str
    position: int | None


class Step(NamedTuple):
    """A batch of events after a position, read in the connection's transaction."""

    connection: Connection[Any]
    after: int
    batch: Batch


class Comparison(Protocol):
    """Compares one view: takes all batches in order, then the rows that stand still."""

    def take(self, step: Step) -> None: ...

    def end(self, connection: Connection[Any], /) -> list[Fault]:
        """The first fault of each table; the rows are to be those of the events taken. May write: the caller takes
        that back."""


class ChangesComparison:
    """run_changes batch by batch; change_blocks in the end."""

    def __init__(self, account_id: UUID, generation: int) -> None:
        self._account_id, self._generation = account_id, generation
        self._blocks: set[Block] = set()
        self._fault: Fault | None = None
        self._last = 0

    def take(self, step: Step) -> None:
        rows = fold_changes(step.batch)
        self._blocks |= rows.blocks
        self._last = step.batch.last
        if self._fault is None:
            found = self._read(step)
            expected = expected_rows(rows)
            if found != expected:
                self._fault = _fault("run_changes", _first_difference(found, expected))

    def end(self, connection: Connection[Any], /) -> list[Fault]:
        if self._fault is None:
            row = connection.execute(_STRAY, (self._generation, self._last), prepare=False).fetchone()
            if row is not None and row[0] is not None:
                self._fault = _fault("run_changes", row[0])
        return [each for each in (self._fault, self._compare_blocks(connection)) if each is not None]

    def _read(self, step: Step) -> list[tuple[Any, ...]]:
        cursor = step.connection.cursor(binary=True)
        return cursor.execute(_CHANGES, (self._generation, step.after, step.batch.last), prepare=False).fetchall()

    def _compare_blocks(self, connection: Connection[Any]) -> Fault | None:
        found = set(map(Block._make, connection.execute(_BLOCKS, (self._account_id, self._generation), prepare=False)))
        return None if found == self._blocks else _fault("change_blocks", None)


class RecordsComparison:
    """records: the whole view is held in memory, some 500 bytes a record."""

    def __init__(self, account_id: UUID, generation: int) -> None:
        self._account_id, self._generation = account_id, generation
        self._rows: RecordRows = {}

    def take(self, step: Step) -> None:
        fold_records(step.batch, self._rows)

    def end(self, connection: Connection[Any], /) -> list[Fault]:
        rows = self._rows
        wrong: list[int] = []
        with connection.cursor(name="records_found", binary=True) as cursor:
            cursor.execute(_RECORDS, (self._account_id, self._generation))
            while fetched := cursor.fetchmany(_ROWS_FETCHED):
                for object_type, record_id, *found in fetched:
                    row = rows.pop((object_type, record_id), None)
                    if row is None or found != _stored(row):
                        wrong.append(found[2] if row is None else min(found[2], row.last_position))
        wrong += [row.last_position for row in rows.values()]
        return [_fault("records", min(wrong))] if wrong else []


class FilledComparison:
    """A view with few rows: filled in a generation of its own."""

    def __init__(self, account_id: UUID, generation: int, projection: Projection[Any], tables: Sequence[str]) -> None:
        self._account_id, self._generation = account_id, generation
        self._projection = projection
        self._tables = tables
        self._folded: list[Any] = []

    def take(self, step: Step) -> None:
        self._folded.append(self._projection.fold(step.batch))

    def end(self, connection: Connection[Any], /) -> list[Fault]:
        filled = add_generation(connection, self._account_id, self._projection.name)
        for rows in self._folded:
            self._projection.write(connection, self._account_id, filled, rows)
        differing = (
            (table, compare_rows(connection, self._account_id, table, self._generation, filled))
            for table in self._tables
        )
        return [Fault(table, *found) for table, found in differing if found is not None]


def _stored(row: RecordRow) -> list[Any]:
    """As it stands in the table."""
    return [
        row.stream,
        row.first_position,
        row.last_position,
        row.changed_position,
        bool(row.is_present),
        row.run_id,
        row.label,
    ]


def _fault(view: str, position: int | None) -> Fault:
    return Fault(view, "A row is missing, too many, or other than the events give.", position)


def _first_difference(found: Sequence[tuple[Any, ...]], expected: Sequence[tuple[Any, ...]]) -> int:
    """The first position whose row is not the same."""
    one, other = ({row[0]: row for row in rows} for rows in (found, expected))
    return int(min(at for at in one.keys() | other.keys() if one.get(at) != other.get(at)))
