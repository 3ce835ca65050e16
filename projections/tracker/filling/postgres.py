"""Filling the tracker's tables in PostgreSQL. Reading them: projections.tracker.postgres."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import Connection

from ledger.errors import IntegrityFailed
from projections.events.batch import Batch, indexable
from projections.tracker.projection import (
    RunDelta,
    TrackerRows,
    fold,
    fold_case,
    shown_app,
    shown_saved,
    shown_user,
)

_ADD = """
    INSERT INTO tracker (account_id, generation, run_id, preview, kind, trigger, app, module, object_type, template,
        user_shown, recipe, recipe_run_id, started_at, facts, position, updated, created, deleted, unmodified, other,
        failed, status, finished_at, error, undone_by, undo_under_way)
    SELECT %s, %s, run_id, preview, kind, trigger, app, module, object_type, template, user_shown, recipe,
        recipe_run_id, started_at, facts, position, updated, created, deleted, unmodified, other, failed,
        coalesce(status, 'running'), coalesce(finished_at, 'infinity'), error, coalesce(undone_by, ''),
        coalesce(undo_under_way, '')
    FROM unnest(%s::text[], %s::boolean[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[], %s::text[],
        %s::text[], %s::text[], %s::text[], %s::timestamptz[], %s::bytea[], %s::bigint[], %s::bigint[], %s::bigint[],
        %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::timestamptz[], %s::bytea[],
        %s::text[], %s::text[])
        AS added (run_id, preview, kind, trigger, app, module, object_type, template, user_shown, recipe,
        recipe_run_id, started_at, facts, position, updated, created, deleted, unmodified, other, failed, status,
        finished_at, error, undone_by, undo_under_way)
"""
_UPDATE = """
    UPDATE tracker AS known SET position = added.position, updated = known.updated + added.updated,
        created = known.created + added.created, deleted = known.deleted + added.deleted,
        unmodified = known.unmodified + added.unmodified, other = known.other + added.other,
        failed = known.failed + added.failed, status = coalesce(added.status, known.status),
        finished_at = coalesce(added.finished_at, known.finished_at), error = coalesce(added.error, known.error),
        undone_by = coalesce(added.undone_by, known.undone_by),
        undo_under_way = coalesce(added.undo_under_way, known.undo_under_way)
    FROM unnest(%s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
        %s::bigint[], %s::text[], %s::timestamptz[], %s::bytea[], %s::text[], %s::text[])
        AS added (run_id, position, updated, created, deleted, unmodified, other, failed, status, finished_at, error,
        undone_by, undo_under_way)
    WHERE known.account_id = %s AND known.generation = %s AND known.run_id = added.run_id
"""
_ADD_TYPES = """
    INSERT INTO tracker_types (account_id, generation, object_type, preview, started_at, run_id)
    SELECT %s, %s, added.* FROM unnest(%s::text[], %s::boolean[], %s::timestamptz[], %s::text[]) AS added
    ON CONFLICT (account_id, generation, object_type, preview, started_at, run_id) DO NOTHING
"""
_ADD_VALUES = """
    INSERT INTO tracker_values (account_id, generation, facet, value, folded)
    SELECT %s, %s, added.* FROM unnest(%s::text[], %s::text[], %s::text[]) AS added
    ON CONFLICT (account_id, generation, facet, value) DO NOTHING
"""
_REMOVE = """
    DELETE FROM tracker WHERE ctid = ANY (ARRAY(
        SELECT ctid FROM tracker WHERE account_id = %(account)s AND generation = %(generation)s LIMIT %(limit)s))
    AND account_id = %(account)s AND generation = %(generation)s
"""
_REMOVE_TYPES = "DELETE FROM tracker_types WHERE account_id = %(account)s AND generation = %(generation)s"
_REMOVE_VALUES = "DELETE FROM tracker_values WHERE account_id = %(account)s AND generation = %(generation)s"


class TrackerProjection:
    """Fills tracker, tracker_types and tracker_values."""

    name = "tracker"

    def fold(self, batch: Batch) -> TrackerRows:
        return fold(batch)

    def write(self, connection: Connection[Any], account_id: UUID, generation: int, rows: TrackerRows) -> None:
        added = [_added(run_id, delta) for run_id, delta in rows.runs.items() if delta.start]
        known = [(run_id, *_moved(delta)) for run_id, delta in rows.runs.items() if not delta.start]
        if added:
            connection.execute(_ADD, (account_id, generation, *_columns(added)))
        if known:
            updated = connection.execute(_UPDATE, (*_columns(known), account_id, generation)).rowcount
            if updated != len(known):
                raise IntegrityFailed(f"{len(known)} runs went on, but the tracker has only {updated} of them.")
        if rows.types:
            connection.execute(_ADD_TYPES, (account_id, generation, *_columns(sorted(rows.types))))
        if rows.values:
            values = [(facet, value, fold_case(value)) for facet, value in sorted(rows.values)]
            connection.execute(_ADD_VALUES, (account_id, generation, *_columns(values)))

    def remove(self, connection: Connection[Any], account_id: UUID, generation: int, limit: int) -> int:
        parameters = {"account": account_id, "generation": generation, "limit": limit}
        removed = connection.execute(_REMOVE, parameters, prepare=False).rowcount
        if removed < limit:
            connection.execute(_REMOVE_TYPES, parameters, prepare=False)
            connection.execute(_REMOVE_VALUES, parameters, prepare=False)
        return removed


def _added(run_id: str, delta: RunDelta) -> tuple[Any, ...]:
    assert delta.start is not None
    what = delta.start.operation
    return (
        run_id,
        what.mode == "preview",
        what.kind,
        what.trigger,
        shown_app(what),
        indexable(what.module),
        indexable(what.object_type),
        shown_saved(what.template),
        shown_user(what),
        shown_saved(what.recipe),
        indexable(what.recipe_run_id),
        delta.start.started_at,
        delta.facts,
        *_moved(delta),
    )


def _moved(delta: RunDelta) -> tuple[Any, ...]:
    counts = delta.tally
    return (
        delta.position,
        counts.updated,
        counts.created,
        counts.deleted,
        counts.unmodified,
        counts.other,
        counts.failed,
        delta.status,
        delta.finished_at,
        delta.error,
        delta.undone_by,
        delta.undo_under_way,
    )


def _columns(rows: list[Any]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
