"""How far the projections are, and waiting for them."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from ledger.errors import NotCaughtUp
from ledger.store.database import Database
from projections.registry import FOLLOWER_NAMES, PROJECTION_NAMES
from projections.tracking.postgres import generations

WAIT_S = 10.0
"""How long a reader waits for a position, if it does not say."""
_LOOK_FIRST_S = 0.002
_LOOK_LAST_S = 0.05
"""Waiting looks often at first: a projection that follows is there in some milliseconds."""


@dataclass(frozen=True, slots=True)
class Lag:
    """How far one projection of one account is behind the log."""

    account_id: UUID
    account: str
    projection: str
    generation: int
    position: int
    head: int
    failed_position: int | None
    failure: str | None
    """Why it stands still, None while it is well."""

    @property
    def behind(self) -> int:
        """Events that are not in its rows yet."""
        return max(0, self.head - self.position)

    def as_dict(self) -> dict[str, Any]:
        return {
            "account": self.account,
            "projection": self.projection,
            "generation": self.generation,
            "position": self.position,
            "head": self.head,
            "behind": self.behind,
            "failed_position": self.failed_position,
            "failure": self.failure,
        }


def lag(database: Database, account_id: UUID | None = None) -> list[Lag]:
    """Each live projection of one account or of all, by account and projection; one that never ran stands at 0."""
    return [
        each
        for account, name, head in sorted(read_heads(database), key=lambda row: row[1])
        if account_id in (None, account)
        for each in _lag_of(database, account, name, head)
    ]


def wait_for(
    database: Database,
    account_id: UUID,
    position: int,
    timeout_s: float = WAIT_S,
    *,
    names: Iterable[str] = PROJECTION_NAMES,
) -> None:
    """Returns when these projections have processed the event at `position`. Raises NotCaughtUp."""
    wanted, deadline, pause_s = set(names), time.monotonic() + timeout_s, _LOOK_FIRST_S
    while True:
        with database.transaction(account_id) as connection:
            live = [each for each in generations(connection, account_id) if each.state == "live"]
        reached = {each.name: each.position for each in live if each.name in wanted}
        behind = {name: reached.get(name, 0) for name in wanted if reached.get(name, 0) < position}
        if not behind:
            return
        for each in live:
            if each.failure is not None and each.name in behind:
                raise NotCaughtUp(
                    f"The projection {each.name} stands still at position {each.failed_position}: {each.failure}. "
                    "An operator must look.",
                    position=each.position,
                )
        if time.monotonic() >= deadline:
            name = min(behind, key=lambda each: behind[each])
            raise NotCaughtUp(
                f"The projection {name} is at position {behind[name]}, not yet at {position}. Try again; "
                "if it does not move, see whether a worker runs (`ledger project`).",
                position=behind[name],
            )
        time.sleep(min(pause_s, max(0.0, deadline - time.monotonic())))
        pause_s = min(pause_s * 1.5, _LOOK_LAST_S)


def read_heads(database: Database) -> list[tuple[UUID, str, int]]:
    """Each account: its id, its name, the position of its newest event."""
    with database.connection() as connection:
        return connection.execute("SELECT account_id, name, head FROM ledger_heads()").fetchall()


def _lag_of(database: Database, account_id: UUID, account: str, head: int) -> list[Lag]:
    with database.transaction(account_id) as connection:
        live = {each.name: each for each in generations(connection, account_id) if each.state == "live"}
    found = []
    for name in FOLLOWER_NAMES:
        each = live.get(name)
        if each is None:
            found.append(Lag(account_id, account, name, 0, 0, head, None, None))
        else:
            failed = each.failed_position, each.failure
            found.append(Lag(account_id, account, name, each.generation, each.position, head, *failed))
    return found
