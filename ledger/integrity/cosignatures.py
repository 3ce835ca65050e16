"""The witnesses' cosignatures of an account's checkpoints, and how each witness fares, as the database keeps them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple
from uuid import UUID

from psycopg import Connection

from ledger.integrity.note import Key, format_vkey, parse_vkey
from ledger.integrity.policy import Policy
from ledger.integrity.tree import StoredCheckpoint
from ledger.integrity.witness import Cosignature
from ledger.store.database import Database

COSIGNED_READ_MAX = 1_000
"""How many checkpoints are looked at for the newest that meets a policy."""

_ADD = """
    INSERT INTO log_cosignatures (account_id, size, witness, line, cosigned_at) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING
"""
_LINES = "SELECT line FROM log_cosignatures WHERE account_id = %s AND size = %s ORDER BY witness"
_NEWEST = """
    SELECT c.size, c.root, c.note, array_agg(s.witness ORDER BY s.witness), array_agg(s.line ORDER BY s.witness)
    FROM log_checkpoints c JOIN log_cosignatures s ON s.account_id = c.account_id AND s.size = c.size
    WHERE c.account_id = %s GROUP BY c.account_id, c.size ORDER BY c.size DESC LIMIT %s
"""
_STATES = "SELECT witness, size, failure, refused FROM log_witnesses WHERE account_id = %s"
_WRITE_STATE = """
    INSERT INTO log_witnesses AS known (account_id, witness, size, failure, refused) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (account_id, witness) DO UPDATE SET size = greatest(known.size, excluded.size),
        asked_at = clock_timestamp(), failure = excluded.failure, refused = excluded.refused
"""
_FORGET = "DELETE FROM log_witnesses WHERE account_id = %s AND witness <> ALL(%s)"
_ALL_STATES = "SELECT account_id, witness, size, failure, refused FROM ledger_witnesses()"


class WitnessState(NamedTuple):
    """How a witness fared when it was asked last."""

    key: Key
    size: int
    """Of the largest checkpoint it cosigned."""
    failure: str | None = None
    refused: bool = False
    """It holds a head that the log does not extend."""


def add_cosignature(
    connection: Connection[Any], account_id: UUID, size: int, key: Key, cosignature: Cosignature
) -> None:
    """Keeps the first one of each witness."""
    at = datetime.fromtimestamp(cosignature.at, UTC)
    connection.execute(_ADD, (account_id, size, format_vkey(key), cosignature.line, at))


def with_cosignatures(connection: Connection[Any], account_id: UUID, checkpoint: StoredCheckpoint) -> StoredCheckpoint:
    """The checkpoint with the cosignatures that there are below its signature."""
    lines = connection.execute(_LINES, (account_id, checkpoint.size)).fetchall()
    return checkpoint._replace(note=checkpoint.note + "".join(line for (line,) in lines))


def newest_that_meets(database: Database, account_id: UUID, policy: Policy) -> StoredCheckpoint | None:
    """The newest of the account's checkpoints whose cosignatures meet the policy, with them; None: there is none."""
    with database.transaction(account_id) as connection:
        rows = connection.execute(_NEWEST, (account_id, COSIGNED_READ_MAX)).fetchall()
    for size, root, note, witnesses, lines in rows:
        if policy.is_met(set(map(parse_vkey, witnesses))):
            return StoredCheckpoint(size, bytes(root), note + "".join(lines))
    return None


def read_states(connection: Connection[Any], account_id: UUID) -> dict[Key, WitnessState]:
    rows = connection.execute(_STATES, (account_id,)).fetchall()
    states = [WitnessState(parse_vkey(witness), *rest) for witness, *rest in rows]
    return {state.key: state for state in states}


def write_state(connection: Connection[Any], account_id: UUID, state: WitnessState) -> None:
    values = (account_id, format_vkey(state.key), state.size, state.failure, state.refused)
    connection.execute(_WRITE_STATE, values)


def forget_others(connection: Connection[Any], account_id: UUID, keys: Collection[Key]) -> None:
    """Leaves out the witnesses that are asked no longer."""
    connection.execute(_FORGET, (account_id, [format_vkey(key) for key in keys]))


def read_all_states(connection: Connection[Any]) -> Sequence[tuple[UUID, WitnessState]]:
    """Of all accounts."""
    rows = connection.execute(_ALL_STATES).fetchall()
    return [(account_id, WitnessState(parse_vkey(witness), *rest)) for account_id, witness, *rest in rows]
