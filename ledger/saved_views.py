"""Saved views: names that the people of an account gave to filters of the Activity Tracker."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ledger.errors import Conflict, InputError, Problem
from ledger.store.database import Database

NAME_CHARACTERS_MAX = 80
QUERY_CHARACTERS_MAX = 4_096
VIEWS_MAX = 200

_LIST = "SELECT name, query, made_by, made_at FROM saved_views WHERE account_id = %s ORDER BY lower(name), name"
_COUNT = "SELECT count(*) FROM saved_views WHERE account_id = %s AND name <> %s"
_SAVE = """
    INSERT INTO saved_views (account_id, name, query, made_by) VALUES (%s, %s, %s, %s)
    ON CONFLICT (account_id, name) DO UPDATE SET query = excluded.query, made_by = excluded.made_by, made_at = now()
"""
_REMOVE = "DELETE FROM saved_views WHERE account_id = %s AND name = %s"


class SavedView(NamedTuple):
    """`query` is the part of the tracker's address after the question mark."""

    name: str
    query: str
    made_by: str
    made_at: datetime


class SavedViews:
    """The saved views of one account."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database = database
        self._account_id = account_id

    def list(self) -> list[SavedView]:
        """By name."""
        with self._database.transaction(self._account_id) as connection:
            return [SavedView._make(row) for row in connection.execute(_LIST, (self._account_id,))]

    def save(self, name: str, query: str, *, made_by: str) -> None:
        """Keeps the view; one of the same name is replaced. Raises InputError, Conflict (too many)."""
        name = " ".join(name.split())
        _check("name", name, 1, NAME_CHARACTERS_MAX)
        _check("query", query, 0, QUERY_CHARACTERS_MAX)
        with self._database.transaction(self._account_id) as connection:
            found = connection.execute(_COUNT, (self._account_id, name)).fetchone()
            if found is not None and found[0] >= VIEWS_MAX:
                raise Conflict(f"There are {VIEWS_MAX} saved views already. Remove one that nobody needs.")
            connection.execute(_SAVE, (self._account_id, name, query, made_by))

    def remove(self, name: str) -> None:
        """Harmless where there is none."""
        with self._database.transaction(self._account_id) as connection:
            connection.execute(_REMOVE, (self._account_id, name.replace("\0", "")))


def _check(parameter: str, text: str, characters_min: int, characters_max: int) -> None:
    if not characters_min <= len(text) <= characters_max or not text.isprintable():
        expected = f"{characters_min} to {characters_max:,} printable characters"
        problem = Problem("Not valid.", parameter=parameter, found=repr(text[:40]), expected=expected)
        raise InputError(f"The {parameter} of a saved view has {expected}.", problems=(problem,))
