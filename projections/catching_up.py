"""Readers that need a view to have reached a position wait for it here, with a limit."""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from ledger.errors import NotCaughtUp
from ledger.store.database import Database

WAIT_S_MAX = 10.0
POLL_S = 0.05

_LIVE = """
    SELECT generation, position, failure FROM projections
    WHERE account_id = %s AND name = %s AND state = 'live'
"""


def head_of(database: Database, account_id: UUID) -> int:
    """The position of the account's newest event; 0 where there is none."""
    with database.transaction(account_id) as connection:
        row = connection.execute("SELECT head FROM accounts WHERE account_id = %s", (account_id,)).fetchone()
    return row[0] if row else 0


def generation_at(connection: Any, account_id: UUID, name: str, position: int) -> int | None:
    """The live generation of a projection, in this transaction; None while it has not reached the position."""
    row = connection.execute(_LIVE, (account_id, name)).fetchone()
    if row is None:
        return 0 if position == 0 else None
    return row[0] if row[1] >= position else None


def wait_for(database: Database, account_id: UUID, name: str, position: int, *, wait_s_max: float = WAIT_S_MAX) -> None:
    """Returns when the live view has reached the position. Raises NotCaughtUp after `wait_s_max` seconds."""
    until = time.monotonic() + wait_s_max
    while True:
        with database.transaction(account_id) as connection:
            if generation_at(connection, account_id, name, position) is not None:
                return
            row = connection.execute(_LIVE, (account_id, name)).fetchone()
        if time.monotonic() >= until:
            break
        time.sleep(POLL_S)
    reached, failure = (row[1], row[2]) if row else (0, None)
    why = f" It stands still: {failure}" if failure else " Are projections running (`ledger project`)? Try again."
    raise NotCaughtUp(
        f"The view {name} is at position {reached}, not yet at {position}.{why}", reached=reached, wanted=position
    )
