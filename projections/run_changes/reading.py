"""The changes of runs, page by page."""

from __future__ import annotations

from uuid import UUID

from ledger.store.database import Database
from projections.run_changes.view import ChangePage, ChangeQuery, ChangeSearch


class RunChanges:
    """The changes of one account's runs."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database = database
        self._account_id = account_id

    def page(self, query: ChangeQuery) -> ChangePage:
        """A page of one run's changes (a recipe's: of all its children), in the log's order.

        Raises NotFound for an unknown run, InputError for a bad limit or filter.
        """
        raise NotImplementedError  # filled in by the commit after this one

    def search(self, search: ChangeSearch) -> ChangePage:
        """A page of the changes across runs that match, newest first. Raises InputError."""
        raise NotImplementedError  # filled in by the commit after this one
