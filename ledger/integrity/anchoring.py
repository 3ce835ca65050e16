"""Keeping checkpoints outside the database as files: on another machine, on a medium that is written once.

Nothing waits for it. A checkpoint that somebody holds is what a changed history cannot agree with.
"""

from __future__ import annotations

import logging
import time
from pathlib import Path
from threading import Event
from uuid import UUID

from ledger.errors import NotFound, Unavailable
from ledger.integrity.keys import write_durably
from ledger.integrity.signed_log import SignedLog
from ledger.store.database import Database

log = logging.getLogger(__name__)

ANCHOR_EVERY_S = 60.0
"""How long a log that goes on waits after its checkpoint was written, or could not be."""
POLL_S = 1.0
_HEADS = "SELECT account_id, name, head FROM ledger_heads() ORDER BY name"


class Anchoring:
    """Writes FOLDER/ACCOUNT/SIZE.checkpoint, never over one that is there. Any number may run."""

    def __init__(self, database: Database, folder: Path) -> None:
        self._database = database
        self._folder = folder
        self._anchored: dict[UUID, int] = {}
        self._not_before: dict[UUID, float] = {}

    def follow(self, stop_event: Event) -> None:
        """Writes until `stop_event` is set, and once more then, whosever turn it is. Outlives the database and a folder
        that cannot be written."""
        while not stop_event.is_set():
            self._try()
            stop_event.wait(POLL_S)
        self._not_before.clear()
        self._try()

    def _try(self) -> None:
        try:
            self.look_once()
        except Unavailable as error:
            log.warning("checkpoints are not anchored: %s", error)

    def look_once(self) -> None:
        """The newest checkpoint of each log that grew, with the cosignatures that it has. Raises Unavailable."""
        with self._database.connection() as connection:
            heads = connection.execute(_HEADS).fetchall()
        for account_id, account, head in heads:
            is_due = time.monotonic() >= self._not_before.get(account_id, 0.0)
            if is_due and head > self._anchored.get(account_id, 0):
                self._anchor(account_id, account)

    def _anchor(self, account_id: UUID, account: str) -> None:
        try:
            newest = SignedLog(self._database, account_id).checkpoint()
        except NotFound:
            return  # not sealed yet
        self._not_before[account_id] = time.monotonic() + ANCHOR_EVERY_S
        folder = self._folder / account
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_durably(folder / f"{newest.size:012}.checkpoint", newest.note.encode(), replace=False)
        except FileExistsError:
            pass  # by another process, or before a restart; one that says otherwise is for its reader to find
        except OSError as error:
            raise Unavailable(f"The folder {folder} cannot be written: {error}.") from error
        self._anchored[account_id] = newest.size
