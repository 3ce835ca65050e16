"""A batch of an account's events, decoded once for all projections. No SQL here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ledger.ids import RUN_ID_LENGTH_MAX
from ledger.store.mapper import decode_shape, is_keeping_topic, is_record_topic
from ledger.store.shapes import RecordShape, RunStartedShape, Shape

NAME_CHARACTERS_MAX = 200
"""Names are cut to this length where an index holds them: several must fit into the 2,704 bytes of an index entry."""

ERASED = RecordShape(object_type="")
"""Stands for the payload of a change that was erased: only its row is left."""

assert RUN_ID_LENGTH_MAX <= NAME_CHARACTERS_MAX


class StoredRow(NamedTuple):
    """An event as a projection reads it. Bytes where PostgreSQL's binary form goes from table to table unread."""

    position: int
    stream: bytes
    """The originator_id's 16 bytes."""
    topic: str
    run_id: str
    sequence: int
    occurred_at: bytes
    """timestamptz, binary: 8 bytes."""
    payload: bytes | None
    """None: erased."""


class Change(NamedTuple):
    """A record event."""

    row: StoredRow
    shape: RecordShape
    """ERASED where the payload is gone."""


class RunFact(NamedTuple):
    """An event of a run's own stream."""

    row: StoredRow
    shape: Shape


class Batch(NamedTuple):
    """The events after one position up to another, none left out."""

    last: int
    """The position of the last event."""
    changes: list[Change]
    run_facts: list[RunFact]
    starts: Mapping[str, RunStartedShape]
    """How each run that the batch tells of began, and each recipe above it, whether or not it began in this batch."""

    def lineage(self, run_id: str) -> Iterator[str]:
        """The run, the recipe run that it belongs to, the one that this belongs to, and so on."""
        above: str | None = run_id
        while above is not None:
            yield above
            above = self.starts[above].operation.recipe_run_id


def decode_rows(rows: Iterable[StoredRow]) -> tuple[list[Change], list[RunFact]]:
    """Record events and run events, each in order; what is of the account itself is left out.

    Raises IntegrityFailed for a payload that nothing explains.
    """
    changes: list[Change] = []
    run_facts: list[RunFact] = []
    for row in rows:
        if is_keeping_topic(row.topic):
            continue
        if not is_record_topic(row.topic):
            run_facts.append(RunFact(row, decode_shape(row.topic, row.payload or b"")))
        elif row.payload is None:
            changes.append(Change(row, ERASED))
        else:
            shape = decode_shape(row.topic, row.payload)
            assert isinstance(shape, RecordShape)
            changes.append(Change(row, shape))
    return changes, run_facts


def indexable(text: str | None) -> str:
    """A name as it stands in indexed columns: nothing as the empty text, no NUL, cut to NAME_CHARACTERS_MAX."""
    return (text or "")[:NAME_CHARACTERS_MAX].replace("\0", "\ufffd")
