"""Records at any moment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from ledger.store.database import Database
from projections.records.moment import Moment
from projections.records.view import Blame, HistoryPage, RecordState

HISTORY_LIMIT_MAX = 1_000


class Records:
    """The records of one account, from their own streams."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database = database
        self._account_id = account_id

    def state(self, object_type: str, record_id: str, moment: Moment = Moment.now()) -> RecordState:  # noqa: B008
        """The record at a moment; an absent record is a value too. Raises NotFound for an unknown run."""
        raise NotImplementedError  # filled in by the commit after this one

    def history(self, object_type: str, record_id: str, *, after: int | None = None, limit: int = 100) -> HistoryPage:
        """The record's changes, newest first. `after` is the `next_after` of the page before. Raises InputError."""
        raise NotImplementedError  # filled in by the commit after this one

    def blame(self, object_type: str, record_id: str, moment: Moment = Moment.now()) -> Blame:  # noqa: B008
        """Which change gave each field its value. Raises NotFound for an unknown run."""
        raise NotImplementedError  # filled in by the commit after this one

    def states(self, object_type: str, moment: Moment = Moment.now()) -> Iterator[dict[str, Any]]:  # noqa: B008
        """All records of a type at a moment, by record id: {"object_type", "record_id", "fields"}; `fields` holds
        msgspec.Raw values. Streamed with bounded memory; one consistent moment however long it takes.

        Raises NotFound (unknown run) and NotCaughtUp before the first record.
        """
        raise NotImplementedError  # filled in by the commit after this one
