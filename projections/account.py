"""Moving one account's projections on, batch by batch.

The events of a batch are read and decoded once for all generations that stand at the same position. Writing it is one
transaction: the generations are locked there, their rows and their tracking positions are written together. So each
event is in the rows exactly once, whatever crashes and however many workers try: one that comes second finds the
position moved and looks again.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any
from uuid import UUID

from ledger.errors import Unavailable
from ledger.store.database import Database
from projections.events.postgres import BATCH_EVENTS
from projections.port import Connection, Projection
from projections.reading_ahead import BatchSource, Folded, Wanted
from projections.tracking.postgres import (
    Generation,
    add_first_generations,
    advance,
    commit_soon,
    fail,
    generations,
    lock_at,
    refresh_statistics,
)

log = logging.getLogger(__name__)

_SMALLER = 8
"""By how much a batch that failed shrinks, until its one bad event is found."""

Go = Callable[[], bool]
"""Whether to go on with the next batch."""


class AccountProjections:
    """The projections of one account, moved on by this process."""

    def __init__(
        self,
        database: Database,
        account_id: UUID,
        projections: Sequence[Projection[Any]],
        *,
        batch_events: int = BATCH_EVENTS,
    ) -> None:
        self._database = database
        self._account_id = account_id
        self._projections = {projection.name: projection for projection in projections}
        self._source = BatchSource(database, account_id, projections)
        self._batch_events = batch_events
        self._given_up: set[tuple[str, int, str, int]] = set()

    def live(self) -> list[Generation]:
        """The live generations, made where there were none."""
        with self._database.transaction(self._account_id) as connection:
            found = generations(connection, self._account_id)
            if not self._projections.keys() <= {generation.name for generation in found}:
                add_first_generations(connection, self._account_id, list(self._projections))
                found = generations(connection, self._account_id)
        return [each for each in found if each.state == "live" and each.name in self._projections]

    def catch_up(self, go: Go = lambda: True) -> int:
        """Moves all live generations on to the head, those furthest behind first. The position that all have reached.

        A generation that stands still at an event is tried once by each process: a newer program may understand it.
        """
        done: set[str] = set()
        with self.reading_ahead():
            while go():
                live = self.live()
                groups = _alike([each for each in live if each.name not in done and each[:4] not in self._given_up])
                if not groups:
                    break
                if not self.step(groups[0]):
                    done.update(generation.name for generation in groups[0])
        with self._database.connection() as connection:
            refresh_statistics(connection)
        return min((generation.position for generation in self.live()), default=0)

    def reading_ahead(self) -> AbstractContextManager[None]:
        """Within this, each step reads what the next one needs."""
        return self._source.reading_ahead()

    def step(self, group: Sequence[Generation]) -> bool:
        """One batch for generations that stand at the same position. False: there is nothing after it.

        Where an event cannot be processed, the batches before it are, and then the generation's failure is written
        down; its position stays.
        """
        return self._step(sorted(group, key=lambda each: each.name), self._batch_events)

    def apply(self, connection: Connection, group: Sequence[Generation], limit: int) -> int | None:
        """One batch in the caller's transaction, which has locked the group. The position reached; None: no event."""
        folded = self._source.fold(connection, _wanted(group, limit))
        if folded is None:
            return None
        self._write(connection, group, folded)
        return folded.last

    def _write(self, connection: Connection, group: Sequence[Generation], folded: Folded) -> None:
        for generation in group:
            projection = self._projections[generation.name]
            projection.write(connection, self._account_id, generation.generation, folded.rows[generation.name])
            advance(connection, self._account_id, generation, folded.last)

    def _step(self, group: list[Generation], limit: int) -> bool:
        try:
            folded = self._source.take(_wanted(group, limit))
            if folded is None:
                return False
            with self._database.transaction(self._account_id) as connection:
                commit_soon(connection)
                if all(lock_at(connection, self._account_id, generation) for generation in group):
                    self._write(connection, group, folded)
            return True
        except Unavailable:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, the event is not skipped
            found = error
        return self._find_failure(group, limit, found)

    def _find_failure(self, group: list[Generation], limit: int, error: Exception) -> bool:
        """Narrows a failure down to one projection and one event; what can go on does."""
        if len(group) > 1:
            moved = [self._step([generation], limit) for generation in group]
            return any(moved)
        if limit > 1:
            return self._step(group, max(1, limit // _SMALLER))
        generation, position = group[0], group[0].position + 1
        self._given_up.add(generation[:4])
        log.error("projection %s stands still at position %d: %s", generation.name, position, error, exc_info=error)
        with self._database.transaction(self._account_id) as connection:
            if lock_at(connection, self._account_id, generation):
                fail(connection, self._account_id, generation, position, f"{type(error).__name__}: {error}")
        return False


def _wanted(group: Sequence[Generation], limit: int) -> Wanted:
    return Wanted(group[0].position, limit, tuple(generation.name for generation in group))


def _alike(found: Sequence[Generation]) -> list[list[Generation]]:
    """Generations by their position, the ones furthest behind first."""
    by_position: dict[int, list[Generation]] = {}
    for generation in found:
        by_position.setdefault(generation.position, []).append(generation)
    return [by_position[position] for position in sorted(by_position)]
