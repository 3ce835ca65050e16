"""How the signed logs fare, as the database keeps it: why one is not sealed, what it was last verified to be."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection
from psycopg.types.json import Jsonb

STANDS_AFTER_S = 60.0
"""An event that is unsigned for longer than this tells that sealing stands still: it takes a second."""

_NOTE = """
    INSERT INTO log_failures (account_id, failure) VALUES (%s, %s)
    ON CONFLICT (account_id) DO UPDATE SET failure = excluded.failure, failed_at = excluded.failed_at
"""
_FORGET = "DELETE FROM log_failures WHERE account_id = %s"
_STATES = """
    SELECT account_id, name, head, signed,
        CASE WHEN head > signed THEN extract(epoch FROM clock_timestamp() - unsigned_since)::float8 ELSE 0 END,
        failure, extract(epoch FROM clock_timestamp() - verified_at)::float8, is_verified
    FROM ledger_log_states()
"""
_WRITE_VERIFICATION = """
    INSERT INTO log_verifications AS known (account_id, began_at, ended_at, verdict)
    VALUES (%s, %s, clock_timestamp(), %s)
    ON CONFLICT (account_id) DO UPDATE
    SET began_at = excluded.began_at, ended_at = excluded.ended_at, verdict = excluded.verdict,
        asked_at = CASE WHEN known.asked_at > excluded.began_at THEN known.asked_at END
"""
_ASK = """
    INSERT INTO log_verifications AS known (account_id, asked_at) VALUES (%s, clock_timestamp())
    ON CONFLICT (account_id) DO UPDATE SET asked_at = coalesce(known.asked_at, excluded.asked_at)
"""
_ASKED = "SELECT account_id FROM ledger_asked_verifications()"
_VERIFICATION = "SELECT began_at, ended_at, verdict, asked_at FROM log_verifications WHERE account_id = %s"


class LogState(NamedTuple):
    """How the log of one account fares."""

    account_id: UUID
    account: str
    head: int
    signed: int
    """Events under the newest checkpoint."""
    unsigned_s: float | None
    """How long the first event after it has waited; None where the log has no such event."""
    failure: str | None
    """Why it was not sealed when that was last tried."""
    verified_s: float | None
    """How long ago the service last ended a verification of it."""
    is_verified: bool | None
    """What that found."""

    @property
    def stands(self) -> bool:
        """Whether sealing is behind by more than it may take."""
        return self.failure is not None or self.unsigned_s is None or self.unsigned_s > STANDS_AFTER_S


class Verification(NamedTuple):
    """The last verification of an account's log by the service; all None where there was none."""

    began_at: datetime | None = None
    ended_at: datetime | None = None
    verdict: Mapping[str, Any] | None = None
    """Verdict.as_dict()."""
    asked_at: datetime | None = None
    """When one was asked for that has not begun since."""


def read_log_states(connection: Connection[Any]) -> list[LogState]:
    """Of all accounts; none while no log was ever sealed, for then sealing is off."""
    states = [LogState._make(row) for row in connection.execute(_STATES)]
    return states if any(each.signed or each.failure for each in states) else []


def note_failure(connection: Connection[Any], account_id: UUID, failure: str) -> None:
    """Says why the log is not sealed."""
    connection.execute(_NOTE, (account_id, failure))


def forget_failure(connection: Connection[Any], account_id: UUID) -> None:
    """The log is sealed again."""
    connection.execute(_FORGET, (account_id,))


def write_verification(
    connection: Connection[Any], account_id: UUID, began_at: datetime, verdict: Mapping[str, Any]
) -> None:
    """In place of the one before."""
    connection.execute(_WRITE_VERIFICATION, (account_id, began_at, Jsonb(verdict)))


def ask_verification(connection: Connection[Any], account_id: UUID) -> None:
    """Asks for one; does nothing where one was asked for."""
    connection.execute(_ASK, (account_id,))


def read_asked(connection: Connection[Any]) -> list[UUID]:
    """The accounts that one was asked for, in that order."""
    return [account_id for (account_id,) in connection.execute(_ASKED)]


def read_verification(connection: Connection[Any], account_id: UUID) -> Verification:
    row = connection.execute(_VERIFICATION, (account_id,)).fetchone()
    return Verification() if row is None else Verification._make(row)
