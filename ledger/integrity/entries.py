"""An account's events as the entries of its log, read in order of position."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.domain.tally import Tally
from ledger.errors import IntegrityFailed
from ledger.integrity.leaf import Commitments, LeafEncoder, Sealed
from ledger.store.mapper import decode_shape
from ledger.store.shapes import ChangesRecordedShape

WINDOW_EVENTS = 8_192
"""Events read at a time: 32 tiles."""

_EVENTS = """
    SELECT position, uuid_send(originator_id), topic, run_id, sequence, timestamptz_send(recorded_at),
           timestamptz_send(occurred_at), salt, payload
    FROM account_events WHERE position > %s AND position <= %s ORDER BY position
"""
_EVENTS_VERSIONS = _EVENTS.replace("payload\n", "payload, originator_version\n", 1)
_BATCHES = """
    SELECT position, payload FROM account_events WHERE originator_id = %s AND topic = 'changes-recorded'
"""
_RUN_EVENTS = """
    SELECT position, topic, payload FROM account_events WHERE originator_id = %s ORDER BY originator_version
"""
_ERASED = """
    SELECT position, commitment, stream_commitment FROM erased_events
    WHERE account_id = ledger_current_account() AND position = ANY(%s)
"""
_NOT_ERASED = """
    SELECT r.position FROM erased_events r WHERE r.account_id = ledger_current_account() AND r.position = ANY(%s)
    AND NOT EXISTS (SELECT FROM account_events e WHERE e.position = r.erasure_position
                    AND e.topic IN ('erasure-recorded', 'retention-applied'))
"""
_ENDS = ("run-finished", "run-failed")


class EntryReader:
    """Reads the entries of one account. Remembers the counts of the runs it is in the midst of."""

    def __init__(self, account_id: UUID) -> None:
        self._encoder = LeafEncoder(account_id)
        self._tallies: dict[bytes, Tally] = {}
        """By run stream; right for the runs whose beginning was read, as long as nothing was left out since."""
        self._read_to = 0

    def read(self, connection: Connection[Any], after: int, last: int) -> list[bytes]:
        """The entries of the events at these positions (after excluded, last included), as many as there are.

        Raises IntegrityFailed where one is missing, a batch's counts cannot be read, or an event was emptied without
        erasing it.
        """
        rows = read_sealed(connection, after, last)
        for expected, row in enumerate(rows, after + 1):
            if row.position != expected:
                raise IntegrityFailed(f"The event at position {expected} is missing. `ledger verify` tells more.")
        counts = self._counts(connection, after, rows)
        erased = read_erased(connection, [row.position for row in rows if row.salt is None or row.payload is None])
        return list(self._encoder.encode(rows, counts, erased))

    def _counts(self, connection: Connection[Any], after: int, rows: Sequence[Sealed]) -> dict[int, Tally]:
        """The counts of run beginnings, batches and run ends among the rows, by position."""
        if after != self._read_to:
            self._tallies.clear()  # somebody else read on: batches may be missing
        counts: dict[int, Tally] = {}
        tallies = self._tallies
        for row in rows:
            if row.topic == "run-started":
                counts[row.position] = tallies[row.stream] = Tally()
            elif row.topic == "changes-recorded":
                counts[row.position] = batch = tally_of_batch(row.position, row.payload)
                if row.stream in tallies:
                    tallies[row.stream] += batch
            elif row.topic in _ENDS:
                counts[row.position] = self._total_of(connection, row)
        self._read_to = rows[-1].position if rows else after
        return counts

    def _total_of(self, connection: Connection[Any], end: Sealed) -> Tally:
        """All that the run counted up to its end."""
        known = self._tallies.pop(end.stream, None)
        if known is not None:
            return known
        batches = connection.cursor(binary=True).execute(_BATCHES, (UUID(bytes=end.stream),)).fetchall()
        total = Tally()
        for position, payload in batches:
            if position < end.position:
                total += tally_of_batch(position, payload)
        return total


def read_sealed(connection: Connection[Any], after: int, last: int) -> list[Sealed]:
    """The events at these positions, as they go into leaves."""
    rows = connection.cursor(binary=True).execute(_EVENTS, (after, last), prepare=False).fetchall()
    return [Sealed._make(row) for row in rows]


def read_sealed_versions(connection: Connection[Any], after: int, last: int) -> list[tuple[Sealed, int]]:
    """The same, each with its version in its stream."""
    rows = connection.cursor(binary=True).execute(_EVENTS_VERSIONS, (after, last), prepare=False).fetchall()
    return [(Sealed._make(row[:-1]), row[-1]) for row in rows]


def read_run_positions(connection: Connection[Any], stream: UUID) -> list[int]:
    """The positions of a run's own events and of the changes that its batches count, in order."""
    rows = connection.cursor(binary=True).execute(_RUN_EVENTS, (stream,)).fetchall()
    positions: list[int] = []
    for position, topic, payload in rows:
        if topic == "changes-recorded":
            positions += range(position - tally_of_batch(position, payload).processed, position)
        positions.append(position)
    return positions


def read_erased(connection: Connection[Any], positions: Sequence[int]) -> Mapping[int, Commitments]:
    """What is kept of the erased events at these positions. Raises IntegrityFailed where nothing is."""
    if not positions:
        return {}
    rows = connection.cursor(binary=True).execute(_ERASED, (list(positions),)).fetchall()
    kept = {position: Commitments(payload, stream) for position, payload, stream in rows}
    missing = sorted(set(positions) - kept.keys())
    if missing:
        raise IntegrityFailed(
            f"The event at position {missing[0]} has no salt and payload, and no erasure kept its commitment."
        )
    return kept


def read_not_erased(connection: Connection[Any], positions: Sequence[int]) -> list[int]:
    """Those of the positions that are kept as erased though no event says so."""
    return [position for (position,) in connection.execute(_NOT_ERASED, (list(positions),))]


def tally_of_batch(position: int, payload: bytes | None) -> Tally:
    """What a changes-recorded event counts. Raises IntegrityFailed."""
    try:
        shape = decode_shape("changes-recorded", payload or b"")
    except IntegrityFailed as error:
        raise IntegrityFailed(f"At position {position}: {error.message}") from error
    assert isinstance(shape, ChangesRecordedShape)
    return shape.tally
