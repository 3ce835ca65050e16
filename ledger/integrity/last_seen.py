"""What a verifier saw last: the newest checkpoint that it found in order, kept on its own side.

The next verification starts from it: a log that does not extend it went back, or tells another story than before.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path

from ledger.errors import InputError, LedgerError
from ledger.integrity.checkpoint import Checkpoint, parse_checkpoint
from ledger.integrity.keys import write_durably
from ledger.integrity.note import Key, open_note, parse_note


def default_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """The user's state folder (XDG Base Directory Specification)."""
    chosen = Path(environment.get("XDG_STATE_HOME", ""))
    base = chosen if chosen.is_absolute() else Path(environment.get("HOME") or Path.home()) / ".local" / "state"
    return base / "ledger" / "verified"


class LastSeen:
    """The file of one log in a folder."""

    def __init__(self, folder: Path, origin: str) -> None:
        self.path = folder / f"{hashlib.sha256(origin.encode()).hexdigest()[:32]}.checkpoint"
        self._origin = origin

    def read(self, trusted: list[Key]) -> Checkpoint | None:
        """Raises InputError for a file that holds something else."""
        try:
            note = parse_note(self.path.read_bytes())
            open_note(note, trusted)
        except FileNotFoundError:
            return None
        except (OSError, LedgerError) as error:
            raise InputError(f"The last checkpoint seen, in {self.path}, cannot be used: {error}") from error
        return parse_checkpoint(note.text)

    def write(self, note: str) -> None:
        """Raises InputError where the folder cannot be written."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_durably(self.path, note.encode())
        except OSError as error:
            raise InputError(f"The checkpoint seen cannot be kept in {self.path}: {error}.") from error
