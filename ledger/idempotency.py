"""Idempotency keys: a request that is sent again gets the answer that the first one got.

After the IETF draft "The Idempotency-Key HTTP Header Field" (draft-ietf-httpapi-idempotency-key-header).
"""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID

from ledger.errors import Conflict, InputError, KeyReused, Problem
from ledger.store.database import Database

KEY_CHARACTERS_MAX = 255
ABANDONED_AFTER_S = 60
"""A request that has not answered for so long died with its process; whoever repeats it carries it out again."""
KEPT_DAYS = 7
UNKNOWN = b""
"""In place of a request's hash that an erasure removed: the key's answer is then repeated whatever is sent with it."""


class Answer(NamedTuple):
    """What the first request was answered."""

    status: int
    body: bytes


class IdempotencyKeys:
    """The keys of one account."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database = database
        self._account_id = account_id

    def begin(self, key: str, request_hash: bytes) -> Answer | None:
        """The answer to repeat; None: the key is ours now, and `keep` or `release` must follow.

        Raises KeyReused for another request with the key, Conflict while the first is being carried out.
        """
        values = self._values(key) | {"request_hash": request_hash}
        with self._database.transaction(self._account_id) as connection:
            connection.execute(_FORGET, values)
            if connection.execute(_TAKE, values).rowcount:
                return None
            row = connection.execute(_FIND, values).fetchone()
        if row is None or (row[1] is None and bytes(row[0]) in (request_hash, UNKNOWN)):
            raise Conflict("The first request with this idempotency key is still being carried out. Try again shortly.")
        if bytes(row[0]) not in (request_hash, UNKNOWN):
            raise KeyReused(
                f"The idempotency key {key!r} was used for another request. Use a new key for each request."
            )
        return Answer(row[1], bytes(row[2]))

    def keep(self, key: str, answer: Answer) -> None:
        """Keeps the answer for those who repeat the request."""
        values = self._values(key) | answer._asdict()
        with self._database.transaction(self._account_id) as connection:
            connection.execute(_KEEP, values)

    def release(self, key: str) -> None:
        """Gives the key back: the request failed, and may be sent again with it."""
        with self._database.transaction(self._account_id) as connection:
            connection.execute(_RELEASE, self._values(key))

    def _values(self, key: str) -> dict[str, object]:
        if not 1 <= len(key) <= KEY_CHARACTERS_MAX or not key.isascii() or not key.isprintable():
            expected = f"1 to {KEY_CHARACTERS_MAX} printable ASCII characters"
            problem = Problem(
                "The key is not valid.", parameter="Idempotency-Key", found=repr(key[:80]), expected=expected
            )
            raise InputError(f"The idempotency key is not valid. Expected {expected}.", problems=(problem,))
        return {"account_id": self._account_id, "key": key}


_FORGET = f"""
    DELETE FROM idempotency_keys WHERE account_id = %(account_id)s AND key = %(key)s
    AND (created_at < now() - interval '{KEPT_DAYS} days'
         OR (answer_status IS NULL AND created_at < now() - interval '{ABANDONED_AFTER_S} seconds'))
"""  # noqa: S608 - our own constants
_TAKE = """
    INSERT INTO idempotency_keys (account_id, key, request_hash)
    VALUES (%(account_id)s, %(key)s, %(request_hash)s) ON CONFLICT DO NOTHING
"""
_FIND = """
    SELECT request_hash, answer_status, answer FROM idempotency_keys
    WHERE account_id = %(account_id)s AND key = %(key)s
"""
_KEEP = """
    UPDATE idempotency_keys SET answer_status = %(status)s, answer = %(body)s
    WHERE account_id = %(account_id)s AND key = %(key)s
"""
_RELEASE = """
    DELETE FROM idempotency_keys
    WHERE account_id = %(account_id)s AND key = %(key)s AND answer_status IS NULL
"""
