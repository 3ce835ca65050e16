"""The erasure list outside the database: a file, one JSON object a line, which brings a restored backup up to date.

A line is on the disk before its erasure is committed. So the list never lacks an erasure; one that it has and the log
has not is carried out by `ledger erase --replay`, harmlessly where nothing is left to erase.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from ledger.errors import InputError, Problem, Unavailable
from ledger.json_text import encode


@dataclass(frozen=True, slots=True)
class Listed:
    """An erasure as the list has it: what is needed to carry it out again."""

    account_id: UUID
    run_id: str
    object_type: str
    record_id: str
    fields: tuple[str, ...] | None
    reason: str
    user: str


class ErasureList:
    """The file. Made when the first erasure is written to it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, account_id: UUID, facts: dict[str, Any]) -> None:
        """Adds an erasure and waits for the disk. Raises Unavailable where it cannot be written."""
        try:
            with self.path.open("ab") as file:
                file.write(encode({"account_id": account_id, **facts}) + b"\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise Unavailable(f"The erasure list {self.path} cannot be written: {error.strerror}.") from error

    def read(self) -> list[Listed]:
        """All erasures on it; none where there is no file yet. Raises InputError with the line that is no erasure."""
        try:
            with self.path.open("rb") as file:
                return list(_read(self.path, file))
        except FileNotFoundError:
            return []

    def state(self) -> tuple[int, int] | None:
        """Changes when the file does."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            return None
        return found.st_mtime_ns, found.st_size


def _read(path: Path, lines: Any) -> Iterator[Listed]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            found = msgspec.json.decode(line)
            yield msgspec.convert({name: found.get(name) for name in Listed.__slots__}, Listed)
        except (msgspec.MsgspecError, AttributeError, UnicodeDecodeError) as error:
            problem = Problem("Not an erasure.", line=number, found=repr(line[:80]))
            raise InputError(f"Line {number} of {path} is no erasure: {error}.", problems=(problem,)) from error
