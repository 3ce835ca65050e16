"""The views against the events: what each should hold is folded again from the log and compared with the live rows.
Nothing of it stays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from uuid import UUID

from ledger.errors import IntegrityFailed
from ledger.store.database import Database
from projections.account import AccountProjections
from projections.comparing.postgres import (
    ChangesComparison,
    Comparison,
    Fault,
    FilledComparison,
    RecordsComparison,
    Step,
)
from projections.events.postgres import BATCH_EVENTS, EventReader
from projections.port import Connection
from projections.registry import PROJECTIONS
from projections.tracking.postgres import Generation, lock_live

_FILLED = {"tracker": ("tracker", "tracker_types", "tracker_values"), "activity_daily": ("activity_daily",)}
"""Which tables hold the rows of the views that are filled again."""

OnProgress = Callable[[int, int], None]


class _TakeBack(Exception):
    """Ends the transaction in which views were filled again."""


class _Swapped(Exception):
    """A rebuild put other rows in the place of those that were being compared."""


def find_view_faults(
    database: Database, account_id: UUID, *, on_progress: OnProgress = lambda _done, _all: None
) -> list[Fault]:
    """The first fault of each table. A view that stands still, or was never filled, is compared as far as it came.

    What is wrong is looked at a second time: an erasure in the meantime changes events and rows that were read already.
    """
    for _ in range(2):
        faults = _look(database, account_id, on_progress)
        if not faults:
            break
    return faults


def _look(database: Database, account_id: UUID, tell: OnProgress) -> list[Fault]:
    while True:
        try:
            return _compare(database, account_id, tell)
        except _Swapped:
            continue
        except IntegrityFailed as error:
            return [Fault("all", f"The views cannot be made again from the events: {error.message}", None)]


def _compare(database: Database, account_id: UUID, tell: OnProgress) -> list[Fault]:
    live = AccountProjections(database, account_id, PROJECTIONS).live()
    reader = EventReader(account_id)
    comparisons = {each: _comparison(account_id, each) for each in live}
    together = min((each.position for each in live), default=0)
    at = 0
    while at < together:
        with database.transaction(account_id) as connection:
            at = _step(connection, reader, list(comparisons.values()), at, together)
        tell(at, together)
    faults: list[Fault] = []
    for each, comparison in comparisons.items():
        with _taken_back(database, account_id) as connection:
            # The live rows stand still from here on, as in the swap of a rebuild; what is missing is a moment's worth.
            target = lock_live(connection, account_id, each.name)
            if target.generation != each.generation:
                raise _Swapped
            at = together
            while at < target.position:
                at = _step(connection, reader, [comparison], at, target.position)
            faults += comparison.end(connection)
    return faults


def _step(connection: Connection, reader: EventReader, comparisons: list[Comparison], after: int, upto: int) -> int:
    """One batch. The position reached. Raises IntegrityFailed where the events do not reach as far as the view says."""
    batch = reader.read(connection, after, limit=min(BATCH_EVENTS, upto - after))
    if batch is None:
        raise IntegrityFailed("A view says that it read events that are not there.")
    for each in comparisons:
        each.take(Step(connection, after, batch))
    return batch.last


def _comparison(account_id: UUID, live: Generation) -> Comparison:
    if live.name == "run_changes":
        return ChangesComparison(account_id, live.generation)
    if live.name == "records":
        return RecordsComparison(account_id, live.generation)
    projection = next(each for each in PROJECTIONS if each.name == live.name)
    return FilledComparison(account_id, live.generation, projection, _FILLED[live.name])


@contextmanager
def _taken_back(database: Database, account_id: UUID) -> Iterator[Connection]:
    """A transaction of which nothing stays."""
    try:
        with database.transaction(account_id) as connection:
            yield connection
            raise _TakeBack
    except _TakeBack:
        pass
