"""Checkpoints (c2sp.org/tlog-checkpoint): the text that a log signs of its size and root hash. Pure."""

from __future__ import annotations

import re
from base64 import b64encode
from typing import NamedTuple

from ledger.errors import InputError
from ledger.integrity.merkle import HASH_SIZE
from ledger.integrity.note import bytes_of_base64

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")


class Checkpoint(NamedTuple):
    """That the log `origin` has `size` leaves under `root`."""

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()
    """Lines after the first three; ours have none."""


def format_checkpoint(checkpoint: Checkpoint) -> str:
    """The text to be signed."""
    lines = (checkpoint.origin, str(checkpoint.size), b64encode(checkpoint.root).decode(), *checkpoint.extensions)
    return "".join(line + "\n" for line in lines)


def parse_checkpoint(text: str) -> Checkpoint:
    """The inverse of format_checkpoint. Raises InputError."""
    lines = text.removesuffix("\n").split("\n")
    if len(lines) < 3 or not all(lines) or not text.endswith("\n"):
        raise InputError("The checkpoint is not one: expected lines with the origin, the size and the root hash.")
    origin, size, root_text, *extensions = lines
    if not _SIZE.fullmatch(size):
        raise InputError(f"The size of the checkpoint is {size[:40]!r}. Expected a number without leading zeros.")
    root = bytes_of_base64(root_text)
    if root is None or len(root) != HASH_SIZE:
        raise InputError(
            f"The root hash of the checkpoint is {root_text[:60]!r}. Expected base64 of {HASH_SIZE} bytes."
        )
    return Checkpoint(origin, int(size), root, tuple(extensions))
