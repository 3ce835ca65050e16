"""Compare-and-set writing: writes of one form are one statement; a batch that the database refuses is halved until the
culprit is alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby
from typing import Any

import psycopg
from msgspec import Raw
from psycopg import Connection, sql

from ledger.connectors.port import Outcome, Write
from ledger.connectors.postgres.catalogue import Table, identifier
from ledger.domain.record import State
from ledger.json_text import JsonFault, encode, split_list

CHUNK_RECORDS = 2_000
REFUSALS = (
    psycopg.errors.IntegrityError,
    psycopg.errors.DataError,
    psycopg.errors.RaiseException,
    psycopg.errors.ProgrammingError,
    psycopg.errors.InternalError,
    psycopg.errors.NotSupportedError,
)
"""What the database says of data that it does not take; triggers of the application raise some of these."""

ReadOne = Callable[[Write], State | None]


class ConstraintsAtEnd(Exception):
    """A deferred constraint failed at the end: which write it was, only checking after each one tells."""


def write_all(
    connection: Connection[Any],
    tables: dict[str, Table],
    writes: Sequence[Write],
    *,
    stamp: tuple[str, str] | None,
    deferred: bool,
    read_one: ReadOne,
) -> list[Outcome]:
    """Carries out writes in order, inside the caller's transaction. Raises ConstraintsAtEnd."""
    connection.execute("SET CONSTRAINTS ALL DEFERRED")
    outcomes: list[Outcome] = []
    for _, group in groupby(writes, key=_form):
        members = list(group)
        table = tables[members[0].object_type]
        for chunk in _chunks(members):
            outcomes += _write_chunk(connection, table, chunk, stamp, deferred, read_one)
    if deferred:
        try:
            with connection.transaction():
                connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
        except REFUSALS as error:
            raise ConstraintsAtEnd from error
    return outcomes


def key_document(table: Table, record_id: str) -> dict[str, Any]:
    """The key's columns as a JSON object; PostgreSQL casts the texts to their types."""
    if len(table.key) == 1:
        return {table.key[0]: record_id}
    try:
        parts = split_list(record_id.encode())
    except JsonFault:
        parts = []
    if len(parts) != len(table.key):
        return {}
    return {name: Raw(part) for name, part in zip(table.key, parts, strict=True)}


def _chunks(writes: Sequence[Write]) -> Iterator[list[Write]]:
    """Pieces for one statement each, in which no record stands twice."""
    chunk: list[Write] = []
    seen: set[str] = set()
    for write in writes:
        if len(chunk) == CHUNK_RECORDS or write.record_id in seen:
            yield chunk
            chunk, seen = [], set()
        chunk.append(write)
        seen.add(write.record_id)
    yield chunk


def _form(write: Write) -> tuple[object, ...]:
    return write.op, write.object_type, frozenset(write.values), frozenset(write.expected)


def _write_chunk(
    connection: Connection[Any],
    table: Table,
    writes: Sequence[Write],
    stamp: tuple[str, str] | None,
    deferred: bool,
    read_one: ReadOne,
) -> list[Outcome]:
    try:
        with connection.transaction():
            done = _execute(connection, table, writes, stamp)
            if not deferred:
                connection.execute("SET CONSTRAINTS ALL IMMEDIATE")
                connection.execute("SET CONSTRAINTS ALL DEFERRED")
    except REFUSALS as error:
        if len(writes) == 1:
            return [_refused(writes[0], error, read_one)]
        half = len(writes) // 2
        first = _write_chunk(connection, table, writes[:half], stamp, deferred, read_one)
        return first + _write_chunk(connection, table, writes[half:], stamp, deferred, read_one)
    return [
        Outcome("applied") if number in done else _missed(write, read_one) for number, write in enumerate(writes, 1)
    ]  # fmt: skip


def _refused(write: Write, error: psycopg.Error, read_one: ReadOne) -> Outcome:
    if write.op == "create" and isinstance(error, psycopg.errors.UniqueViolation):
        seen = read_one(write)
        if seen is not None:
            return Outcome("conflict", seen=seen)
    detail = error.diag.message_detail
    return Outcome("rejected", message=f"{error.diag.message_primary}{f' {detail}' if detail else ''}")


def _missed(write: Write, read_one: ReadOne) -> Outcome:
    """Why an update or delete found no row as it was expected."""
    seen = read_one(write)
    return Outcome("missing") if seen is None else Outcome("conflict", seen=seen)


def _execute(
    connection: Connection[Any], table: Table, writes: Sequence[Write], stamp: tuple[str, str] | None
) -> set[int]:
    """The numbers (from 1) of the writes that were done."""
    first = writes[0]
    documents = encode([_document(table, write) for write in writes]).decode()
    if first.op != "create":
        connection.execute(_lock(table), {"writes": documents})
    query = {"update": _update, "create": _insert, "delete": _delete}[first.op](table, first, stamp)
    parameters = {"writes": documents, "stamp": stamp[1] if stamp else None}
    rows = connection.execute(query, parameters)
    if first.op == "create":
        return set(range(1, rows.rowcount + 1))
    return {row[0] for row in rows}


def _document(table: Table, write: Write) -> dict[str, Any]:
    def raw(values: dict[str, bytes | None]) -> dict[str, Raw]:
        return {name: Raw(b"null" if text is None else text) for name, text in values.items()}

    key = key_document(table, write.record_id)
    return {"k": key, "v": raw(write.values), "e": raw(write.expected)}


def _wanted(table: Table, parts: Sequence[tuple[str, Sequence[str]]]) -> sql.Composed:
    """The writes as rows: `n` their number, and a record for each part of the documents."""
    rows: list[sql.Composable] = [sql.SQL("jsonb_array_elements(%(writes)s::jsonb) WITH ORDINALITY AS w (doc, n)")]
    for part, columns in parts:
        if columns:
            definitions = sql.SQL(", ").join(
                sql.SQL("{} {}").format(identifier(name), table.type_of(name)) for name in columns
            )
            rows.append(
                sql.SQL("jsonb_to_record(w.doc->{}) AS {} ({})").format(
                    sql.Literal(part), identifier(part), definitions
                )
            )
    return sql.SQL(" CROSS JOIN LATERAL ").join(rows)


def _columns(table: Table, names: Iterator[str] | Sequence[str]) -> list[str]:
    return [name for name in names if name in table.types]


def _is_key(table: Table) -> sql.Composed:
    return sql.SQL(" AND ").join(
        sql.SQL("t.{0} = k.{0}").format(identifier(name)) for name in table.key
    )  # fmt: skip


def _as_expected(table: Table, names: Sequence[str]) -> sql.Composed:
    found = [
        sql.SQL(" AND {}").format(table.same(name, identifier("t", name), identifier("e", name))) for name in names
    ]
    return sql.Composed(found)


def _lock(table: Table) -> sql.Composed:
    """Rows are locked in the order of their keys, so that two writers never wait for each other in a circle."""
    order = sql.SQL(", ").join(identifier("t", name) for name in table.key)
    return sql.SQL("SELECT FROM {} t JOIN ({}) ON {} ORDER BY {} FOR UPDATE OF t").format(
        table.name, _wanted(table, [("k", table.key)]), _is_key(table), order
    )


def _update(table: Table, first: Write, stamp: tuple[str, str] | None) -> sql.Composed:
    values, expected = _columns(table, list(first.values)), _columns(table, list(first.expected))
    settings = [sql.SQL("{0} = v.{0}").format(identifier(name)) for name in values]
    settings += _stamped(stamp)
    return sql.SQL("UPDATE {} t SET {} FROM {} WHERE {}{} RETURNING w.n").format(
        table.name,
        sql.SQL(", ").join(settings),
        _wanted(table, [("k", table.key), ("v", values), ("e", expected)]),
        _is_key(table),
        _as_expected(table, expected),
    )


def _insert(table: Table, first: Write, stamp: tuple[str, str] | None) -> sql.Composed:
    values = [name for name in _columns(table, list(first.values)) if name not in table.key]
    columns = [*table.key, *values]
    sources = [identifier("k", name) for name in table.key] + [identifier("v", name) for name in values]
    extra = [] if stamp is None or stamp[0] in columns else [stamp[0]]
    return sql.SQL("INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {} ORDER BY w.n").format(
        table.name,
        sql.SQL(", ").join(map(identifier, [*columns, *extra])),
        sql.SQL(", ").join([*sources, *(sql.SQL("%(stamp)s") for _ in extra)]),
        _wanted(table, [("k", table.key), ("v", values)]),
    )


def _delete(table: Table, first: Write, stamp: tuple[str, str] | None) -> sql.Composed:  # noqa: ARG001
    expected = _columns(table, list(first.expected))
    return sql.SQL("DELETE FROM {} t USING {} WHERE {}{} RETURNING w.n").format(
        table.name,
        _wanted(table, [("k", table.key), ("e", expected)]),
        _is_key(table),
        _as_expected(table, expected),
    )


def _stamped(stamp: tuple[str, str] | None) -> list[sql.Composed]:
    return [] if stamp is None else [sql.SQL("{} = %(stamp)s").format(identifier(stamp[0]))]
