"""The table projections: how far each generation is."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple
from uuid import UUID

from psycopg import Connection, sql

GENERATION_OF_NONE = 0
"""No rows have it: what a reader of a projection gets that never ran."""
FAILURE_CHARACTERS_MAX = 2_000

_GENERATIONS = """
    SELECT name, generation, state, position, failed_position, failure FROM projections
    WHERE account_id = %s ORDER BY name, generation
"""
_FIRST = """
    INSERT INTO projections (account_id, name, generation, state)
    SELECT %(account)s, name, 1, 'live' FROM unnest(%(names)s::text[]) AS name
    WHERE NOT EXISTS (SELECT FROM projections AS known WHERE known.account_id = %(account)s AND known.name = name.name)
    ON CONFLICT DO NOTHING
"""
_LOCK = """
    SELECT position FROM projections
    WHERE account_id = %s AND name = %s AND generation = %s AND state <> 'retired' FOR NO KEY UPDATE
"""
_ADVANCE = """
    UPDATE projections SET position = %s, failed_position = NULL, failure = NULL, changed_at = clock_timestamp()
    WHERE account_id = %s AND name = %s AND generation = %s
"""
_FAIL = """
    UPDATE projections SET failed_position = %s, failure = %s
    WHERE account_id = %s AND name = %s AND generation = %s
"""
_LIVE = "SELECT generation FROM projections WHERE account_id = %s AND name = %s AND state = 'live'"


class Generation(NamedTuple):
    """A generation of a projection, and how far it is."""

    name: str
    generation: int
    state: Literal["live", "filling", "retired"]
    position: int
    failed_position: int | None
    failure: str | None


def generations(connection: Connection[Any], account_id: UUID) -> list[Generation]:
    """All of the account's, by name and number."""
    return [Generation._make(row) for row in connection.execute(_GENERATIONS, (account_id,))]


def add_first_generations(connection: Connection[Any], account_id: UUID, names: list[str]) -> None:
    """Adds generation 1 for each of these that has none yet."""
    connection.execute(_FIRST, {"account": account_id, "names": names})


def lock_at(connection: Connection[Any], account_id: UUID, generation: Generation) -> bool:
    """Locks the generation to this transaction. False: it is no longer where it was, somebody else did the work."""
    row = connection.execute(_LOCK, (account_id, generation.name, generation.generation)).fetchone()
    return row is not None and row[0] == generation.position


def advance(connection: Connection[Any], account_id: UUID, generation: Generation, position: int) -> None:
    connection.execute(_ADVANCE, (position, account_id, generation.name, generation.generation))


def fail(connection: Connection[Any], account_id: UUID, generation: Generation, position: int, why: str) -> None:
    """Writes down why the generation stands still."""
    text = why[:FAILURE_CHARACTERS_MAX].replace("\0", "\ufffd")
    connection.execute(_FAIL, (position, text, account_id, generation.name, generation.generation))


def live_generation(connection: Connection[Any], account_id: UUID, name: str) -> int:
    """The generation whose rows readers read, in this transaction."""
    row = connection.execute(_LIVE, (account_id, name)).fetchone()
    return row[0] if row else GENERATION_OF_NONE


def commit_soon(connection: Connection[Any]) -> None:
    """Spares this transaction the wait for the disk. A crash may take its rows and its tracking position back together,
    and then they are made again from the events, which are on the disk."""
    connection.execute("SET LOCAL synchronous_commit = off")


def refresh_statistics(connection: Connection[Any]) -> None:
    """Lets the planner know of a bulk of new runs; does nothing after a few."""
    connection.execute("SELECT ledger_analyze_tracker()")


# Rebuilding.

_LOCK_LIVE = """
    SELECT name, generation, state, position, failed_position, failure FROM projections
    WHERE account_id = %s AND name = %s AND state = 'live' FOR NO KEY UPDATE
"""
_ADD = """
    INSERT INTO projections (account_id, name, generation, state)
    SELECT %(account)s, %(name)s, max(generation) + 1, 'filling'
    FROM projections WHERE account_id = %(account)s AND name = %(name)s RETURNING generation
"""
_SET_STATE = """
    UPDATE projections SET state = %s, changed_at = clock_timestamp()
    WHERE account_id = %s AND name = %s AND generation = %s
"""
_RETIRED = """
    SELECT name, generation FROM projections
    WHERE account_id = %s AND state = 'retired' AND changed_at <= clock_timestamp() - make_interval(secs => %s)
    ORDER BY name, generation
"""
_FORGET = "DELETE FROM projections WHERE account_id = %s AND name = %s AND generation = %s AND state = 'retired'"


def lock_live(connection: Connection[Any], account_id: UUID, name: str) -> Generation:
    """The live generation, which stands still until this transaction ends."""
    row = connection.execute(_LOCK_LIVE, (account_id, name)).fetchone()
    assert row is not None, "a projection that was added has a live generation"
    return Generation._make(row)


def add_generation(connection: Connection[Any], account_id: UUID, name: str) -> int:
    """Adds an empty generation to be filled. Returns its number, one that no rows have."""
    row = connection.execute(_ADD, {"account": account_id, "name": name}).fetchone()
    assert row is not None
    return int(row[0])


def set_state(
    connection: Connection[Any], account_id: UUID, generation: Generation, state: Literal["live", "filling", "retired"]
) -> None:
    connection.execute(_SET_STATE, (state, account_id, generation.name, generation.generation))


def retired_before(connection: Connection[Any], account_id: UUID, seconds: float) -> list[tuple[str, int]]:
    """(name, generation) of those retired longer ago than this."""
    return connection.execute(_RETIRED, (account_id, seconds)).fetchall()


def forget_generation(connection: Connection[Any], account_id: UUID, name: str, generation: int) -> None:
    """Takes a retired generation off the list, when its rows are gone."""
    connection.execute(_FORGET, (account_id, name, generation))


# Verifying.

_COLUMNS = """
    SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped
    AND attname NOT IN ('account_id', 'generation') ORDER BY attnum
"""
_DIFFERENCE = sql.SQL("""
    SELECT what, {position} FROM (
        (SELECT {columns}, 'too many' AS what FROM {table} WHERE account_id = %(account)s AND generation = %(found)s
         EXCEPT ALL
         SELECT {columns}, 'too many' FROM {table} WHERE account_id = %(account)s AND generation = %(expected)s)
        UNION ALL
        (SELECT {columns}, 'missing' FROM {table} WHERE account_id = %(account)s AND generation = %(expected)s
         EXCEPT ALL
         SELECT {columns}, 'missing' FROM {table} WHERE account_id = %(account)s AND generation = %(found)s)
    ) AS difference ORDER BY 2, 1 LIMIT 1
""")
_POSITIONS = ("position", "last_position")


def compare_rows(
    connection: Connection[Any], account_id: UUID, table: str, found: int, expected: int
) -> tuple[str, int | None] | None:
    """What differs first between two generations of a table, and the position that the row tells of; None: nothing."""
    columns = [name for (name,) in connection.execute(_COLUMNS, (table,))]
    position = next((name for name in _POSITIONS if name in columns), None)
    query = _DIFFERENCE.format(
        columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
        table=sql.Identifier(table),
        position=sql.SQL("NULL::bigint") if position is None else sql.Identifier(position),
    )
    parameters = {"account": account_id, "found": found, "expected": expected}
    row = connection.execute(query, parameters, prepare=False).fetchone()
    if row is None:
        return None
    return f"A row is {row[0]}, or other than the events give.", row[1]
