"""Filling records in PostgreSQL: a batch goes over as arrays (COPY FROM is refused with row-level security)."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import Connection
from psycopg.adapt import Dumper
from psycopg.pq import Format

from projections.binary_format import (
    BIGINT_OID,
    BOOLEAN_OID,
    TEXT_OID,
    UUID_OID,
    array,
    bigint,
    boolean,
    text,
    uuid,
)
from projections.events.batch import Batch
from projections.records.projection import RecordRows, fold

_MERGE = """
    INSERT INTO records AS known (account_id, generation, object_type, record_id, originator_id, first_position,
        last_position, changed_position, is_present, run_id, label)
    SELECT %s, %s, object_type, record_id, originator_id, first_position, last_position, changed_position,
        coalesce(is_present, false), run_id, label
    FROM unnest(%b, %b, %b, %b, %b, %b, %b, %b, %b) AS added (object_type, record_id, originator_id, first_position,
        last_position, changed_position, is_present, run_id, label)
    ON CONFLICT (account_id, generation, object_type, record_id) DO UPDATE SET
        last_position = excluded.last_position,
        changed_position = coalesce(excluded.changed_position, known.changed_position),
        is_present = CASE WHEN excluded.changed_position IS NULL THEN known.is_present ELSE excluded.is_present END,
        run_id = excluded.run_id,
        label = coalesce(excluded.label, known.label)
"""
_REMOVE = """
    DELETE FROM records WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM records WHERE account_id = %(account)s AND generation = %(generation)s LIMIT %(limit)s))
    AND account_id = %(account)s AND generation = %(generation)s
"""


class RecordsProjection:
    """Fills records."""

    name = "records"

    def fold(self, batch: Batch) -> tuple[bytes, ...]:
        """The rows as columns ready to be sent, so that this too is done while another batch is being written."""
        rows = fold(batch)
        return _columns(rows) if rows else ()

    def write(self, connection: Connection[Any], account_id: UUID, generation: int, rows: tuple[bytes, ...]) -> None:
        if not rows:
            return
        cursor = connection.cursor()
        for array_type, dumper in _DUMPERS.items():
            cursor.adapters.register_dumper(array_type, dumper)
        cursor.execute(_MERGE, (account_id, generation, *rows))

    def remove(self, connection: Connection[Any], account_id: UUID, generation: int, limit: int) -> int:
        parameters = {"account": account_id, "generation": generation, "limit": limit}
        return connection.execute(_REMOVE, parameters, prepare=False).rowcount


class _Texts(bytes):
    """text[] in binary form; so the others."""


class _Bigints(bytes):
    pass


class _Uuids(bytes):
    pass


class _Booleans(bytes):
    pass


class _AsItIs(Dumper):
    """Bytes that are an array's binary form already."""

    format = Format.BINARY

    def dump(self, obj: bytes) -> bytes:
        return obj


_DUMPERS: dict[type[bytes], type[Dumper]] = {
    array_type: type(f"{array_type.__name__}Dumper", (_AsItIs,), {"oid": oid})
    for array_type, oid in ((_Texts, 1009), (_Bigints, 1016), (_Uuids, 2951), (_Booleans, 1000))
}


def _columns(rows: RecordRows) -> tuple[bytes, ...]:
    """In the order of the key: neighbours in the index are met together."""
    keys = sorted(rows)
    types = {object_type: text(object_type) for object_type in {key[0] for key in keys}}
    run_ids = {run_id: text(run_id) for run_id in {row.run_id for row in rows.values()}}
    ordered = [rows[key] for key in keys]
    return (
        _Texts(array(TEXT_OID, [types[key[0]] for key in keys])),
        _Texts(array(TEXT_OID, [text(key[1]) for key in keys])),
        _Uuids(array(UUID_OID, [uuid(row.stream) for row in ordered])),
        _Bigints(array(BIGINT_OID, [bigint(row.first_position) for row in ordered])),
        _Bigints(array(BIGINT_OID, [bigint(row.last_position) for row in ordered])),
        _Bigints(array(BIGINT_OID, [bigint(row.changed_position) for row in ordered])),
        _Booleans(array(BOOLEAN_OID, [boolean(row.is_present) for row in ordered])),
        _Texts(array(TEXT_OID, [run_ids[row.run_id] for row in ordered])),
        _Texts(array(TEXT_OID, [text(row.label) for row in ordered])),
    )
