"""The views' side of an erasure: where they tell of a record, and making their rows again from what is left.

The rows are made by the projections' own folds from the events as they are now: what a rebuild would give.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.errors import Unavailable
from ledger.ids import run_stream_id
from ledger.json_text import encode
from ledger.store.database import Database
from ledger.store.mapper import decode_shape, is_record_topic
from ledger.store.shapes import RecordShape, RunFailedShape, RunStartedShape
from projections.events.postgres import EventReader
from projections.run_changes.postgres import RunChangesProjection
from projections.run_changes.projection import BLOCK_POSITIONS
from projections.runner import project_once
from projections.tracking.postgres import Generation, generations, live_generation

_MENTIONS = """
    SELECT position FROM account_run_changes WHERE generation = %(generation)s AND object_type = %(object_type)s
    AND (record_id = %(record_id)s OR (record_id IS NULL AND label = ANY(%(labels)s::text[])))
"""
_REMOVE = "DELETE FROM account_run_changes WHERE generation = %s AND position = ANY(%s)"
_REMOVE_ACTORS = """
    DELETE FROM change_blocks AS known WHERE account_id = ledger_current_account() AND generation = %(generation)s
    AND facet = 'user' AND block = ANY(%(blocks)s::bigint[]) AND NOT EXISTS (
        SELECT FROM account_run_changes AS row WHERE row.generation = known.generation
        AND row.position BETWEEN known.block * %(size)s AND known.block * %(size)s + %(size)s - 1
        AND left(row.actor, 200) = known.value)
"""
_STREAMS = """
    SELECT originator_id, topic, payload FROM account_events WHERE originator_id = ANY(%s) AND topic <> 'record-erased'
    ORDER BY originator_id, originator_version
"""
_SET_LABELS = """
    UPDATE records AS known SET label = told.label
    FROM unnest(%(streams)s::uuid[], %(labels)s::text[]) AS told (stream, label)
    WHERE account_id = ledger_current_account() AND object_type = ANY(%(object_types)s)
    AND record_id = ANY(%(record_ids)s) AND originator_id = told.stream AND known.label IS DISTINCT FROM told.label
"""
_RUN = """
    SELECT topic, payload FROM account_events WHERE originator_id = %s AND topic IN ('run-started', 'run-failed')
"""
_SET_FACTS = "UPDATE tracker SET facts = %s WHERE account_id = ledger_current_account() AND run_id = %s"
_SET_ERROR = "UPDATE tracker SET error = %s WHERE account_id = ledger_current_account() AND run_id = %s"


class ErasedViews:
    """ledger.erasure.port.Views on the projections of one account."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database, self._account_id = database, account_id

    def catch_up(self) -> None:
        project_once(self._database, self._account_id)

    def mentions(self, object_type: str, record_id: str, labels: Collection[str]) -> list[int]:
        with self._database.transaction(self._account_id) as connection:
            parameters = {
                "generation": live_generation(connection, self._account_id, "run_changes"),
                "object_type": object_type,
                "record_id": record_id,
                "labels": [label.replace("\0", "\ufffd") for label in labels],
            }
            return [row[0] for row in connection.execute(_MENTIONS, parameters)]

    def forget(self, connection: Connection[Any], positions: Sequence[int], run_ids: Sequence[str]) -> None:
        filled = [each for each in generations(connection, self._account_id) if each.state != "retired"]
        _refuse_behind(filled, max(positions, default=0))
        batch = EventReader(self._account_id).read_at(connection, positions)
        projection = RunChangesProjection()
        rows = projection.fold(batch)
        changed = [change.row.position for change in batch.changes]
        blocks = sorted({position // BLOCK_POSITIONS for position in changed})
        for generation in (each.generation for each in filled if each.name == "run_changes"):
            connection.execute(_REMOVE, (generation, changed))
            projection.write(connection, self._account_id, generation, rows)
            parameters = {"generation": generation, "blocks": blocks, "size": BLOCK_POSITIONS}
            connection.execute(_REMOVE_ACTORS, parameters)
        keys = {
            (shape.object_type, shape.record_id) for _, shape in batch.changes if shape.record_id and not shape.preview
        }  # fmt: skip
        streams = {UUID(bytes=row.stream) for row, shape in batch.changes if shape.record_id and not shape.preview}
        _set_labels(connection, keys, streams)
        for run_id in dict.fromkeys(run_ids):
            _set_run(connection, run_id, run_stream_id(self._account_id, run_id))


def _refuse_behind(filled: Sequence[Generation], position: int) -> None:
    for each in filled:
        if each.position < position:
            doing = "is being rebuilt" if each.state == "filling" else "has not caught up"
            raise Unavailable(
                f"The view {each.name} {doing}: it stands at position {each.position}, and the erasure reaches up to "
                f"{position}. Try again when it is there; `ledger lag` shows how far it is."
            )


def _set_labels(connection: Connection[Any], keys: Collection[tuple[str, str]], streams: Collection[UUID]) -> None:
    """Gives each record the last label that is left in its stream."""
    if not streams:
        return
    labels: dict[UUID, str | None] = dict.fromkeys(streams)
    for stream, topic, payload in connection.execute(_STREAMS, (list(streams),)):
        shape = decode_shape(topic, payload) if payload is not None and is_record_topic(topic) else None
        if isinstance(shape, RecordShape) and shape.label is not None:
            labels[stream] = shape.label.replace("\0", "\ufffd")
    types, record_ids = zip(*keys, strict=True)
    parameters = {
        "streams": list(labels),
        "labels": list(labels.values()),
        "object_types": list(types),
        "record_ids": list(record_ids),
    }
    connection.execute(_SET_LABELS, parameters)


def _set_run(connection: Connection[Any], run_id: str, stream: UUID) -> None:
    for topic, payload in connection.execute(_RUN, (stream,)).fetchall():
        shape = decode_shape(topic, payload)
        if isinstance(shape, RunStartedShape):
            connection.execute(_SET_FACTS, (payload, run_id))
        elif isinstance(shape, RunFailedShape):
            connection.execute(_SET_ERROR, (encode({"code": shape.code, "message": shape.message}), run_id))
