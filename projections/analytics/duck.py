"""DuckDB, where it is installed: the only place that imports it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ledger.errors import InputError, NotFound
from projections.analytics.tables import TABLES

LINE_BYTES_MAX = 128 * 1024 * 1024
"""Of one row on its way into a file."""
ROW_GROUP_ROWS = 100_352
"""A multiple of DuckDB's vectors, near its default: some megabytes of changes, which engines read at once."""


def write_parquet(connection: Any, lines: Path, columns: Mapping[str, str], order: str, path: Path) -> None:
    """Rows from a file of JSON lines into a Parquet file."""
    given = ", ".join(f"{_quoted(name)}: {_quoted(kind)}" for name, kind in columns.items())
    connection.execute(
        f"COPY (SELECT * FROM read_json({_quoted(str(lines))}, format = 'newline_delimited', columns = {{{given}}},"  # noqa: S608
        f" maximum_object_size = {LINE_BYTES_MAX}) ORDER BY {order})"
        f" TO {_quoted(str(path))} (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP_ROWS})"
    )


def run_query(folder: Path, sql: str) -> tuple[list[str], Iterator[tuple[Any, ...]]]:
    """The columns and the rows of a query on the views `events`, `changes` and `runs` of an export.

    It can read the export and nothing else. Raises NotFound where there is no export, InputError for SQL that is none.
    """
    duckdb = _duckdb()
    if not any((folder / table).is_dir() for table in TABLES):
        raise NotFound(f"There is no export in {folder}. Make one with `ledger export parquet {folder}`.")
    connection = duckdb.connect()
    for table in TABLES:
        files = _quoted(str(folder / table / "account=*" / "*.parquet"))
        connection.execute(f"CREATE VIEW {table} AS SELECT * FROM read_parquet({files}, hive_partitioning = true)")  # noqa: S608
    connection.execute(f"SET allowed_directories = [{_quoted(str(folder))}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")
    try:
        found = connection.execute(sql)
        columns = [column[0] for column in found.description or ()]
    except duckdb.Error as error:
        raise InputError(f"DuckDB does not carry the query out: {error}") from error
    return columns, _rows(connection, found)


@contextmanager
def connected() -> Iterator[Any]:
    """A database in memory, for writing files."""
    connection = _duckdb().connect()
    try:
        yield connection
    finally:
        connection.close()


def _rows(connection: Any, found: Any) -> Iterator[tuple[Any, ...]]:
    while rows := found.fetchmany(1_000):
        yield from rows
    connection.close()


def _duckdb() -> Any:
    try:
        import duckdb
    except ImportError as error:
        raise InputError(
            "DuckDB, which writes and queries Parquet, is not installed. Install it: "
            "pip install 'audit-ledger[analytics]'."
        ) from error
    return duckdb


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"
