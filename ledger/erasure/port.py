"""What an erasure asks of the views that were made from the events."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, Protocol

Connection = Any
"""psycopg's, bound to the account."""


class Views(Protocol):
    """The read models of one account."""

    def catch_up(self) -> None:
        """Brings them to the head of the log."""

    def mentions(self, object_type: str, record_id: str, labels: Collection[str]) -> list[int]:
        """Positions of all changes of the record, those of previews too, and of failed changes that name no record but
        bear one of these labels."""

    def forget(self, connection: Connection, positions: Sequence[int], run_ids: Sequence[str]) -> None:
        """Makes the rows of these changes and runs again from what is left of their events, in this transaction.

        Raises Unavailable where a view has not passed all of them: it might go on with what it read before.
        """


class NoViews:
    """For a ledger whose views nobody reads: as in conformance tests."""

    def catch_up(self) -> None:
        pass

    def mentions(self, object_type: str, record_id: str, labels: Collection[str]) -> list[int]:  # noqa: ARG002
        return []

    def forget(self, connection: Connection, positions: Sequence[int], run_ids: Sequence[str]) -> None:
        pass
