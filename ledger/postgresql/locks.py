"""Locks on files (flock): the kernel drops them when their holder dies, however it dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path


class FileLock:
    """An open lock file. Not held until one of the `try_` methods says True; closing drops it.

    Processes that inherit the descriptor hold the lock too, until the last of them is gone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def try_shared(self) -> bool:
        return self._try(fcntl.LOCK_SH)

    def try_exclusive(self) -> bool:
        return self._try(fcntl.LOCK_EX)

    def is_in_place(self) -> bool:
        """Whether the open file is still the one at its path: False after its folder was deleted or moved."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), self.path.stat())
        except FileNotFoundError:
            return False

    def release(self) -> None:
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def write(self, text: str) -> None:
        """Leaves a note in the file; only for the holder."""
        os.truncate(self.descriptor, 0)
        os.pwrite(self.descriptor, text.encode(), 0)

    def close(self) -> None:
        os.close(self.descriptor)

    def __enter__(self) -> FileLock:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _try(self, kind: int) -> bool:
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock exclusively at this moment."""
    with FileLock(path) as lock:
        return lock.try_shared()
