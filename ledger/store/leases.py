"""The table leases: who works on an account now. Saves double work and nothing else; nothing rests on it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import Connection

_TAKE_LEASE = """
    INSERT INTO leases AS known (account_id, purpose, holder, expires_at)
    VALUES (%(account)s, %(purpose)s, %(holder)s, clock_timestamp() + make_interval(secs => %(seconds)s))
    ON CONFLICT (account_id, purpose) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
    WHERE known.holder = excluded.holder OR known.expires_at < clock_timestamp()
"""
_GIVE_LEASE_BACK = "DELETE FROM leases WHERE account_id = %s AND purpose = %s AND holder = %s"


def take_lease(connection: Connection[Any], account_id: UUID, purpose: str, holder: str, *, seconds: float) -> bool:
    """Takes or renews the lease. False: another holder has it."""
    parameters = {"account": account_id, "purpose": purpose, "holder": holder, "seconds": seconds}
    return connection.execute(_TAKE_LEASE, parameters).rowcount == 1


def give_lease_back(connection: Connection[Any], account_id: UUID, purpose: str, holder: str) -> None:
    connection.execute(_GIVE_LEASE_BACK, (account_id, purpose, holder))
