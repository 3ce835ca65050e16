"""Reading and folding the next batch while the one before is being written: PostgreSQL and Python work side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NamedTuple
from uuid import UUID

from ledger.store.database import Database
from projections.events.postgres import EventReader
from projections.port import Connection, Projection


class Wanted(NamedTuple):
    """Which events, for which projections."""

    after: int
    limit: int
    names: tuple[str, ...]


class Folded(NamedTuple):
    """A batch, folded."""

    last: int
    """The position of its last event."""
    rows: Mapping[str, Any]
    """What it adds, by the projection's name."""


class BatchSource:
    """The folded batches of one account, in order."""

    def __init__(self, database: Database, account_id: UUID, projections: Sequence[Projection[Any]]) -> None:
        self._database = database
        self._account_id = account_id
        self._projections = {projection.name: projection for projection in projections}
        self._reader = EventReader(account_id)
        self._pool: ThreadPoolExecutor | None = None
        self._ahead: tuple[Wanted, Future[Folded | None]] | None = None

    @contextmanager
    def reading_ahead(self) -> Iterator[None]:
        """Within this, the batch that follows a full one is read while the caller works on that."""
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="read-ahead") as pool:
            self._pool = pool
            try:
                yield
            finally:
                self._pool, self._ahead = None, None

    def take(self, wanted: Wanted) -> Folded | None:
        """The batch, None for no events. Events never change, so it does not matter when they were read."""
        folded = self._taken_ahead(wanted)
        if self._pool is not None and folded is not None and folded.last == wanted.after + wanted.limit:
            following = wanted._replace(after=folded.last)
            self._ahead = following, self._pool.submit(self._read, following)
        return folded

    def fold(self, connection: Connection, wanted: Wanted) -> Folded | None:
        """The batch as this transaction sees it."""
        batch = self._reader.read(connection, wanted.after, limit=wanted.limit)
        if batch is None:
            return None
        return Folded(batch.last, {name: self._projections[name].fold(batch) for name in wanted.names})

    def _taken_ahead(self, wanted: Wanted) -> Folded | None:
        if self._ahead is not None:
            (read, future), self._ahead = self._ahead, None
            if read == wanted:
                return future.result()
            future.exception()  # of no use, but the reader is free only when it is done
        return self._read(wanted)

    def _read(self, wanted: Wanted) -> Folded | None:
        with self._database.transaction(self._account_id) as connection:
            return self.fold(connection, wanted)
