"""The connector: any existing tables of a PostgreSQL database.

An object type is a table; a record id is its primary key, composite ones as a compact JSON array; fields are the
columns, in the JSON that PostgreSQL itself gives (`row_to_json`): numbers keep their digits, times are ISO 8601 in UTC,
bytea is `\\x…` text. Triggers of the application fire as they would for the application.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from msgspec import Raw
from psycopg import Connection, sql
from psycopg.conninfo import conninfo_to_dict

from ledger.connectors.port import (
    Alike,
    Capabilities,
    Found,
    Outcome,
    TargetLost,
    TypeSchema,
    Write,
    compose_id,
)
from ledger.connectors.postgres.alike import holding, write_alike
from ledger.connectors.postgres.catalogue import Table, identifier, read_catalogue
from ledger.connectors.postgres.writing import REFUSALS, ConstraintsAtEnd, key_document, write_all
from ledger.domain.record import State
from ledger.errors import InputError, NotFound, Problem
from ledger.json_text import canonical, encode, split_fields

SESSION = (
    "SET timezone = 'UTC'; SET bytea_output = 'hex'; SET intervalstyle = 'iso_8601'; SET extra_float_digits = 1; "
    "SET xmloption = content"
)
"""So that a value has one text, whatever the database's own settings."""
TRIES_MAX = 4


class PostgresTarget:
    """Tables of one database. `tables`: object type to table name."""

    def __init__(
        self,
        dsn: str,
        tables: Mapping[str, str],
        *,
        system_fields: Iterable[str] = (),
        run_id_column: str | None = None,
    ) -> None:
        self.capabilities = Capabilities(write_records_max=2_000, read_records_max=5_000)
        self._dsn = dsn
        self._names = dict(tables)
        self._run_id_column = run_id_column
        self._system_fields = frozenset(system_fields) | ({run_id_column} if run_id_column else set())
        self._connection: Connection[Any] | None = None
        self._tables: dict[str, Table] | None = None

    def object_types(self) -> Sequence[str]:
        return list(self._names)

    def describe(self, object_type: str) -> TypeSchema:
        return self._table(object_type).schema

    def refresh(self) -> None:
        """Forgets what the catalogue said."""
        self._tables = None

    def read(self, object_type: str, record_ids: Sequence[str]) -> dict[str, Found]:
        table = self._table(object_type)
        wanted = [key_document(table, record_id) for record_id in record_ids]
        parts = sql.SQL(", ").join(sql.SQL("{} {}").format(identifier(name), table.type_of(name)) for name in table.key)
        query = sql.SQL(
            "SELECT w.n, row_to_json(t)::text FROM jsonb_array_elements(%(keys)s::jsonb) WITH ORDINALITY AS w (doc, n)"
            " CROSS JOIN LATERAL jsonb_to_record(w.doc) AS k ({}) JOIN {} t ON {}"
        ).format(parts, table.name, sql.SQL(" AND ").join(
            sql.SQL("t.{0} = k.{0}").format(identifier(name)) for name in table.key
        ))  # fmt: skip
        with self._session() as connection:
            try:
                with connection.transaction():
                    rows = connection.execute(query, {"keys": encode(wanted).decode()}).fetchall()
            except psycopg.DataError:
                if len(record_ids) == 1:  # an id that this key cannot hold is one that is not there
                    return {}
                half = len(record_ids) // 2
                return self.read(object_type, record_ids[:half]) | self.read(object_type, record_ids[half:])
        return {record_ids[number - 1]: Found(_state(text)) for number, text in rows}

    def find(
        self, object_type: str, fields: tuple[str, ...], values: Iterable[tuple[bytes, ...]]
    ) -> list[tuple[str, State]]:
        table = self._table(object_type)
        documents = [dict(zip(fields, map(_raw, value), strict=True)) for value in values]
        if not documents:
            return []
        parts = sql.SQL(", ").join(sql.SQL("{} {}").format(identifier(name), table.type_of(name)) for name in fields)
        query = sql.SQL(
            "SELECT DISTINCT row_to_json(t)::text FROM jsonb_array_elements(%(values)s::jsonb) AS w (doc)"
            " CROSS JOIN LATERAL jsonb_to_record(w.doc) AS v ({}) JOIN {} t ON {}"
        ).format(parts, table.name, sql.SQL(" AND ").join(
            sql.SQL("t.{0} = v.{0}").format(identifier(name)) for name in fields
        ))  # fmt: skip
        found: dict[str, State] = {}
        with self._session() as connection:
            for some in _castable(connection, query, documents):
                for (text,) in some:
                    state = _state(text)
                    found[compose_id([state.get(name) for name in table.key]) or ""] = state
        return list(found.items())

    def write(self, writes: Sequence[Write], run_id: str) -> list[Outcome]:
        tables = {write.object_type: self._table(write.object_type) for write in writes}
        for attempt in range(TRIES_MAX):
            try:
                return self._write(tables, writes, run_id, deferred=attempt == 0)
            except ConstraintsAtEnd:
                continue
            except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
                continue
        return [Outcome("throttled") for _ in writes]

    def find_created(self, write: Write, run_id: str) -> str | None:  # noqa: ARG002 - ids are kept
        return write.record_id if self.read(write.object_type, [write.record_id]) else None

    def write_alike(self, updates: Alike, run_id: str) -> list[int]:
        table = self._table(updates.object_type)
        if not set(table.key).isdisjoint(updates.fields):  # the record would be another one
            return []
        try:
            with self._writing(run_id) as connection:
                return write_alike(connection, table, updates, self._stamp(run_id))
        except (*REFUSALS, psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
            return []

    def holding(self, updates: Alike) -> list[int]:
        with self._session() as connection, connection.transaction():
            return holding(connection, self._table(updates.object_type), updates)

    def _stamp(self, run_id: str) -> tuple[str, str] | None:
        return None if self._run_id_column is None else (self._run_id_column, run_id)

    @contextmanager
    def _writing(self, run_id: str) -> Iterator[Connection[Any]]:
        """A transaction whose writes capture passes over: the undo records them itself."""
        with self._session() as connection, connection.transaction():
            connection.execute(
                "SELECT set_config('ledger.run_id', %s, true), set_config('ledger.capture', 'off', true)", (run_id,)
            )
            yield connection

    def _write(
        self,
        tables: dict[str, Table],
        writes: Sequence[Write],
        run_id: str,
        *,
        deferred: bool,
    ) -> list[Outcome]:
        def read_one(write: Write) -> State | None:
            found = self.read(write.object_type, [write.record_id]).get(write.record_id)
            return None if found is None else found.fields

        with self._writing(run_id) as connection:
            return write_all(
                connection, tables, writes, stamp=self._stamp(run_id), deferred=deferred, read_one=read_one
            )

    def _table(self, object_type: str) -> Table:
        if self._tables is None:
            with self._session() as connection:
                self._tables = read_catalogue(connection, self._names, self._system_fields)
        try:
            return self._tables[object_type]
        except KeyError:
            known = ", ".join(self._names)
            raise NotFound(f"The target has no object type {object_type}; it has {known}. Add its table.") from None

    @contextmanager
    def _session(self) -> Iterator[Connection[Any]]:
        """A connection, shared by calls within calls, closed by the outermost. Driver trouble becomes TargetLost."""
        try:
            if self._connection is not None:
                yield self._connection
                return
            with psycopg.connect(self._dsn, autocommit=True, application_name="ledger-undo") as self._connection:
                try:
                    self._connection.execute(SESSION)
                    yield self._connection
                finally:
                    self._connection = None
        except (psycopg.errors.SerializationFailure, psycopg.errors.DeadlockDetected):
            raise
        except psycopg.OperationalError as error:
            reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise TargetLost(f"The target database does not answer: {reason}. Try again when it does.") from error


def dsn_of(settings: Mapping[str, Any]) -> str:
    """The connection string; `env:NAME` stands for what the variable holds. Raises InputError."""
    dsn = str(settings["dsn"])
    name = dsn.removeprefix("env:") if dsn.startswith("env:") else None
    if name is not None:
        if name not in os.environ:
            problem = Problem("The variable is not set.", parameter=name, expected="a PostgreSQL connection string")
            raise InputError(f"The target's connection string is in ${name}, which is not set.", problems=(problem,))
        dsn = os.environ[name]
    try:
        conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:  # whose text has parts of what may be a secret
        problem = Problem(
            "Not a connection string.", parameter=name, expected="host=... dbname=..., or postgresql://..."
        )
        raise InputError("The target's connection string cannot be read.", problems=(problem,)) from None
    return dsn


def shown_dsn(settings: Mapping[str, Any]) -> str:
    """Where the database is, without anything that could be a secret; a reference to a variable as it is."""
    dsn = str(settings["dsn"])
    if dsn.startswith("env:"):
        return dsn
    try:
        parts = conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        return "(not a connection string)"
    return " ".join(f"{name}={parts[name]}" for name in ("host", "port", "dbname", "user") if parts.get(name))


def open_postgres(settings: Mapping[str, Any]) -> PostgresTarget:
    """The connector of a target as it was added: {dsn, tables, system_fields, run_id_column}. Raises InputError."""
    return PostgresTarget(
        dsn_of(settings),
        settings["tables"],
        system_fields=settings.get("system_fields", ()),
        run_id_column=settings.get("run_id_column"),
    )


def _castable(
    connection: Connection[Any], query: sql.Composed, documents: list[dict[str, Any]]
) -> Iterator[list[tuple[str]]]:
    """The rows for those of the values that the columns can hold at all: `"x"` is in no integer column."""
    try:
        with connection.transaction():
            rows = connection.execute(query, {"values": encode(documents).decode()}).fetchall()
        yield rows
    except psycopg.DataError:
        if len(documents) > 1:
            half = len(documents) // 2
            yield from _castable(connection, query, documents[:half])
            yield from _castable(connection, query, documents[half:])


def _state(text: str) -> State:
    return split_fields(canonical(text.encode()))


def _raw(text: bytes) -> Any:
    return Raw(text)
