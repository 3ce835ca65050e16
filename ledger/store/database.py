"""Connections to PostgreSQL: one pool, one account a transaction, driver errors in the ledger's words."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any
from uuid import UUID

import psycopg
from psycopg import Connection, errors
from psycopg_pool import ConnectionPool, PoolTimeout

from ledger.errors import LedgerError, NotFound, Unavailable

SERVICE_ROLE = "ledger_service"
POOL_WAIT_S = 15.0
"""How long a request waits for a free connection before it is told to come back."""

_LEFT_BEHIND = "SELECT coalesce(current_setting('ledger.account_id', true), ''), current_user::text"
CHANNEL = "ledger_events"
"""Notified after appends, to wake those who follow the log. They look by themselves too: nothing rests on it."""
ANNOUNCE_S = 0.05
"""At most one notification in this time from a process."""

_SET_ACCOUNT = "SELECT set_config('ledger.account_id', %s, true)"


class Database:
    """The ledger's tables as the service may touch them.

    Every connection works as the role `ledger_service` (see 0001_event_store.sql for what that role may do), whatever
    login it came in with, and every transaction is bound to one account.
    """

    def __init__(self, conninfo: str, *, pool_size_max: int = 10) -> None:
        self.conninfo = conninfo
        self._pool = ConnectionPool(
            conninfo,
            min_size=1,
            max_size=pool_size_max,
            timeout=POOL_WAIT_S,
            kwargs={"autocommit": True, "application_name": "ledger"},
            configure=_become_service,
            check=_check_clean,
            open=False,
        )
        self._announced_at = float("-inf")

    def open(self) -> Database:
        """Opens the pool. Raises Unavailable when the database does not answer."""
        with in_ledger_words():
            with psycopg.connect(self.conninfo, autocommit=True) as connection:
                _become_service(connection)
            self._pool.open()
        return self

    def close(self) -> None:
        self._pool.close()

    @contextmanager
    def transaction(self, account_id: UUID) -> Iterator[Connection[Any]]:
        """One transaction that sees and writes this account's rows only."""
        with in_ledger_words(), self._pool.connection() as connection, connection.transaction():
            connection.execute(_SET_ACCOUNT, (str(account_id),))
            yield connection

    @contextmanager
    def connection(self) -> Iterator[Connection[Any]]:
        """A connection with no account set: good for `ledger_heads()` and NOTIFY, an error for any table."""
        with in_ledger_words(), self._pool.connection() as connection:
            yield connection

    def schema_number(self) -> int:
        """The number of the newest migration that the database has; 0: none."""
        with self.connection() as connection:
            row = connection.execute("SELECT coalesce(max(number), 0) FROM ledger_migrations").fetchone()
        assert row is not None
        return int(row[0])

    def announce(self, account_id: UUID) -> None:
        """Tells followers that the account has new events, if they were not told a moment ago.

        Never raises: the events are recorded, and followers find them without it.
        """
        now = time.monotonic()
        if now - self._announced_at < ANNOUNCE_S:
            return
        self._announced_at = now
        with suppress(LedgerError), self.connection() as connection:
            connection.execute("SELECT pg_notify(%s, %s)", (CHANNEL, str(account_id)))


@contextmanager
def in_ledger_words() -> Iterator[None]:
    """The one place where driver errors become the ledger's. Integrity errors stay: callers know what they mean."""
    try:
        yield
    except LedgerError:
        raise
    except (
        errors.InvalidCatalogName,
        errors.UndefinedTable,
        errors.UndefinedFunction,
        errors.UndefinedObject,
    ) as error:
        raise NotFound(
            f"The database is there but the ledger's tables are not ({error.diag.message_primary}). "
            "Run `ledger migrate`."
        ) from error
    except (errors.DeadlockDetected, errors.SerializationFailure, errors.QueryCanceled) as error:
        raise Unavailable(f"The database stopped the transaction: {error.diag.message_primary}. Try again.") from error
    except (psycopg.OperationalError, PoolTimeout) as error:
        reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
        raise Unavailable(f"The database does not answer: {reason}. Try again; nothing was half-done.") from error


def _become_service(connection: Connection[Any]) -> None:
    # Temporary tables last: by default they come first, and one named `events` would swallow what is appended.
    connection.execute(f"SET ROLE {SERVICE_ROLE}; SET search_path = public, pg_temp")


def _check_clean(connection: Connection[Any]) -> None:
    """Before a connection is lent again: it answers, no account is left in it, and it still is the service.

    A setting that outlived its transaction would show the next user another account's rows. The pool replaces a
    connection that fails here.
    """
    row = connection.execute(_LEFT_BEHIND).fetchone()
    if row != ("", SERVICE_ROLE):
        connection.close()
        raise psycopg.OperationalError("the connection came back with an account or a role of its own")
