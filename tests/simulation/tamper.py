"""Alterations of a sealed log as a superuser can make them, with triggers off and put back afterwards.

Each is drawn by chance and says which position is the first that is wrong, where an event is; None: no event is.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection, sql

from ledger.integrity.merkle import leaf_hash
from ledger.integrity.tiles import grow, root_in_tiles
from tests.sealed import ACCOUNT, entries_of

TABLES = ("accounts", "events", "log_trees", "log_tiles", "log_checkpoints", "run_changes", "erased_events")
VIEWS = ("tracker", "tracker_types", "tracker_values", "run_changes", "change_blocks", "records", "activity_daily")


FORGOTTEN_ACCOUNT = """
    CREATE OR REPLACE FUNCTION ledger_current_account() RETURNS uuid LANGUAGE sql STABLE AS
    $$SELECT current_setting('ledger.account_id')::uuid$$
"""


class Altered(NamedTuple):
    """What was altered; `positions`: which may be told as the first wrong one (None among them: none)."""

    what: str
    positions: set[int | None]


ANY: set[int | None] = set()
"""Any position, or none: the alteration is of no event."""


class InsideDatabase:
    """A database within one open transaction: what a superuser did in it is seen, and gone when it is rolled back."""

    def __init__(self, connection: Connection[Any]) -> None:
        self._connection = connection

    @contextmanager
    def transaction(self, account_id: UUID) -> Iterator[Connection[Any]]:
        with self._connection.transaction():
            try:
                self._connection.execute("SET LOCAL ROLE ledger_service")
                self._connection.execute("SELECT set_config('ledger.account_id', %s, true)", (str(account_id),))
                yield self._connection
            finally:
                if self._connection.info.transaction_status.name != "INERROR":
                    self._connection.execute("RESET ROLE")

    @contextmanager
    def connection(self) -> Iterator[Connection[Any]]:
        with self.transaction(ACCOUNT) as connection:
            yield connection


@dataclass
class Tamperer:
    """Alters the log in the connection's transaction."""

    connection: Connection[Any]
    chance: random.Random
    head: int
    sizes: list[int]
    """Of the checkpoints."""

    def alter(self) -> Altered:
        """One alteration by chance."""
        return self.chance.choice(ALTERATIONS)(self)

    def run(self, query: str | sql.Composed, *values: Any) -> Any:
        return self.connection.execute(query, values)

    def one(self, query: str | sql.Composed, *values: Any) -> Any:
        row = self.run(query, *values).fetchone()
        assert row is not None
        return row

    @contextmanager
    def triggers_off(self) -> Iterator[None]:
        for table in TABLES:
            self.run(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        yield
        self.run("SET CONSTRAINTS ALL IMMEDIATE")
        for table in TABLES:
            rows = self.run("SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgrelid = %s::regclass", table)
            for (name,) in rows.fetchall():
                self.run(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {name}")

    def position(self, upto: int = 0) -> int:
        return self.chance.randrange(1, self.head + 1 - upto)

    def renumber(self, first: int, by: int) -> None:
        """Moves all events from `first` on; record events keep their version equal to their position."""
        parked = 10**9
        moved = "originator_version = originator_version + CASE WHEN originator_version = position THEN %s ELSE 0 END"
        self.run(f"UPDATE events SET {moved}, position = position + %s WHERE position >= %s", parked, parked, first)
        self.run(f"UPDATE events SET {moved}, position = position + %s WHERE position > %s",
                 by - parked, by - parked, parked)  # fmt: skip
        self.run("UPDATE accounts SET head = head + %s", by)


def change_event(by: Tamperer) -> Altered:
    at = by.position()
    column, value = by.chance.choice([
        ("payload", "payload || ' '"), ("payload", "set_byte(payload, 3, get_byte(payload, 3) # 1)"),
        ("payload", "replace(convert_from(payload, 'UTF8'), '1', '7')::bytea || ' '"),
        ("salt", "set_byte(salt, 0, get_byte(salt, 0) # 128)"),
        ("recorded_at", "recorded_at - interval '1 microsecond'"),
        ("occurred_at", "occurred_at + interval '1 hour'"), ("run_id", "run_id || 'x'"), ("sequence", "sequence + 1"),
        ("topic", "CASE topic WHEN 'record-updated' THEN 'record-failed' ELSE 'record-updated' END"),
        ("originator_id", "gen_random_uuid()"), ("originator_version", "originator_version + 1000000"),
    ])  # fmt: skip
    with by.triggers_off():
        by.run(f"UPDATE events SET {column} = {value} WHERE position = %s", at)
    return Altered(f"{column} of the event at {at}", {at})


def remove_event(by: Tamperer) -> Altered:
    at = by.position()
    with by.triggers_off():
        by.run("DELETE FROM events WHERE position = %s", at)
    return Altered(f"event {at} removed", {at})


def remove_newest(by: Tamperer) -> Altered:
    number = by.chance.randrange(1, 20)
    with by.triggers_off():
        by.run("DELETE FROM events WHERE position > %s", by.head - number)
        if by.chance.random() < 0.7:
            by.run("UPDATE accounts SET head = head - %s", number)
    return Altered(f"the newest {number} events removed", {by.head - number + 1})


def remove_and_renumber(by: Tamperer) -> Altered:
    at = by.position(1)
    with by.triggers_off():
        by.run("DELETE FROM events WHERE position = %s", at)
        by.renumber(at + 1, -1)
    return Altered(f"event {at} removed, the rest renumbered", {at})


def insert_event(by: Tamperer) -> Altered:
    at, like = by.position(), by.position()
    with by.triggers_off():
        by.run("CREATE TEMPORARY TABLE forged ON COMMIT DROP AS SELECT * FROM events WHERE position = %s", like)
        by.renumber(at, 1)
        by.run("UPDATE forged SET position = %s, originator_version = CASE WHEN sequence = 0 THEN 99999 ELSE %s END",
               at, at)  # fmt: skip
        by.run("UPDATE forged SET salt = decode(md5('x'), 'hex')")
        by.run("INSERT INTO events SELECT * FROM forged")
        by.run("DROP TABLE forged")
    return Altered(f"an event like {like} inserted at {at}", {at})


def insert_after_head(by: Tamperer) -> Altered:
    with by.triggers_off():
        by.run(
            "INSERT INTO events SELECT account_id, %s, gen_random_uuid(), %s, recorded_at, occurred_at, sequence,"
            " topic, run_id, salt, payload FROM events WHERE position = %s", by.head + 1, by.head + 1, by.position()
        )  # fmt: skip
    return Altered("an event after the head", {by.head + 1})


def swap_events(by: Tamperer) -> Altered:
    one, other = sorted(by.chance.sample(range(1, by.head + 1), 2))
    with by.triggers_off():
        parked = 10**9
        follows = "CASE WHEN originator_version = position THEN {} ELSE originator_version END"
        query = f"UPDATE events SET originator_version = {follows.format('%s')}, position = %s WHERE position = %s"
        for old, new in ((one, parked), (other, parked + 1), (parked, other), (parked + 1, one)):
            by.run(query, new, new, old)
    return Altered(f"events {one} and {other} swapped", {one})


def empty_event(by: Tamperer) -> Altered:
    at = by.position(1)
    with by.triggers_off():
        if by.chance.random() < 0.5:
            by.run("INSERT INTO erased_events SELECT account_id, position, %s, sha256(salt || payload),"
                   " sha256(salt || 'stream' || uuid_send(originator_id)), payload FROM events WHERE position = %s",
                   by.head, at)  # fmt: skip
        by.run("UPDATE events SET salt = NULL, payload = NULL WHERE position = %s", at)
    return Altered(f"event {at} emptied", {at})


def rewrite_log(by: Tamperer) -> Altered:
    """The whole story told anew, but for the signature."""
    at = by.position()
    with by.triggers_off():
        by.run("UPDATE events SET occurred_at = occurred_at + interval '1 day' WHERE position = %s", at)
        leaves = [leaf_hash(entry) for entry in entries_of(by.connection, ACCOUNT)]
        tiles = grow(0, {}, leaves)
        for (level, number), hashes in tiles.items():
            by.run("UPDATE log_tiles SET hashes = %s WHERE level = %s AND number = %s", hashes, level, number)
        root = root_in_tiles(len(leaves), lambda level, number: tiles[level, number])
        by.run("UPDATE log_trees SET root = %s", root)
    return Altered(f"event {at} rewritten with all tiles", {max([0, *(size for size in by.sizes if size < at)]) + 1})


def alter_head(by: Tamperer) -> Altered:
    change = by.chance.choice([-1, -by.chance.randrange(2, 100), 1, 7])
    with by.triggers_off():
        by.run("UPDATE accounts SET head = head + %s", change)
    return Altered(f"head changed by {change}", {min(by.head, by.head + change) + 1})


def alter_tile(by: Tamperer) -> Altered:
    level, number, size = by.chance.choice(
        by.run("SELECT level, number, octet_length(hashes) FROM log_tiles ORDER BY level, number").fetchall()
    )
    at = by.chance.randrange(size)
    with by.triggers_off():
        how = by.chance.choice(["changed", "removed", "shortened"])
        where = "WHERE level = %s AND number = %s"
        if how == "changed":
            by.run(f"UPDATE log_tiles SET hashes = set_byte(hashes, %s, get_byte(hashes, %s) # 255) {where}",
                   at, at, level, number)  # fmt: skip
        elif how == "removed" or size == 32:
            at = 0
            by.run(f"DELETE FROM log_tiles {where}", level, number)
        else:
            at = size - 32
            by.run(f"UPDATE log_tiles SET hashes = substring(hashes FOR %s) {where}", size - 32, level, number)
    return Altered(f"tile {level}/{number} {how}", {(number * 256 + at // 32) * 256**level + 1})


def alter_tree(by: Tamperer) -> Altered:
    change = by.chance.choice(["size = size - 1", "size = size + 1", "root = sha256(root)", "size = 1"])
    with by.triggers_off():
        by.run(f"UPDATE log_trees SET {change}")
    return Altered(f"tree: {change}", ANY)


def alter_checkpoint(by: Tamperer) -> Altered:
    size = by.chance.choice(by.sizes)
    at = by.chance.randrange(1, 100)
    change = by.chance.choice([
        "UPDATE log_checkpoints SET root = sha256(root)", "UPDATE log_checkpoints SET size = size - 1",
        f"UPDATE log_checkpoints SET note = overlay(note PLACING 'Q' FROM {at}) || ''", "DELETE FROM log_checkpoints",
        "UPDATE log_checkpoints SET note = (SELECT note FROM log_checkpoints ORDER BY size LIMIT 1)",
    ])  # fmt: skip
    if change.startswith("DELETE") or "SELECT note" in change:
        size = by.sizes[-1]
    with by.triggers_off():
        before = by.one("SELECT string_agg(note, '' ORDER BY size) FROM log_checkpoints")
        by.run(f"{change} WHERE size = %s", size)
        if "overlay" in change and by.one("SELECT string_agg(note, '' ORDER BY size) FROM log_checkpoints") == before:
            by.run("UPDATE log_checkpoints SET note = note || 'x' WHERE size = %s", size)
    return Altered(f"checkpoint {size}: {change}", {size, size - 1})


def alter_view(by: Tamperer) -> Altered:
    table = by.chance.choice(VIEWS)
    name = sql.Identifier(table)
    columns = by.run(
        "SELECT attname, format_type(atttypid, NULL) FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0"
        " AND NOT attisdropped AND attname NOT IN ('account_id', 'generation') AND attgenerated = ''", table
    ).fetchall()  # fmt: skip
    row = by.chance.choice(by.run(sql.SQL("SELECT ctid::text FROM {} ORDER BY 1").format(name)).fetchall())[0]
    position = None
    if table in ("run_changes", "records"):
        key = sql.Identifier("position" if table == "run_changes" else "last_position")
        position = by.one(sql.SQL("SELECT {} FROM {} WHERE ctid = %s::tid").format(key, name), row)[0]
    with by.triggers_off():
        if by.chance.random() < 0.25:
            by.run(sql.SQL("DELETE FROM {} WHERE ctid = %s::tid").format(name), row)
            return Altered(f"a row of {table} removed", {position} if position else ANY)
        column, kind = by.chance.choice(columns)
        changed = {
            "text": "coalesce({0}, '') || 'x'", "bigint": "coalesce({0}, 0) + 1000000", "integer": "{0} + 1",
            "boolean": "NOT {0}",
            "timestamp with time zone": "'2001-01-01'", "date": "'2001-01-01'", "text[]": "{0} || 'x'::text",
            "bytea": "coalesce({0}, '') || 'x'", "uuid": "gen_random_uuid()", "smallint": "{0} + 1",
        }[kind]  # fmt: skip
        value = sql.SQL(changed.replace("{0}", "{}")).format(*[sql.Identifier(column)] * changed.count("{0}"))
        by.run(sql.SQL("UPDATE {} SET {} = {} WHERE ctid = %s::tid").format(name, sql.Identifier(column), value), row)
    is_moved = column in ("position", "last_position", "first_position")
    return Altered(f"{column} of a row of {table}", ANY if position is None or is_moved else {position})


def alter_tracking(by: Tamperer) -> Altered:
    with by.triggers_off():
        view = by.chance.choice(["tracker", "run_changes", "records", "activity_daily"])
        back = by.chance.randrange(1, 200)
        by.run("UPDATE projections SET position = position - %s WHERE name = %s AND state = 'live'", back, view)
    return Altered("tracking position of a view", ANY)


def alter_guards(by: Tamperer) -> Altered:
    change = by.chance.choice([
        "GRANT UPDATE ON events TO ledger_service", "GRANT SELECT ON events TO PUBLIC",
        "GRANT SELECT ON events TO ledger_service",
        "GRANT DELETE ON log_tiles TO ledger_service", "GRANT TRUNCATE ON log_checkpoints TO ledger_eraser",
        "DROP TRIGGER refuse_change ON events", "ALTER TABLE events DISABLE TRIGGER check_append",
        "ALTER TABLE events ENABLE TRIGGER refuse_truncate", "ALTER TABLE log_tiles DISABLE TRIGGER USER",
        "DROP TRIGGER refuse_delete ON log_trees", "DROP TRIGGER check_checkpoint ON log_checkpoints",
        "ALTER TABLE tracker NO FORCE ROW LEVEL SECURITY", "ALTER TABLE log_trees DISABLE ROW LEVEL SECURITY",
        "DROP POLICY own_account ON log_checkpoints", "ALTER ROLE ledger_service BYPASSRLS",
        "ALTER POLICY own_account ON tokens USING (true)",
        "CREATE OR REPLACE FUNCTION ledger_refuse_change() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'",
        FORGOTTEN_ACCOUNT,
        "CREATE TRIGGER quiet BEFORE UPDATE ON events FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()",
        "ALTER VIEW account_events SET (security_barrier = false)",
    ])  # fmt: skip
    by.run(change)
    return Altered(change, ANY)


Alteration = Callable[[Tamperer], Altered]
ALTERATIONS: tuple[Alteration, ...] = (
    change_event, change_event, change_event, remove_event, remove_newest, remove_and_renumber, insert_event,
    insert_after_head, swap_events, empty_event, rewrite_log, alter_head, alter_tile, alter_tile, alter_tree,
    alter_checkpoint, alter_checkpoint, alter_view, alter_view, alter_view, alter_tracking, alter_guards, alter_guards,
)  # fmt: skip
