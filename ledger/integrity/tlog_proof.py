"""Proofs that stand alone (c2sp.org/tlog-proof): an entry's index, its path, and the checkpoint it leads to. Pure."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass

from ledger.errors import InputError, IntegrityFailed
from ledger.integrity.checkpoint import Checkpoint, parse_checkpoint
from ledger.integrity.merkle import HASH_SIZE, check_inclusion
from ledger.integrity.note import Key, Note, bytes_of_base64, open_note, parse_note

HEADER = "c2sp.org/tlog-proof@v1"
PATH_LENGTH_MAX = 63
"""Hashes: a tree of 2**63 leaves."""

_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class LogProof:
    """What a `.tlog-proof` file holds; `extra` is data of the application's, not proven."""

    index: int
    path: tuple[bytes, ...]
    note: Note
    extra: bytes | None = None


def format_proof(proof: LogProof) -> str:
    """The file's text."""
    extra = [] if proof.extra is None else ["extra " + b64encode(proof.extra).decode()]
    path = [b64encode(each).decode() for each in proof.path]
    return "\n".join([HEADER, *extra, f"index {proof.index}", *path, "", proof.note.format()])


def parse_proof(data: bytes) -> LogProof:
    """The inverse of format_proof. Raises InputError."""
    head, _, note = data.partition(b"\n\n")
    lines = head.decode("utf-8", "replace").split("\n")
    if lines[0] != HEADER:
        raise InputError(f"This is no proof: it begins with {lines[0][:60]!r}. Expected {HEADER!r}.")
    extra = bytes_of_base64(lines.pop(1)[6:]) if lines[1:] and lines[1].startswith("extra ") else None
    found = _INDEX.fullmatch(lines[1]) if lines[1:] else None
    if found is None:
        raise InputError("The proof does not say which entry it is for. Expected a line `index NUMBER`.")
    path = [bytes_of_base64(line) for line in lines[2:]]
    if len(path) > PATH_LENGTH_MAX or not all(each is not None and len(each) == HASH_SIZE for each in path):
        raise InputError(f"The proof's path holds what is no hash. Expected base64 of {HASH_SIZE} bytes a line.")
    return LogProof(int(found[1]), tuple(each for each in path if each is not None), parse_note(note), extra)


def check_proof(proof: LogProof, leaf: bytes, trusted: Sequence[Key]) -> Checkpoint:
    """The checkpoint under which this leaf hash stands in the log. Raises InputError, IntegrityFailed."""
    open_note(proof.note, trusted)
    checkpoint = parse_checkpoint(proof.note.text)
    if not check_inclusion(proof.index, checkpoint.size, leaf, proof.path, checkpoint.root):
        raise IntegrityFailed(
            f"The entry is not at index {proof.index} of the log {checkpoint.origin} with {checkpoint.size} entries: "
            "the path does not lead from it to the root hash. The entry, the proof or the checkpoint was altered."
        )
    return checkpoint
