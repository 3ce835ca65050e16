"""What the export reads: events by position, runs from the tracker, erasures since the last export."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from ledger.store.database import Database
from ledger.store.rows import EVENT_COLUMNS, EventRow
from projections.tracking.postgres import generations

FETCH_ROWS = 5_000
RUN_COLUMNS = (
    "run_id", "kind", "preview", "trigger", "status", "app", "module", "object_type", "template", "user_shown",
    "recipe", "recipe_run_id", "started_at", "finished_at", "updated", "created", "deleted", "unmodified", "other",
    "failed", "position",
)  # fmt: skip
_EVENTS = f"""
    SELECT {EVENT_COLUMNS}, salt IS NULL FROM account_events WHERE position > %s AND position <= %s ORDER BY position
"""  # noqa: S608  (constants only)
_RUNS = f"""
    SELECT {", ".join(RUN_COLUMNS).replace("finished_at", "nullif(finished_at, 'infinity')")} FROM tracker
    WHERE account_id = %s AND generation = %s ORDER BY started_at, run_id
"""  # noqa: S608  (constants only)
_ERASED_SINCE = """
    SELECT DISTINCT (position - 1) / %s FROM erased_events
    WHERE account_id = ledger_current_account() AND erasure_position > %s ORDER BY 1
"""
_ERASED_TO = "SELECT coalesce(max(erasure_position), 0) FROM erased_events WHERE account_id = ledger_current_account()"


class ExportReader:
    """Reads one account."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database, self._account_id = database, account_id

    def events(self, after: int, last: int) -> Iterator[tuple[EventRow, bool]]:
        """The events at these positions, in order, and whether what was recorded there was erased."""
        for start in range(after, last, FETCH_ROWS):
            bounds = (start, min(start + FETCH_ROWS, last))
            with self._database.transaction(self._account_id) as connection:
                rows = connection.cursor(binary=True).execute(_EVENTS, bounds).fetchall()
            for row in rows:
                yield EventRow._make(row[:-1]), row[-1]

    def runs(self) -> tuple[int, list[tuple[Any, ...]]]:
        """All runs as the tracker has them, in RUN_COLUMNS, and the position up to which it tells."""
        with self._database.transaction(self._account_id) as connection:
            live = next(
                each for each in generations(connection, self._account_id)
                if each.name == "tracker" and each.state == "live"
            )  # fmt: skip
            rows = connection.cursor(binary=True).execute(_RUNS, (self._account_id, live.generation)).fetchall()
        return live.position, rows

    def erased_segments(self, size: int, since: int) -> tuple[list[int], int]:
        """Numbers of the segments of `size` positions in which something was erased by an event after `since`, and the
        newest erasing event."""
        with self._database.transaction(self._account_id) as connection:
            newest = connection.execute(_ERASED_TO).fetchone()
            rows = connection.execute(_ERASED_SINCE, (size, since)).fetchall()
        return [row[0] for row in rows], newest[0] if newest else 0
