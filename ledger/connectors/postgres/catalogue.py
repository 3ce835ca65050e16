"""What PostgreSQL's catalogue says of a table: columns, key, constraints. Every identifier comes from here."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, sql

from ledger.connectors.port import Reference, TypeSchema
from ledger.errors import InputError, NotFound, Problem

_COLUMNS = """
    SELECT attname, format_type(atttypid, atttypmod), attnotnull, atthasdef OR attidentity <> '', attgenerated <> '',
           format_type(atttypid, NULL)
    FROM pg_attribute WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
_KEYS = """
    SELECT i.indisprimary, array_agg(a.attname ORDER BY k.place)
    FROM pg_index i CROSS JOIN unnest(i.indkey::int2[]) WITH ORDINALITY AS k (attnum, place)
    JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
    WHERE i.indrelid = %s AND i.indisunique AND i.indpred IS NULL AND i.indexprs IS NULL AND k.place <= i.indnkeyatts
    GROUP BY i.indexrelid, i.indisprimary ORDER BY i.indexrelid
"""
_FOREIGN_KEYS = """
    SELECT c.conrelid, c.confrelid,
           ARRAY(SELECT attname FROM unnest(c.conkey) WITH ORDINALITY k (n, p) JOIN pg_attribute a
                 ON a.attrelid = c.conrelid AND a.attnum = k.n ORDER BY p),
           ARRAY(SELECT attname FROM unnest(c.confkey) WITH ORDINALITY k (n, p) JOIN pg_attribute a
                 ON a.attrelid = c.confrelid AND a.attnum = k.n ORDER BY p)
    FROM pg_constraint c WHERE c.contype = 'f' AND (c.conrelid = ANY(%(oids)s) OR c.confrelid = ANY(%(oids)s))
"""


@dataclass(frozen=True, slots=True)
class Table:
    """One table of the target. `types`: column to its SQL type; `key`: the primary key's columns in order."""

    path: tuple[str, str]
    """Schema and name."""
    types: Mapping[str, str]
    key: tuple[str, ...]
    generated: frozenset[str]
    schema: TypeSchema

    @property
    def name(self) -> sql.Identifier:
        """The table in a statement with parameters."""
        return identifier(*self.path)

    def type_of(self, column: str) -> sql.SQL:
        """A column's type, as the catalogue writes it, in a statement with parameters."""
        return sql.SQL(self.types[column].replace("%", "%%"))  # the catalogue's own text

    def same(self, column: str, one: sql.Composable, other: sql.Composable) -> sql.Composed:
        """SQL that tells whether two values of a column are the same; json has no equality of its own."""
        cast = _COMPARED_AS.get(self.types[column].split("(")[0])
        if cast is not None:
            one, other = sql.SQL("{}::" + cast).format(one), sql.SQL("{}::" + cast).format(other)
        return sql.SQL("{} IS NOT DISTINCT FROM {}").format(one, other)


def identifier(*names: str) -> sql.Identifier:
    """A name in a statement with parameters: there psycopg takes a percent sign for a placeholder if it stands once."""
    return sql.Identifier(*(name.replace("%", "%%") for name in names))


_COMPARED_AS = {"json": "jsonb", "xml": "text", "point": "text", "polygon": "text", "line": "text", "path": "text"}


def read_catalogue(
    connection: Connection[Any], names: Mapping[str, str], system_fields: frozenset[str]
) -> dict[str, Table]:
    """Object type to table, for object types named with their tables. Raises NotFound, InputError (no primary key)."""
    oids: dict[str, int] = {}
    for object_type, name in names.items():
        found = connection.execute("SELECT to_regclass(%s)::oid", (name,)).fetchone()
        if found is None or found[0] is None:
            raise NotFound(f"The target has no table {name}. Name it as SCHEMA.TABLE if it is not in the search path.")
        oids[object_type] = found[0]
    references, referenced = _references(connection, oids)
    return {
        object_type: _table(connection, object_type, oid, references[oid], oid in referenced, system_fields)
        for object_type, oid in oids.items()
    }


def _table(
    connection: Connection[Any],
    object_type: str,
    oid: int,
    references: list[Reference],
    is_referenced: bool,
    system_fields: frozenset[str],
) -> Table:
    columns = connection.execute(_COLUMNS, (oid,)).fetchall()
    keys = connection.execute(_KEYS, (oid,)).fetchall()
    primary = next((tuple(names) for is_primary, names in keys if is_primary), None)
    if primary is None:
        problem = Problem("The table has no primary key.", found=object_type, expected="a primary key")
        raise InputError(f"Table {object_type} has no primary key: its records have no ids.", problems=(problem,))
    where = connection.execute(
        "SELECT nspname, relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = %s", (oid,)
    ).fetchone()
    assert where is not None
    generated = frozenset(name for name, _, _, _, is_generated, _ in columns if is_generated)
    schema = TypeSchema(
        references=tuple(references),
        unique=tuple(tuple(names) for is_primary, names in keys if not is_primary),
        required=frozenset(
            name for name, _, is_required, has_default, is_generated, _ in columns
            if is_required and not has_default and not is_generated and name not in primary
        ),
        datetimes=frozenset(name for name, _, _, _, _, kind in columns if kind == "timestamp with time zone"),
        system_fields=generated | system_fields,
        fields=frozenset(name for name, *_ in columns),
        is_referenced=is_referenced,
    )  # fmt: skip
    types = {name: shown for name, shown, *_ in columns}
    return Table(where, types, primary, generated, schema)


def _references(connection: Connection[Any], oids: Mapping[str, int]) -> tuple[dict[int, list[Reference]], set[int]]:
    """References to primary keys among the tables; those to other unique keys are left to the database."""
    type_of = {oid: object_type for object_type, oid in oids.items()}
    primary = {oid: _primary(connection, oid) for oid in type_of}
    found: dict[int, list[Reference]] = defaultdict(list)
    referenced: set[int] = set()
    for child, parent, columns, parent_columns in connection.execute(_FOREIGN_KEYS, {"oids": list(type_of)}):
        if parent in type_of:
            referenced.add(parent)
        if child in type_of and parent in type_of and set(parent_columns) == set(primary[parent]):
            in_key_order = [columns[parent_columns.index(name)] for name in primary[parent]]
            found[child].append(Reference(tuple(in_key_order), type_of[parent]))
    return found, referenced


def _primary(connection: Connection[Any], oid: int) -> tuple[str, ...]:
    keys = connection.execute(_KEYS, (oid,)).fetchall()
    return next((tuple(names) for is_primary, names in keys if is_primary), ())
