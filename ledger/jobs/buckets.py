"""Token buckets: rate limits that hold across processes, a row each."""

from __future__ import annotations

from typing import Any, NamedTuple
from uuid import UUID

Connection = Any
"""psycopg's, in a transaction bound to the account."""


class Bucket(NamedTuple):
    """Holds `capacity` tokens and gains `per_s` a second."""

    name: str
    capacity: float
    per_s: float


def take_token(connection: Connection, account_id: UUID, bucket: Bucket) -> float:
    """Takes a token: 0.0; or, where there is none, how many seconds to wait for it."""
    values = bucket._asdict() | {"account_id": account_id}
    if connection.execute(_TAKE, values).rowcount:
        return 0.0
    return seconds_to_wait(connection, account_id, bucket)


def seconds_to_wait(connection: Connection, account_id: UUID, bucket: Bucket) -> float:
    """How long until there is a token; takes none."""
    row = connection.execute(_LEVEL, bucket._asdict() | {"account_id": account_id}).fetchone()
    level = bucket.capacity if row is None else row[0]
    return max(0.0, (1 - level) / bucket.per_s)


_NOW = """
    least(%(capacity)s::float8,
          known.tokens + extract(epoch FROM clock_timestamp() - known.filled_at)::float8 * %(per_s)s::float8)
"""
_TAKE = f"""
    INSERT INTO token_buckets AS known (account_id, name, tokens, filled_at)
    VALUES (%(account_id)s, %(name)s, %(capacity)s - 1, clock_timestamp())
    ON CONFLICT (account_id, name) DO UPDATE SET tokens = {_NOW} - 1, filled_at = clock_timestamp()
    WHERE {_NOW} >= 1
"""  # noqa: S608 - our own constant
_LEVEL = f"""
    SELECT {_NOW} FROM token_buckets AS known WHERE account_id = %(account_id)s AND name = %(name)s
"""  # noqa: S608 - our own constant
