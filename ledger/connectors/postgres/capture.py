"""Capture: triggers in a target's database that keep every change of its tables for the ledger."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import psycopg
from psycopg import Connection, sql

from ledger.connectors.postgres.catalogue import Table, read_catalogue
from ledger.connectors.postgres.target import dsn_of

_INSTALL = (Path(__file__).parent / "capture.sql").read_text(encoding="utf-8")
_TRIGGERS = ("ledger_capture_insert", "ledger_capture_update", "ledger_capture_delete", "ledger_capture_truncate")

_INSERT = """
    CREATE TRIGGER ledger_capture_insert AFTER INSERT ON {table} REFERENCING NEW TABLE AS new_rows
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_capture.capture_insert({arguments})
"""
_UPDATE = """
    CREATE TRIGGER ledger_capture_update AFTER UPDATE ON {table}
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION {update}()
"""
_DELETE = """
    CREATE TRIGGER ledger_capture_delete AFTER DELETE ON {table} REFERENCING OLD TABLE AS old_rows
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_capture.capture_delete({arguments})
"""
_TRUNCATE = """
    CREATE TRIGGER ledger_capture_truncate BEFORE TRUNCATE ON {table}
    FOR EACH STATEMENT EXECUTE FUNCTION ledger_capture.refuse_truncate()
"""
_CREATE = (_INSERT, _UPDATE, _DELETE, _TRUNCATE)


def install_capture(settings: Mapping[str, Any]) -> list[str]:
    """Installs the triggers on the target's tables, in place of older ones. Returns the object types captured."""
    with psycopg.connect(dsn_of(settings)) as connection:
        connection.execute(_INSTALL)  # our own file
        tables = read_catalogue(connection, settings["tables"], frozenset())
        for object_type, table in tables.items():
            _drop(connection, table)
            _create(connection, object_type, table)
    return list(tables)


def remove_capture(settings: Mapping[str, Any]) -> None:
    """Removes the triggers; the outbox stays until it is drained."""
    with psycopg.connect(dsn_of(settings)) as connection:
        for table in read_catalogue(connection, settings["tables"], frozenset()).values():
            _drop(connection, table)


def _drop(connection: Connection[Any], table: Table) -> None:
    for name in _TRIGGERS:
        connection.execute(
            sql.SQL("DROP TRIGGER IF EXISTS {} ON {}").format(sql.Identifier(name), sql.Identifier(*table.path))
        )  # fmt: skip


def _create(connection: Connection[Any], object_type: str, table: Table) -> None:
    arguments = sql.SQL(", ").join(map(sql.Literal, (object_type, *table.key)))
    connection.execute(_update_function(object_type, table))
    for statement in _CREATE:
        connection.execute(
            sql.SQL(statement).format(
                table=sql.Identifier(*table.path), arguments=arguments, update=_update_name(object_type)
            )
        )


def _update_name(object_type: str) -> sql.Identifier:
    return sql.Identifier("ledger_capture", f"update of {object_type}"[:63])


def _update_function(object_type: str, table: Table) -> sql.Composed:
    """Old and new rows meet by the key, so this function is the table's own. A key that changed is a deletion and a
    creation: such rows meet nobody."""
    is_same = sql.SQL(" AND ").join(sql.SQL("o.{0} = n.{0}").format(sql.Identifier(name)) for name in table.key)
    first_key = sql.Identifier(table.key[0])
    keys = sql.SQL(", ").join(map(sql.Literal, table.key))
    body = sql.SQL("""
BEGIN
    IF coalesce(current_setting('ledger.capture', true), '') <> 'off' THEN
        INSERT INTO ledger_capture.outbox (run_id, facts, object_type, key_columns, before, after)
        SELECT nullif(current_setting('ledger.run_id', true), ''), ledger_capture.facts(), {object_type}, ARRAY[{keys}],
               CASE WHEN o.{first_key} IS NOT NULL THEN row_to_json(o)::text END,
               CASE WHEN n.{first_key} IS NOT NULL THEN row_to_json(n)::text END
        FROM old_rows o FULL JOIN new_rows n ON {is_same};
    END IF;
    RETURN NULL;
END""").format(object_type=sql.Literal(object_type), keys=keys, first_key=first_key, is_same=is_same)
    return sql.SQL(
        "CREATE OR REPLACE FUNCTION {}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
        " SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' SET bytea_output = 'hex'"
        " SET intervalstyle = 'iso_8601' SET extra_float_digits = 1 AS {}"
    ).format(_update_name(object_type), sql.Literal(body.as_string(None)))
