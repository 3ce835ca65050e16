"""Applies the numbered SQL files of a folder in order, each in a transaction, under a lock, and keeps their checksums.

An applied file never changes: a fault in it is mended by a new one. Table `ledger_migrations` says what was applied; it
is the database's own and belongs to no account.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import psycopg

from ledger.errors import Conflict, IntegrityFailed, Unavailable

FOLDER = Path(__file__).parent
FILE_NAME = re.compile(r"(\d{4})_([a-z0-9_]+)\.sql")
LOCK_KEY = 0x6C65646765725F6D
"""The advisory lock's number: "ledger_m" in ASCII."""
LOCK_LIMIT_S = 600.0
POLL_S = 0.1

CREATE_TABLE = """
CREATE TABLE IF NOT EXISTS ledger_migrations (
    number int PRIMARY KEY,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
GRANT SELECT ON ledger_migrations TO PUBLIC;  -- the service asks whether the schema is its own
"""


@dataclass(frozen=True, slots=True)
class Migration:
    """One SQL file."""

    number: int
    name: str
    sql: str

    @property
    def file_name(self) -> str:
        return f"{self.number:04}_{self.name}.sql"

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.sql.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Applied:
    """A migration as the database remembers it."""

    number: int
    name: str
    sha256: str
    applied_at: datetime

    @property
    def file_name(self) -> str:
        return f"{self.number:04}_{self.name}.sql"


@dataclass(frozen=True, slots=True)
class Status:
    """A migration of the folder; `applied_at` is None while it is pending."""

    number: int
    name: str
    applied_at: datetime | None


def migrate(conninfo: str, *, folder: Path = FOLDER, say: Callable[[str], None] = lambda _: None) -> list[Applied]:
    """Applies what is pending and returns it; [] if there was nothing to do.

    `conninfo` is the owner's. `say` gets a line when it has to wait for another migrator. Raises IntegrityFailed if an
    applied file was edited or is not in the folder, Conflict if a file fails (nothing of it stays; those before it do).
    """
    migrations = read_migrations(folder)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        # So that the statement of a migrator that was killed ends at once, and its lock with it.
        connection.execute("SET client_connection_check_interval = '1s'")
        with _only_migrator(connection, say):
            connection.execute(CREATE_TABLE)
            done = _applied(connection)
            check_applied(migrations, done)
            return [_apply(connection, migration) for migration in migrations[len(done) :]]


def status(conninfo: str, *, folder: Path = FOLDER) -> list[Status]:
    """Every migration of the folder, in order; changes nothing. Raises IntegrityFailed as `migrate` does."""
    migrations = read_migrations(folder)
    with psycopg.connect(conninfo, autocommit=True) as connection:
        done = _applied(connection) if _table_exists(connection) else []
    check_applied(migrations, done)
    applied_at = {applied.number: applied.applied_at for applied in done}
    return [Status(each.number, each.name, applied_at.get(each.number)) for each in migrations]


def read_migrations(folder: Path) -> list[Migration]:
    """The folder's migrations in order. Raises IntegrityFailed unless they are numbered 1, 2, 3 … without a gap."""
    migrations = []
    for path in sorted(folder.glob("*.sql")):
        found = FILE_NAME.fullmatch(path.name)
        if found is None:
            raise IntegrityFailed(f"{path.name} is no name of a migration; expected one like 0001_event_store.sql.")
        migrations.append(Migration(int(found[1]), found[2], path.read_bytes().decode()))
    for expected, migration in enumerate(migrations, start=1):
        if migration.number != expected:
            raise IntegrityFailed(
                f"The migrations are not numbered in a row: found {migration.file_name}, expected number {expected:04}."
            )
    return migrations


def newest_number(folder: Path = FOLDER) -> int:
    """The number of the schema that this release works on."""
    return max((migration.number for migration in read_migrations(folder)), default=0)


def check_applied(migrations: list[Migration], done: list[Applied]) -> None:
    """Raises IntegrityFailed unless `done` is the beginning of `migrations`, with equal checksums."""
    by_number = {migration.number: migration for migration in migrations}
    for expected_number, applied in enumerate(done, start=1):
        migration = by_number.get(applied.number)
        if applied.number != expected_number:
            raise IntegrityFailed(
                f"The database has a gap: found {applied.file_name}, expected number {expected_number:04} first."
            )
        if migration is None:
            raise IntegrityFailed(
                f"The database has {applied.file_name}, which this version does not know. "
                "It was migrated by a newer one: use that one."
            )
        if migration.sha256 != applied.sha256:
            raise IntegrityFailed(
                f"{migration.file_name} was edited after it was applied at {applied.applied_at.isoformat()}: "
                f"found SHA-256 {migration.sha256}, expected {applied.sha256}. Restore it and add a new migration."
            )


@contextmanager
def _only_migrator(connection: psycopg.Connection, say: Callable[[str], None]) -> Iterator[None]:
    """Holds the lock. It is polled: a statement that waits for it would keep a snapshot open, and a CREATE INDEX
    CONCURRENTLY of the migrator who holds it waits for all snapshots."""
    deadline, told = time.monotonic() + LOCK_LIMIT_S, False
    while connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK_KEY]).fetchone() != (True,):
        if not told:
            say("Another process is migrating this database; waiting for it.")
            told = True
        if time.monotonic() > deadline:
            raise Unavailable(f"Another process has been migrating this database for over {LOCK_LIMIT_S:.0f} s.")
        time.sleep(POLL_S)
    try:
        yield
    finally:
        if not connection.broken:
            connection.execute("SELECT pg_advisory_unlock(%s)", [LOCK_KEY])


def _apply(connection: psycopg.Connection, migration: Migration) -> Applied:
    try:
        with connection.transaction():
            connection.execute(migration.sql.encode())
            row = connection.execute(
                "INSERT INTO ledger_migrations (number, name, sha256) VALUES (%s, %s, %s) RETURNING applied_at",
                [migration.number, migration.name, migration.sha256],
            ).fetchone()
    except psycopg.errors.OperationalError:
        raise
    except psycopg.Error as error:
        raise Conflict(f"{migration.file_name} failed and nothing of it was kept: {error}") from error
    assert row is not None
    return Applied(migration.number, migration.name, migration.sha256, row[0])


def _applied(connection: psycopg.Connection) -> list[Applied]:
    rows = connection.execute("SELECT number, name, sha256, applied_at FROM ledger_migrations ORDER BY number")
    return [Applied(*row) for row in rows]


def _table_exists(connection: psycopg.Connection) -> bool:
    return connection.execute("SELECT to_regclass('ledger_migrations') IS NOT NULL").fetchone() == (True,)
