"""Many updates of one form in one statement: how a large undo writes, and reads back.

The rows that a statement works on come as three JSON arrays side by side: keys, values, and the texts that the records
must hold. A record is compared by the text that PostgreSQL itself gives of its fields, the one that capture and reading
give: what differs in the least is left alone. Rows are met in the order of their keys, through the key's index, so that
two writers never wait for each other in a circle.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from psycopg import Connection, sql

from ledger.connectors.port import Alike
from ledger.connectors.postgres.catalogue import Table, identifier
from ledger.connectors.postgres.writing import key_document
from ledger.json_text import encode

_IN_KEY_ORDER = "SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; SET LOCAL enable_seqscan = off"
_WANTED = """
    WITH wanted AS MATERIALIZED (
        SELECT * FROM ROWS FROM ({keys}, {values}, json_array_elements(%(texts)s::json))
            WITH ORDINALITY AS w ({names}, fields, n)
        ORDER BY {key_names}
    )
"""
_WRITE = """
    , written AS (
        UPDATE {table} t SET {settings} FROM wanted w WHERE {is_key} AND {fields} = w.fields::text
        RETURNING w.n - 1 AS n
    )
    SELECT array_agg(n ORDER BY n) FROM written
"""
_HOLDING = """
    SELECT array_agg(w.n - 1 ORDER BY w.n) FROM wanted w JOIN {table} t ON {is_key} WHERE {fields} = w.fields::text
"""


def write_alike(connection: Connection[Any], table: Table, updates: Alike, stamp: tuple[str, str] | None) -> list[int]:
    """Writes the records that hold the expected texts, in the caller's transaction. Returns their numbers, from 0."""
    settings = [
        sql.SQL("{} = w.{}").format(identifier(name), value)
        for name, value in zip(updates.fields, _values(updates), strict=True)
    ]
    if stamp is not None:
        settings.append(sql.SQL("{} = %(stamp)s").format(identifier(stamp[0])))
    return _numbers(connection, _WRITE, table, updates, updates.expected, settings, stamp)


def holding(connection: Connection[Any], table: Table, updates: Alike) -> list[int]:
    """The numbers of the records that hold the texts of `updates.values`."""
    return _numbers(connection, _HOLDING, table, updates, updates.values)


def _numbers(
    connection: Connection[Any],
    statement: str,
    table: Table,
    updates: Alike,
    texts: Sequence[bytes],
    settings: Sequence[sql.Composed] = (),
    stamp: tuple[str, str] | None = None,
) -> list[int]:
    keys = [identifier(f"k{number}") for number in range(len(table.key))]
    values = _values(updates)
    fields = sql.SQL(", ").join(identifier("t", name) for name in updates.fields)
    query = sql.SQL(_WANTED + statement).format(
        keys=_rows("keys", table, table.key),
        values=_rows("values", table, updates.fields),
        names=sql.SQL(", ").join([*keys, *values]),
        key_names=sql.SQL(", ").join(keys),
        table=table.name,
        settings=sql.SQL(", ").join(settings),
        is_key=sql.SQL(" AND ").join(
            sql.SQL("t.{} = w.{}").format(identifier(name), key) for name, key in zip(table.key, keys, strict=True)
        ),
        fields=sql.SQL("(SELECT row_to_json(f)::text FROM (SELECT {}) f)").format(fields),
    )
    parameters = {
        "keys": encode([key_document(table, record_id) for record_id in updates.record_ids]).decode(),
        "values": _array(updates.values),
        "texts": _array(texts),
        "stamp": stamp[1] if stamp else None,
    }
    connection.execute(_IN_KEY_ORDER)
    row = connection.execute(query, parameters, binary=True).fetchone()
    return [] if row is None or row[0] is None else row[0]


def _array(documents: Sequence[bytes]) -> str:
    return (b"[%b]" % b",".join(documents)).decode()


def _rows(parameter: str, table: Table, names: Sequence[str]) -> sql.Composed:
    columns = sql.SQL(", ").join(sql.SQL("{} {}").format(identifier(name), table.type_of(name)) for name in names)
    return sql.SQL("json_to_recordset({}::json) AS ({})").format(sql.Placeholder(parameter), columns)


def _values(updates: Alike) -> list[sql.Identifier]:
    return [identifier(f"v{number}") for number in range(len(updates.fields))]
