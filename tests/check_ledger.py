"""The checker that looks at every test's database in the end: whatever happened, the log is whole and the views agree.

Each check is a function from a log to the faults it sees; nothing here uses the code that it checks but the decoding
of stored shapes. Events of topics that are not ours (the library's own test cases make such) are checked for order.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC
from typing import Any
from uuid import UUID

import psycopg

from ledger.domain.keeping import KeepingEvent
from ledger.domain.record import RecordEvent
from ledger.domain.run import Run
from ledger.domain.tally import Tally, tally_of
from ledger.ids import keeping_stream_id, outcome_stream_id, record_stream_id, run_stream_id
from ledger.store.mapper import LedgerEvent, to_event
from ledger.store.rows import EVENT_COLUMNS, EventRow
from ledger.store.shapes import SHAPES
from projections.events.batch import NAME_CHARACTERS_MAX

FAULTS_MAX = 20
NOTES = (Run.UndoBegun, Run.UndoEnded, Run.UndoReversed, Run.BeforeStatesExpired)
"""What may be noted of a run that has ended."""
_ACCOUNTS = "SELECT account_id, head, nullif(head_at, '-infinity') FROM accounts"


@dataclass
class Log:
    """One account as the owner reads it, past every view."""

    account_id: UUID
    head: int
    head_at: Any
    rows: list[EventRow]
    salts: list[bytes | None]
    erased: set[int]
    events: dict[int, LedgerEvent] = field(default_factory=dict)
    """By position; only topics of ours."""


def check_ledger(owner_url: str) -> None:
    """Raises AssertionError that lists the faults found in any account of the database."""
    faults: list[str] = []
    with psycopg.connect(owner_url) as connection:
        for account_id, head, head_at in connection.execute(_ACCOUNTS).fetchall():
            log = _read_log(connection, account_id, head, head_at)
            faults += [f"{account_id}: {fault}" for check in LOG_CHECKS for fault in check(log)]
            faults += [f"{account_id}: {fault}" for fault in _find_view_faults(connection, log)]
        strays = connection.execute(
            "SELECT count(*) FROM events e WHERE NOT EXISTS (SELECT FROM accounts a WHERE a.account_id = e.account_id)"
        ).fetchone()
    if strays and strays[0]:
        faults.append(f"{strays[0]} events of no account")
    assert not faults, "the ledger is damaged:\n" + "\n".join(faults[:FAULTS_MAX])


def _read_log(connection: psycopg.Connection[Any], account_id: UUID, head: int, head_at: Any) -> Log:
    columns = EVENT_COLUMNS.replace("payload", "coalesce(payload, rest)")
    query = (
        f"SELECT salt, {columns} FROM events LEFT JOIN erased_events USING (account_id, position)"
        " WHERE account_id = %s ORDER BY position"
    )
    found = connection.execute(query, (account_id,)).fetchall()
    erased = connection.execute("SELECT position FROM erased_events WHERE account_id = %s", (account_id,)).fetchall()
    rows, salts = [EventRow._make(row[1:]) for row in found], [row[0] for row in found]
    log = Log(account_id, head, head_at, rows, salts, {row[0] for row in erased})
    log.events = {row.position: to_event(row) for row in log.rows if row.topic in SHAPES}  # every shape decodes
    return log


def find_order_faults(log: Log) -> Iterator[str]:
    """Positions 1 to head with no gap; recorded_at never goes back."""
    positions = [row.position for row in log.rows]
    if positions != list(range(1, log.head + 1)):
        yield f"positions are not 1 to the head {log.head}: {len(positions)} from {positions[:1]} to {positions[-1:]}"
    for earlier, later in zip(log.rows, log.rows[1:], strict=False):
        if later.recorded_at < earlier.recorded_at:
            yield f"position {later.position} was recorded before the one before it"
    if log.rows and log.rows[-1].recorded_at > log.head_at:
        yield f"head_at {log.head_at} is before the newest event"


def find_salt_faults(log: Log) -> Iterator[str]:
    """16 bytes each, no two the same; none where an erasure left something in the payload's place."""
    salts = [salt for salt in log.salts if salt is not None]
    if wrong := [salt for salt in salts if len(salt) != 16]:
        yield f"{len(wrong)} salts have not 16 bytes"
    if len(set(salts)) != len(salts):
        yield "two events share a salt"
    erased = {row.position for row, salt in zip(log.rows, log.salts, strict=True) if salt is None}
    if erased != log.erased:
        yield f"without salt are {sorted(erased)}, erased were {sorted(log.erased)}"


def find_stream_faults(log: Log) -> Iterator[str]:
    """Each event stands in the stream of its name; run streams count 1, 2, 3, record streams hold the position."""
    versions: Counter[UUID] = Counter()
    for row in log.rows:
        event = log.events.get(row.position)
        if isinstance(event, RecordEvent):
            if row.originator_version != row.position:
                yield f"record event at {row.position} has version {row.originator_version}"
            if row.originator_id != _stream_of(log.account_id, event):
                yield f"record event at {row.position} stands in a foreign stream"
        elif isinstance(event, KeepingEvent):
            versions[row.originator_id] += 1
            if (row.originator_id, row.originator_version) != (
                keeping_stream_id(log.account_id), versions[row.originator_id]
            ):  # fmt: skip
                yield f"the account's own event at {row.position} stands in a foreign stream or has a wrong version"
        elif event is not None:
            versions[row.originator_id] += 1
            expected = versions[row.originator_id]
            if row.originator_version != expected:
                yield f"run event at {row.position} has version {row.originator_version}, not {expected}"
            if row.originator_id != run_stream_id(log.account_id, row.run_id):
                yield f"run event at {row.position} stands in a foreign stream"


def find_batch_faults(log: Log) -> Iterator[str]:
    """Each changes-recorded is directly preceded by exactly the changes that it counts; no change stands alone."""
    counted = 0
    accepted: Counter[str] = Counter()
    for position, event in log.events.items():
        if not isinstance(event, Run.ChangesRecorded):
            continue
        batch = [log.events.get(at) for at in range(position - event.tally.processed, position)]
        own = [each for each in batch if isinstance(each, RecordEvent) and each.run_id == event.run_id]
        sequences = list(range(event.offset + 1, event.offset + event.tally.processed + 1))
        if event.offset != accepted[event.run_id] or [each.sequence for each in own] != sequences:
            yield f"the batch that ends at {position} has not the changes {event.offset} and on"
        if tally_of(Counter((each.action, each.result) for each in own)) != event.tally:
            yield f"the batch that ends at {position} has another tally than its changes"
        accepted[event.run_id] += event.tally.processed
        counted += len(own)
    changes = sum(isinstance(event, RecordEvent) for event in log.events.values())
    if changes != counted:
        yield f"{changes} changes, {counted} of them in a batch"


def find_ending_faults(log: Log) -> Iterator[str]:
    """A run begins with run-started, and nothing but notes of its undo follows its end."""
    ended: set[str] = set()
    begun: set[str] = set()
    for position, event in log.events.items():
        if isinstance(event, KeepingEvent):
            continue
        if event.run_id in ended and not isinstance(event, NOTES):
            yield f"an event of run {event.run_id} at {position} follows the run's end"
        if isinstance(event, Run.Created):
            begun.add(event.run_id)
        elif event.run_id not in begun:
            yield f"an event of run {event.run_id} at {position} comes before the run's start"
        if isinstance(event, Run.Finished | Run.Failed):
            ended.add(event.run_id)


LOG_CHECKS: tuple[Callable[[Log], Iterator[str]], ...] = (
    find_order_faults,
    find_salt_faults,
    find_stream_faults,
    find_batch_faults,
    find_ending_faults,
)


def _stream_of(account_id: UUID, event: RecordEvent) -> UUID:
    if event.preview or event.record_id is None:
        return outcome_stream_id(account_id, event.run_id)
    return record_stream_id(account_id, event.object_type, event.record_id)


# The views, where they have caught up.

_LIVE = "SELECT name, generation FROM projections WHERE account_id = %s AND state = 'live' AND position = %s"
_TRACKER = """
    SELECT run_id, status, preview, updated, created, deleted, unmodified, other, failed, started_at,
           nullif(finished_at, 'infinity') FROM tracker WHERE account_id = %s AND generation = %s AND kind <> 'recipe'
"""
_RUN_CHANGES = """
    SELECT position, run_id, sequence, failed, record_id FROM run_changes WHERE account_id = %s AND generation = %s
"""
_RECORDS = """
    SELECT object_type, record_id, first_position, last_position FROM records WHERE account_id = %s AND generation = %s
"""

_ACTIVITY = """
    SELECT day, user_shown, template, preview, runs, failed_runs, updated, created, deleted, unmodified, other, failed
    FROM activity_daily WHERE account_id = %s AND generation = %s
"""


def _find_view_faults(connection: psycopg.Connection[Any], log: Log) -> Iterator[str]:
    if not connection.execute("SELECT to_regclass('projections') IS NOT NULL").fetchone()[0]:  # type: ignore[index]
        return
    for name, generation in connection.execute(_LIVE, (log.account_id, log.head)).fetchall():
        if name in VIEW_CHECKS:
            query, expect = VIEW_CHECKS[name]
            found = set(connection.execute(query, (log.account_id, generation)).fetchall())
            expected = expect(log)
            if found != expected:
                yield f"view {name}: missing {_some(expected - found)}, too many {_some(found - expected)}"


def _tracker_rows(log: Log) -> set[tuple[Any, ...]]:
    tallies: dict[str, Tally] = defaultdict(Tally)
    starts: dict[str, Run.Created] = {}
    ends: dict[str, Run.Finished | Run.Failed] = {}
    for event in log.events.values():
        if isinstance(event, Run.Created):
            starts[event.run_id] = event
        elif isinstance(event, Run.ChangesRecorded):
            tallies[event.run_id] += event.tally
        elif isinstance(event, Run.Finished | Run.Failed):
            ends[event.run_id] = event
    return {
        _tracker_row(start, tallies[run_id], ends.get(run_id))
        for run_id, start in starts.items()
        if start.operation.kind != "recipe"
    }


def _tracker_row(start: Run.Created, tally: Tally, end: Run.Finished | Run.Failed | None) -> tuple[Any, ...]:
    status = "running" if end is None else "finished" if isinstance(end, Run.Finished) else "failed"
    counts = (tally.updated, tally.created, tally.deleted, tally.unmodified, tally.other, tally.failed)
    preview = start.operation.mode == "preview"
    return (start.run_id, status, preview, *counts, start.started_at, end.finished_at if end else None)


def _changes(log: Log) -> Iterator[tuple[int, RecordEvent]]:
    return ((at, event) for at, event in log.events.items() if isinstance(event, RecordEvent))


def _run_change_rows(log: Log) -> set[tuple[Any, ...]]:
    return {(at, event.run_id, event.sequence, not event.succeeded, event.record_id) for at, event in _changes(log)}


def _record_rows(log: Log) -> set[tuple[Any, ...]]:
    first: dict[tuple[str, str], int] = {}
    last: dict[tuple[str, str], int] = {}
    for at, event in _changes(log):
        if event.record_id is not None and not event.preview:
            record = (event.object_type, event.record_id)
            first.setdefault(record, at)
            last[record] = at
    return {(*record, first[record], last[record]) for record in first}


def _activity_rows(log: Log) -> set[tuple[Any, ...]]:
    """From the runs as the tracker's check has them, summed by their day, user, template and mode."""
    starts = {event.run_id: event for event in log.events.values() if isinstance(event, Run.Created)}
    days: dict[tuple[Any, ...], Counter[int]] = defaultdict(Counter)
    for run_id, status, preview, *counts, started_at, _ in _tracker_rows(log):
        what = starts[run_id].operation
        user = (what.user.shown if what.user else None) or ""
        template = (what.template.name or what.template.id or "") if what.template else ""
        names = (text[:NAME_CHARACTERS_MAX].replace("\0", "\ufffd") for text in (user, template))
        day = days[(started_at.astimezone(UTC).date(), *names, preview)]
        day.update(dict(enumerate((1, status == "failed", *counts))))
    return {(*key, *(day[number] for number in range(8))) for key, day in days.items()}


VIEW_CHECKS: dict[str, tuple[str, Callable[[Log], set[tuple[Any, ...]]]]] = {
    "tracker": (_TRACKER, _tracker_rows),
    "run_changes": (_RUN_CHANGES, _run_change_rows),
    "records": (_RECORDS, _record_rows),
    "activity_daily": (_ACTIVITY, _activity_rows),
}


def _some(rows: set[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    return sorted(rows, key=repr)[:3]
