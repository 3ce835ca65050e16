"""The views against the events: each is filled again from the log beside the live rows, compared with them column by
column, and taken back. Nothing of it stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from ledger.errors import IntegrityFailed, LedgerError
from ledger.store.database import Database
from projections.account import AccountProjections
from projections.events.postgres import BATCH_EVENTS
from projections.port import Connection, Projection
from projections.registry import PROJECTIONS
from projections.tracking.postgres import Generation, add_generation, compare_rows, generations, lock_live

TABLES = {
    "tracker": ("tracker", "tracker_types", "tracker_values"),
    "run_changes": ("account_run_changes", "change_blocks"),
    "records": ("records",),
    "activity_daily": ("activity_daily",),
}
"""Which tables (or the views that they are read through) hold a projection's rows."""

OnProgress = Callable[[int, int], None]


class ViewFault(NamedTuple):
    """A row of a view that the events do not give. `position`: of an event that it tells of, where it tells of one."""

    view: str
    detail: str
    position: int | None


class _TakeBack(Exception):
    """Ends the transaction in which the views were filled again."""


def find_view_faults(
    database: Database,
    account_id: UUID,
    *,
    projections: Sequence[Projection[Any]] = PROJECTIONS,
    on_progress: OnProgress = lambda _done, _all: None,
) -> list[ViewFault]:
    """The first fault of each view. A view that stands still, or was never filled, is compared as far as it came."""
    account = AccountProjections(database, account_id, projections)
    account.live()
    faults: list[ViewFault] = []
    try:
        with database.transaction(account_id) as connection:
            faults += _compare(connection, account_id, account, on_progress)
            raise _TakeBack
    except _TakeBack:
        return faults


def _compare(
    connection: Connection, account_id: UUID, account: AccountProjections, on_progress: OnProgress
) -> Iterator[ViewFault]:
    live = [each for each in generations(connection, account_id) if each.state == "live" and each.name in TABLES]
    filling = [
        Generation(each.name, add_generation(connection, account_id, each.name), "filling", 0, None, None)
        for each in live
    ]
    together = min((each.position for each in live), default=0)
    try:
        _fill(connection, account, filling, together, on_progress)
        for each in filling:
            # The live rows stand still from here on, as in the swap of a rebuild; what is missing is a moment's worth.
            target = lock_live(connection, account_id, each.name)
            reached = each._replace(position=together)
            _fill(connection, account, [reached], target.position, lambda _done, _all: None)
            for table in TABLES[each.name]:
                found = compare_rows(connection, account_id, table, target.generation, each.generation)
                if found is not None:
                    yield ViewFault(table.removeprefix("account_"), *found)
    except (IntegrityFailed, AssertionError) as error:
        reason = error.message if isinstance(error, LedgerError) else str(error)
        yield ViewFault("all", f"The views cannot be filled again from the events: {reason}", None)


def _fill(
    connection: Connection, account: AccountProjections, group: Sequence[Generation], upto: int, tell: OnProgress
) -> None:
    group = list(group)
    while group and group[0].position < upto:
        position = account.apply(connection, group, min(BATCH_EVENTS, upto - group[0].position))
        assert position is not None, "the view says that it read events that are not there"
        group = [each._replace(position=position) for each in group]
        tell(position, upto)
