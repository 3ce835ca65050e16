"""run_changes and change_blocks in PostgreSQL."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from psycopg import Connection, sql

from projections.events.batch import Batch
from projections.run_changes.projection import COLUMNS, ChangeRows, copy_data, fold

_COPY = sql.SQL("COPY run_changes ({}) FROM STDIN (FORMAT BINARY)").format(sql.SQL(COLUMNS))
_ADD_BLOCKS = """
    INSERT INTO change_blocks (account_id, generation, facet, value, block)
    SELECT %s, %s, facet, value, block FROM unnest(%s::text[], %s::text[], %s::bigint[]) AS added (facet, value, block)
    ON CONFLICT (account_id, generation, facet, value, block) DO NOTHING
"""
_REMOVE = """
    DELETE FROM account_run_changes WHERE generation = %(generation)s AND position IN
        (SELECT position FROM account_run_changes WHERE generation = %(generation)s ORDER BY position LIMIT %(limit)s)
"""
_REMOVE_BLOCKS = """
    DELETE FROM change_blocks WHERE account_id = %(account)s AND generation = %(generation)s
"""


class RunChangesProjection:
    """Fills run_changes by COPY, change_blocks by INSERT."""

    name = "run_changes"

    def fold(self, batch: Batch) -> ChangeRows:
        return fold(batch)

    def write(self, connection: Connection[Any], account_id: UUID, generation: int, rows: ChangeRows) -> None:
        if not rows.changes:
            return
        with connection.cursor().copy(_COPY) as copy:
            for data in copy_data(account_id, generation, rows):
                copy.write(data)
        facets, values, blocks = zip(*sorted(rows.blocks), strict=True)
        connection.execute(_ADD_BLOCKS, (account_id, generation, list(facets), list(values), list(blocks)))

    def remove(self, connection: Connection[Any], account_id: UUID, generation: int, limit: int) -> int:
        parameters = {"account": account_id, "generation": generation, "limit": limit}
        removed = connection.execute(_REMOVE, parameters, prepare=False).rowcount
        if removed < limit:
            connection.execute(_REMOVE_BLOCKS, parameters, prepare=False)
        return removed
