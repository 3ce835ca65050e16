"""Undos that somebody prepares: their request, kept until it is confirmed or forgotten."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from ledger.errors import NotFound
from ledger.store.database import Database
from ledger.undo.request import UndoRequest
from ledger.undo.stored_request import decode_request, encode_request

KEPT_DAYS = 7

_KEEP = """
    INSERT INTO undo_drafts (account_id, draft_id, request, told, made_by) VALUES (%s, %s, %s, %s, %s)
    ON CONFLICT (account_id, draft_id) DO UPDATE SET made_at = now()
"""
_FORGET = "DELETE FROM undo_drafts WHERE account_id = %s AND made_at < now() - make_interval(days => %s)"
_FIND = "SELECT request, told FROM undo_drafts WHERE account_id = %s AND draft_id = %s"


class Draft(NamedTuple):
    """A prepared undo. `told`: JSON of what is to be known of it (an edited report's differing cells)."""

    request: UndoRequest
    told: bytes


class Drafts(NamedTuple):
    """The prepared undos of one account."""

    database: Database
    account_id: UUID

    def keep(self, draft: Draft, *, made_by: str) -> str:
        """Its id. Forgets those that are older than KEPT_DAYS."""
        text = encode_request(draft.request, [], [])
        draft_id = sha256(text + b"\n" + draft.told).hexdigest()[:32]
        with self.database.transaction(self.account_id) as connection:
            connection.execute(_FORGET, (self.account_id, KEPT_DAYS))
            connection.execute(_KEEP, (self.account_id, draft_id, text, draft.told, made_by))
        return draft_id

    def find(self, draft_id: str) -> Draft:
        """Raises NotFound."""
        row = None
        if "\0" not in draft_id:
            with self.database.transaction(self.account_id) as connection:
                row = connection.execute(_FIND, (self.account_id, draft_id)).fetchone()
        if row is None:
            raise NotFound("This edited report is kept no more. Send it again.")
        return Draft(decode_request(bytes(row[0]))[0], bytes(row[1]))
