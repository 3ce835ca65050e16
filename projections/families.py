"""Recipes and their children, in the order in which they were started."""

from __future__ import annotations

from uuid import UUID

from ledger.ids import run_stream_id
from ledger.store.database import Database
from ledger.store.recorder import Recorder
from projections.progress import wait_for
from projections.tracking.postgres import live_generation

_CHILDREN = """
    SELECT run_id FROM tracker WHERE account_id = %s AND generation = %s AND recipe_run_id = %s
"""
_STARTS = """
    SELECT run_id FROM account_events WHERE originator_id = ANY(%s) AND originator_version = 1 ORDER BY position
"""


class Families:
    """Which runs belong to a recipe."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database = database
        self._account_id = account_id

    def children(self, recipe_run_id: str) -> list[str]:
        """The Run IDs of all runs below a recipe, in the order of their start; children of recipes below it too.

        Complete up to the head at the moment of the call. Raises NotCaughtUp.
        """
        found: set[str] = {recipe_run_id}
        wanted = [recipe_run_id]
        head = Recorder(self._database, self._account_id).max_notification_id() or 0
        wait_for(self._database, self._account_id, head, names=["tracker"])
        while wanted:
            below = {child for above in wanted for child in self._direct(above)}
            wanted = sorted(below - found)
            found |= below
        return self._in_order(found - {recipe_run_id})

    def _direct(self, recipe_run_id: str) -> list[str]:
        with self._database.transaction(self._account_id) as connection:
            generation = live_generation(connection, self._account_id, "tracker")
            rows = connection.execute(_CHILDREN, (self._account_id, generation, recipe_run_id)).fetchall()
        return [row[0] for row in rows]

    def _in_order(self, run_ids: set[str]) -> list[str]:
        streams = [run_stream_id(self._account_id, run_id) for run_id in run_ids]
        with self._database.transaction(self._account_id) as connection:
            return [row[0] for row in connection.execute(_STARTS, (streams,))]
