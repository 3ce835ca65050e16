"""The last head that was signed of each log: a small file an account, beside the key and outside the database.

It is what keeps the service from signing two stories. A database can be restored from a backup, forked or rewritten;
the file still holds the newest checkpoint that this key signed, and nothing is signed that does not extend it. Where
several machines seal, each has its own files or, better, all share one folder.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import UUID

from ledger.errors import Conflict, InputError, IntegrityFailed, LedgerError, Unavailable
from ledger.integrity.checkpoint import Checkpoint, parse_checkpoint
from ledger.integrity.keys import LogKeys, make_log_keys, parse_keys, read_keys, write_durably, write_keys
from ledger.integrity.note import Note, open_note, parse_note
from ledger.settings import Settings

KEY_FILE = "log.key"
"""In the home of the embedded database."""
HEADS_FOLDER = "log-heads"


class SignedHeads:
    """The files of a folder; made when the first is written."""

    def __init__(self, folder: Path, keys: LogKeys) -> None:
        self.folder = folder
        self.keys = keys

    @contextmanager
    def locked(self, account_id: UUID) -> Iterator[None]:
        """Nobody else on this machine reads or writes the account's file meanwhile; the kernel lets go of a lock whose
        holder died."""
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(self.folder / f"{account_id}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Unavailable(f"The folder of signed heads {self.folder} cannot be used: {error}.") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def read(self, account_id: UUID, account: str) -> Checkpoint | None:
        """The last head signed, None where none was. Raises IntegrityFailed for a file that is not one of ours."""
        path = self._path(account_id)
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise Unavailable(f"The last signed head in {path} cannot be read: {error}.") from error
        try:
            note = parse_note(data)
            open_note(note, self.keys.trusted(account))
            return parse_checkpoint(note.text)
        except LedgerError as error:
            raise IntegrityFailed(
                f"The last signed head in {path} is damaged or of another key ({error.message}) Nothing is signed "
                "before somebody has looked: put the file and the key back from where they were kept."
            ) from error

    def write(self, account_id: UUID, note: Note) -> None:
        """Keeps a head; once this returned, no crash can take it back."""
        try:
            write_durably(self._path(account_id), note.format().encode())
        except OSError as error:
            raise Unavailable(f"The head cannot be kept in {self.folder}: {error}. It was not published.") from error

    def _path(self, account_id: UUID) -> Path:
        return self.folder / f"{account_id}.checkpoint"


def open_signing(settings: Settings, *, make: bool = False) -> SignedHeads | None:
    """The key that the settings name and what it signed last; None: there is no key, and nothing is sealed.

    With `make` the embedded database gets a key the first time. Raises InputError, Unavailable.
    """
    if settings.log_key is not None and settings.log_key_file is not None:
        raise InputError("The signing key is given twice. Set LEDGER_LOG_KEY or LEDGER_LOG_KEY_FILE, not both.")
    if settings.log_key is not None:
        return SignedHeads(settings.log_heads or settings.home / HEADS_FOLDER, parse_keys(settings.log_key))
    path = key_path(settings)
    if path is None:
        return None
    if settings.log_key_file is None and not path.exists():
        if not make:
            return None
        with suppress(Conflict):  # another process made it in this moment
            write_keys(path, make_log_keys())
    return SignedHeads(settings.log_heads or path.with_name(HEADS_FOLDER), read_keys(path))


def key_path(settings: Settings) -> Path | None:
    """The file that the signing key is in, or would be; None: it is in none."""
    if settings.log_key is not None:
        return None
    return settings.log_key_file or (settings.home / KEY_FILE if settings.database_url is None else None)
