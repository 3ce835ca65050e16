"""activity_daily in PostgreSQL: filling and reading it."""

from __future__ import annotations

from datetime import date
from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.domain.tally import Tally
from ledger.store.database import Database
from projections.activity.projection import ActivityRows, fold
from projections.activity.view import ActivityDay
from projections.events.batch import Batch, indexable
from projections.tracking.postgres import live_generation

_ADD = """
    INSERT INTO activity_daily AS known (account_id, generation, day, user_shown, template, preview,
        runs, failed_runs, updated, created, deleted, unmodified, other, failed)
    SELECT %s, %s, added.* FROM unnest(%s::date[], %s::text[], %s::text[], %s::boolean[], %s::bigint[], %s::bigint[],
        %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) AS added
    ON CONFLICT (account_id, generation, day, preview, user_shown, template) DO UPDATE SET
        runs = known.runs + excluded.runs, failed_runs = known.failed_runs + excluded.failed_runs,
        updated = known.updated + excluded.updated, created = known.created + excluded.created,
        deleted = known.deleted + excluded.deleted, unmodified = known.unmodified + excluded.unmodified,
        other = known.other + excluded.other, failed = known.failed + excluded.failed
"""
_REMOVE = """
    DELETE FROM activity_daily WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM activity_daily WHERE account_id = %(account)s AND generation = %(generation)s LIMIT %(limit)s))
    AND account_id = %(account)s AND generation = %(generation)s
"""
_DAYS = """
    SELECT day, nullif(user_shown, ''), nullif(template, ''), sum(runs)::bigint, sum(failed_runs)::bigint,
        sum(updated)::bigint, sum(created)::bigint, sum(deleted)::bigint, sum(unmodified)::bigint,
        sum(other)::bigint, sum(failed)::bigint
    FROM activity_daily
    WHERE account_id = %(account)s AND generation = %(generation)s AND day >= %(first)s AND day <= %(last)s
        AND (NOT preview OR %(with_previews)s)
        AND (%(user)s::text IS NULL OR user_shown = %(user)s)
        AND (%(template)s::text IS NULL OR template = %(template)s)
    GROUP BY day, user_shown, template ORDER BY day, user_shown, template
"""


class ActivityProjection:
    """Fills activity_daily."""

    name = "activity_daily"

    def fold(self, batch: Batch) -> ActivityRows:
        return fold(batch)

    def write(self, connection: Connection[Any], account_id: UUID, generation: int, rows: ActivityRows) -> None:
        if rows:
            columns = zip(*((*key, *counts) for key, counts in sorted(rows.items())), strict=True)
            connection.execute(_ADD, (account_id, generation, *map(list, columns)))

    def remove(self, connection: Connection[Any], account_id: UUID, generation: int, limit: int) -> int:
        parameters = {"account": account_id, "generation": generation, "limit": limit}
        return connection.execute(_REMOVE, parameters, prepare=False).rowcount


class Activity:
    """The daily activity of one account."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database = database
        self._account_id = account_id

    def days(
        self,
        first: date,
        last: date,
        *,
        user: str | None = None,
        template: str | None = None,
        with_previews: bool = False,
    ) -> list[ActivityDay]:
        """The days from first to last, both included (UTC), a row for each user and template, in order of the day."""
        with self._database.transaction(self._account_id) as connection:
            parameters = {
                "account": self._account_id,
                "generation": live_generation(connection, self._account_id, ActivityProjection.name),
                "first": first,
                "last": last,
                "with_previews": with_previews,
                "user": user and indexable(user),
                "template": template and indexable(template),
            }
            rows = connection.execute(_DAYS, parameters, prepare=False).fetchall()
        return [
            ActivityDay(day, shown, saved, runs, failed_runs, Tally(*counts))
            for day, shown, saved, runs, failed_runs, *counts in rows
        ]
