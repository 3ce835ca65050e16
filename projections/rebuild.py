"""Filling a projection again beside the live one, and swapping.

A rebuild adds a generation in state `filling`, moves it on by the same batches as a follower, and swaps in one
transaction in which the live generation stands still. The old rows are removed later, when no reader can be at them. A
crash leaves a generation that nobody reads; the next rebuild retires it and begins anew.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any
from uuid import UUID

from ledger.errors import Conflict, IntegrityFailed, NotFound
from ledger.store.database import Database
from ledger.store.leases import give_lease_back, take_lease
from projections.account import AccountProjections
from projections.events.postgres import BATCH_EVENTS
from projections.port import Projection
from projections.registry import PROJECTIONS
from projections.tracking.postgres import (
    Generation,
    add_generation,
    forget_generation,
    generations,
    lock_live,
    retired_before,
    set_state,
)

LEASE_S = 60.0
READERS_GRACE_S = 60.0
"""How long retired rows stay: a reader that looked up their generation just before the swap finds them still."""
REMOVE_ROWS = 10_000
"""Rows removed in one transaction."""

OnProgress = Callable[[int], None]
"""Told the position after each batch."""


def rebuild(
    database: Database,
    account_id: UUID,
    name: str,
    *,
    projections: Sequence[Projection[Any]] = PROJECTIONS,
    batch_events: int = BATCH_EVENTS,
    on_progress: OnProgress = lambda _: None,
) -> int:
    """Rebuilds one projection of an account; readers see the old rows until the swap. Returns the new generation.

    Raises NotFound for an unknown name, Conflict while another rebuild of it is under way, IntegrityFailed at an event
    that the projection cannot process (the live rows stay).
    """
    names = [projection.name for projection in projections]
    if name not in names:
        raise NotFound(f"There is no projection {name!r}. There are: {', '.join(names)}.")
    account = AccountProjections(database, account_id, projections, batch_events=batch_events)
    account.live()
    holder, purpose = f"rebuild/{secrets.token_hex(8)}", f"rebuild {name}"

    def hold() -> None:
        with database.transaction(account_id) as connection:
            if not take_lease(connection, account_id, purpose, holder, seconds=LEASE_S):
                raise Conflict(f"The projection {name} is being rebuilt already. Wait until that is done.")

    hold()
    try:
        generation = _begin(database, account_id, name)
        with account.reading_ahead():
            while account.step([generation]):
                hold()
                generation = _look(database, account_id, generation)
                on_progress(generation.position)
        _swap(database, account_id, account, _look(database, account_id, generation), batch_events)
    finally:
        with database.transaction(account_id) as connection:
            give_lease_back(connection, account_id, purpose, holder)
    sweep(database, account_id, projections=projections)
    return generation.generation


def sweep(
    database: Database,
    account_id: UUID,
    *,
    projections: Sequence[Projection[Any]] = PROJECTIONS,
    older_than_s: float = READERS_GRACE_S,
) -> None:
    """Removes the rows of generations that were retired longer ago than this, piece by piece."""
    with database.transaction(account_id) as connection:
        retired = retired_before(connection, account_id, older_than_s)
    by_name = {projection.name: projection for projection in projections}
    for name, generation in retired:
        if name not in by_name:
            continue
        while True:
            with database.transaction(account_id) as connection:
                removed = by_name[name].remove(connection, account_id, generation, REMOVE_ROWS)
                if removed < REMOVE_ROWS:
                    forget_generation(connection, account_id, name, generation)
                    break


def _begin(database: Database, account_id: UUID, name: str) -> Generation:
    with database.transaction(account_id) as connection:
        for each in generations(connection, account_id):
            if each.name == name and each.state == "filling":
                set_state(connection, account_id, each, "retired")
        number = add_generation(connection, account_id, name)
    return Generation(name, number, "filling", 0, None, None)


def _look(database: Database, account_id: UUID, generation: Generation) -> Generation:
    """The generation as it is now. Raises IntegrityFailed where it stands still."""
    with database.transaction(account_id) as connection:
        found = generations(connection, account_id)
    now = next((each for each in found if each[:2] == generation[:2] and each.state == "filling"), None)
    if now is None:
        raise Conflict(f"Another rebuild of the projection {generation.name} took over. Wait until that is done.")
    if now.failure is not None:
        raise IntegrityFailed(
            f"The projection {now.name} cannot be rebuilt: at position {now.failed_position}: {now.failure}. "
            "The rows that readers see were not touched."
        )
    return now


def _swap(
    database: Database, account_id: UUID, account: AccountProjections, filling: Generation, batch_events: int
) -> None:
    """Makes the filled generation the live one, in a transaction that first brings it level with the old one."""
    with database.transaction(account_id) as connection:
        live = lock_live(connection, account_id, filling.name)
        while filling.position < live.position:
            position = account.apply(connection, [filling], batch_events)
            assert position is not None, "the live generation has been here"
            filling = filling._replace(position=position)
        set_state(connection, account_id, live, "retired")
        set_state(connection, account_id, filling, "live")
