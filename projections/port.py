"""What the runner expects of a projection."""

from __future__ import annotations

from typing import Any, Protocol, TypeVar
from uuid import UUID

from projections.events.batch import Batch

Connection = Any
"""psycopg's, bound to the account; this file does without the driver."""
Rows = TypeVar("Rows")


class Projection(Protocol[Rows]):
    """Turns events into rows of its tables, each row in a generation of an account.

    The tracking position is the runner's: `write` is called once for each event, in order, in one transaction with it.
    """

    name: str

    def fold(self, batch: Batch) -> Rows:
        """What the batch adds to the rows. Pure. Raises for an event that it cannot process."""

    def write(self, connection: Connection, account_id: UUID, generation: int, rows: Rows) -> None:
        """Adds it."""

    def remove(self, connection: Connection, account_id: UUID, generation: int, limit: int) -> int:
        """Removes up to `limit` rows of a generation. Returns how many it removed."""
