"""Scenarios on real PostgreSQL tables: one a type, in a schema of the scenario's own, with its constraints."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

import msgspec
import psycopg
from msgspec import UNSET, Raw
from psycopg import sql

from ledger.conformance.scenario import (
    Change,
    External,
    ExternalStep,
    Misbehaviour,
    RunStep,
    Scenario,
    SchemaStep,
    UndoStep,
    state_of,
)
from ledger.conformance.world import Key, NotApplicable
from ledger.connectors.port import Connector, TypeSchema
from ledger.connectors.postgres.target import SESSION, PostgresTarget
from ledger.connectors.schemas import parse_schema
from ledger.domain.record import State
from ledger.json_text import canonical, encode, split_fields

KEY = "_record_id"
NAME_BYTES_MAX = 63


class PostgresWorld:
    """Tables built for one scenario. Changes are gathered and put in whole before anything looks at them: a run's own
    order of writes is the application's affair."""

    def __init__(self, scenario: Scenario, owner_url: str, name: str) -> None:
        _check_expressible(scenario)
        self._schemas = {kind: parse_schema(document) for kind, document in scenario.schema.items()}
        self._types = _column_types(scenario, self._schemas)
        self._name = name
        self._connection = psycopg.connect(owner_url, autocommit=True)
        self._connection.execute(SESSION)
        self._records: dict[Key, State] = {
            (record.object_type, record.id): state_of(record.fields) for record in scenario.initial
        }
        self._dirty: set[Key] = set(self._records)
        self._build()
        self.target = PostgresTarget(
            owner_url, {kind: f'"{name}"."{kind}"' for kind in self._types}, system_fields=self._system_fields()
        )
        self.connector: Connector = self.target

    def _system_fields(self) -> set[str]:
        return {KEY}.union(*(schema.system_fields for schema in self._schemas.values()))

    def _build(self) -> None:
        schema = sql.Identifier(self._name)
        self._connection.execute(sql.SQL("CREATE SCHEMA {}").format(schema))
        for kind, columns in self._types.items():
            declared = self._schemas.get(kind, TypeSchema())
            parts = [sql.SQL("{} text PRIMARY KEY").format(sql.Identifier(KEY))]
            for column, column_type in columns.items():
                required = " NOT NULL" if column in declared.required else ""
                parts.append(sql.SQL("{} " + column_type + required).format(sql.Identifier(column)))
            parts += [
                sql.SQL("UNIQUE ({})").format(sql.SQL(", ").join(map(sql.Identifier, group)))
                for group in declared.unique
            ]
            self._connection.execute(
                sql.SQL("CREATE TABLE {} ({})").format(self._table(kind), sql.SQL(", ").join(parts))
            )
        for kind, declared in self._schemas.items():
            for reference in declared.references:
                self._connection.execute(
                    sql.SQL("ALTER TABLE {} ADD FOREIGN KEY ({}) REFERENCES {} ({})").format(
                        self._table(kind), sql.Identifier(reference.fields[0]),
                        self._table(reference.object_type), sql.Identifier(KEY),
                    )
                )  # fmt: skip

    def _table(self, kind: str) -> sql.Identifier:
        return sql.Identifier(self._name, kind)

    def apply(self, change: Change) -> None:
        key = change.object_type, change.id
        if change.op == "delete":
            self._set(key, None)
            return
        before, after = change.before or {}, change.after or {}
        state = {} if change.op == "create" else dict(self._known().get(key, {}))
        state = {name: text for name, text in state.items() if name not in before.keys() - after.keys()}
        self._set(key, _merged(state, after))

    def happen(self, change: External) -> None:
        key = change.object_type, change.id
        if change.op == "merge":
            raise NotApplicable("a table does not merge records")
        if change.op == "delete":
            self._set(key, None)
        elif change.op == "create":
            self._set(key, state_of(change.fields))
        else:
            self._set(key, _merged(dict(self._known()[key]), change.set))

    def change_schema(self, step: SchemaStep) -> None:
        self._flush()
        table = self._table(step.object_type)
        if step.drop_field is not None:
            self._connection.execute(
                sql.SQL("ALTER TABLE {} DROP COLUMN IF EXISTS {} CASCADE").format(
                    table, sql.Identifier(step.drop_field)
                )
            )
            self._types[step.object_type].pop(step.drop_field, None)
        if step.require_field is not None:
            try:
                self._connection.execute(
                    sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET NOT NULL").format(
                        table, sql.Identifier(step.require_field)
                    )
                )
            except psycopg.errors.NotNullViolation as error:
                raise NotApplicable("a column with nulls in it cannot be made required") from error
        self.target.refresh()

    def erase(self, object_type: str, record_id: str, fields: Sequence[str] | None) -> None:
        state = self._known().get((object_type, record_id))
        if state is not None:
            gone = set(state) if fields is None else set(fields)
            self._set((object_type, record_id), {name: text for name, text in state.items() if name not in gone})

    def misbehave(self, faults: Misbehaviour | None) -> None:
        if faults is not None and faults != Misbehaviour():
            raise NotApplicable("a real database does not misbehave on order")
        self._flush()

    def recover(self) -> None:
        """It never was away."""

    def records(self) -> dict[Key, State]:
        self._flush()
        found: dict[Key, State] = {}
        for kind in self._types:
            rows = self._connection.execute(sql.SQL("SELECT row_to_json(t)::text FROM {} t").format(self._table(kind)))
            for (text,) in rows:
                state = split_fields(canonical(text.encode()))
                record_id = msgspec.json.decode(state.pop(KEY))
                found[kind, record_id] = {name: value for name, value in state.items() if value != b"null"}
        return found

    def writes(self) -> Counter[Key] | None:
        return None

    def order(self) -> Sequence[tuple[str, str, str]] | None:
        return None

    def close(self) -> None:
        self._connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(self._name)))
        self._connection.close()

    def _set(self, key: Key, state: State | None) -> None:
        known = self._known()
        if state is None:
            known.pop(key, None)
        else:
            known[key] = state
        self._dirty.add(key)

    def _known(self) -> dict[Key, State]:
        """All records with the changes that are not put in yet."""
        if not self._dirty:
            self._records = self.records()
        return self._records

    def _flush(self) -> None:
        if not self._dirty:
            return
        dirty, self._dirty = self._dirty, set()
        with self._connection.transaction():
            # The application's own writes, all at once: only how they leave the tables is of interest here.
            self._connection.execute("SET LOCAL session_replication_role = replica")
            for kind, record_id in dirty:
                self._connection.execute(
                    sql.SQL("DELETE FROM {} WHERE {} = %s").format(self._table(kind), sql.Identifier(KEY)), (record_id,)
                )
            for key in dirty:
                state = self._records.get(key)
                if state is not None:
                    self._insert(key, state)

    def _insert(self, key: Key, state: State) -> None:
        columns = {name: kind for name, kind in self._types[key[0]].items() if name in state}
        names = sql.SQL(", ").join(map(sql.Identifier, [KEY, *columns]))
        values = sql.SQL(", ").join([sql.Placeholder("id"), *map(sql.Identifier, columns)])
        source: sql.Composable = sql.SQL("")
        if columns:
            definitions = sql.SQL(", ").join(
                sql.SQL("{} " + kind).format(sql.Identifier(name)) for name, kind in columns.items()
            )
            source = sql.SQL(" FROM jsonb_to_record(%(state)s::jsonb) AS s ({})").format(definitions)
        self._connection.execute(
            sql.SQL("INSERT INTO {} ({}) SELECT {}{}").format(self._table(key[0]), names, values, source),
            {"id": key[1], "state": encode({name: Raw(state[name]) for name in columns}).decode()},
        )


def _merged(state: State, values: Mapping[str, Raw]) -> State:
    for name, raw in values.items():
        text = canonical(bytes(raw))
        if text == b"null":
            state.pop(name, None)
        else:
            state[name] = text
    return state


def _check_expressible(scenario: Scenario) -> None:
    for step in scenario.steps:
        if isinstance(step, RunStep) and any(change.merged_into for change in step.changes):
            raise NotApplicable("a table does not merge records")
        if isinstance(step, UndoStep) and step.concurrent_with is not None:
            raise NotApplicable("two undos at one moment are played on the fault-injecting target")


def _column_types(scenario: Scenario, schemas: Mapping[str, TypeSchema]) -> dict[str, dict[str, str]]:
    """Object type to its columns and their SQL types, as all values in the scenario need them."""
    values: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for kind, fields in _all_fields(scenario):
        values[kind]
        for name, raw in fields.items():
            values[kind][name].add(_kind_of(canonical(bytes(raw))))
    for kind, schema in schemas.items():
        for name in [*schema.required, *schema.datetimes, *(field for group in schema.unique for field in group)]:
            values[kind][name].add("null")
        for reference in schema.references:
            values[kind][reference.fields[0]].add("text")
            values[reference.object_type]
    found: dict[str, dict[str, str]] = {}
    for kind, columns in values.items():
        _check_name(kind)
        found[kind] = {}
        for name, kinds in columns.items():
            _check_name(name)
            found[kind][name] = _sql_type(name, kinds - {"null"}, schemas.get(kind, TypeSchema()))
    return found


def _sql_type(name: str, kinds: set[str], schema: TypeSchema) -> str:
    if name in schema.datetimes and kinds <= {"text"}:
        return "timestamptz"
    if any(name in reference.fields for reference in schema.references) and kinds != {"text"}:
        raise NotApplicable(f"references of field {name} are of several types")
    if "exponent" in kinds:
        raise NotApplicable("PostgreSQL does not keep a number's exponent form")
    return {"text": "text", "number": "numeric", "boolean": "boolean"}.get(
        next(iter(kinds), "text") if len(kinds) <= 1 else "", "jsonb"
    )


def _kind_of(text: bytes) -> str:
    if b"\\u0000" in text:
        raise NotApplicable("PostgreSQL text holds no NUL")
    if text[:1] == b'"':
        return "text"
    if text == b"null":
        return "null"
    if text in (b"true", b"false"):
        return "boolean"
    if text[:1] in b"[{":
        return "nested"
    return "exponent" if b"e" in text.lower() or text.startswith(b"-0") else "number"


def _check_name(name: str) -> None:
    if not name or len(name.encode()) > NAME_BYTES_MAX or "\0" in name or "." in name or '"' in name:
        raise NotApplicable(f"{name!r} cannot name a column or table here")


def _all_fields(scenario: Scenario) -> Iterator[tuple[str, Mapping[str, Raw]]]:
    for record in [*scenario.initial, *(scenario.final or [])]:
        yield record.object_type, record.fields
    for step in scenario.steps:
        if isinstance(step, RunStep):
            for change in step.changes:
                yield change.object_type, change.before or {}
                yield change.object_type, change.after or {}
        elif isinstance(step, ExternalStep):
            for external in step.changes:
                yield external.object_type, external.set
                yield external.object_type, external.fields
        elif isinstance(step, UndoStep) and step.expect.applied is not UNSET:
            for write in step.expect.applied:
                yield write.object_type, write.fields or {}
