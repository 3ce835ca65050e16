"""Questions that every verifier is asked, ours too: proofs and checkpoints, good ones and ones broken on purpose.

A file of questions is JSON: `vkey`, the log's public key; `inclusion`, `.tlog-proof` texts, each with the entry that it
is for; `consistency`, a list of two signed checkpoints with the path between them; `logs`, a list of folders with the
signed checkpoint that they shall give. Bytes are base64. A verifier answers with JSON: for each list one of true and
false.
"""

from __future__ import annotations

import json
import random
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from ledger.errors import LedgerError
from ledger.integrity.checkpoint import Checkpoint, format_checkpoint, parse_checkpoint
from ledger.integrity.merkle import check_consistency, leaf_hash
from ledger.integrity.note import Key, Note, SigningKey, format_vkey, open_note, parse_note, parse_vkey, sign_note
from ledger.integrity.tlog_proof import LogProof, check_proof, format_proof, parse_proof
from tests.foreign.log_folder import LogFolder

Answers = dict[str, list[bool]]


class Inclusion(NamedTuple):
    """That the entry is in a log, and the proof of it."""

    entry: bytes
    proof: LogProof


class Consistency(NamedTuple):
    """That the log of the first note is the beginning of the second's."""

    first: Note
    second: Note
    path: tuple[bytes, ...]


class Questions(NamedTuple):
    key: Key
    inclusion: list[Inclusion]
    consistency: list[Consistency]

    def ask(self, *logs: tuple[Path, Note]) -> str:
        """The text of the file."""
        asked = {
            "vkey": format_vkey(self.key),
            "inclusion": [{"entry": _text(each.entry), "proof": format_proof(each.proof)} for each in self.inclusion],
            "consistency": [
                {"first": each.first.format(), "second": each.second.format(), "path": list(map(_text, each.path))}
                for each in self.consistency
            ],
            "logs": [{"folder": str(folder), "checkpoint": note.format()} for folder, note in logs],
        }
        return json.dumps(asked)


def good_questions(log: LogFolder, sizes: Sequence[int], chance: random.Random) -> Questions:
    """Of every size the entries at its edges and at those of tiles, and some by chance; every pair of sizes."""
    sizes = [size for size in sizes if size]
    notes = {size: log.note(size) for size in sizes}
    inclusion = [
        Inclusion(log.entries[index], LogProof(index, tuple(log.inclusion(index, size)), notes[size]))
        for size in sizes
        for index in _indexes(size, chance)
    ]
    consistency = [
        Consistency(notes[first], notes[second], tuple(log.consistency(first, second)))
        for first in sizes
        for second in sizes
        if first <= second
    ]
    return Questions(log.key.key, inclusion, consistency)


def broken_questions(good: Questions, key: SigningKey, chance: random.Random) -> Questions:
    """Each of the good ones broken in each way. A few stay true: a path of one size can fit another."""
    inclusion = [Inclusion(each.entry, broken) for each in good.inclusion for broken in _broken_proofs(each.proof, key)]
    inclusion += [Inclusion(each.entry + b"\x00", each.proof) for each in good.inclusion]
    consistency = []
    for each in good.consistency:
        consistency += [each._replace(path=path) for path in _broken_paths(each.path, chance)]
        consistency += [each._replace(first=note) for note in _broken_notes(each.first, key)]
        consistency += [each._replace(second=note) for note in _broken_notes(each.second, key)]
    return Questions(good.key, inclusion, consistency)


def our_answers(asked: str) -> Answers:
    """What our own checks say."""
    questions = json.loads(asked)
    key = parse_vkey(questions["vkey"])
    return {
        "inclusion": [_is_included(key, each) for each in questions["inclusion"]],
        "consistency": [_is_consistent(key, each) for each in questions["consistency"]],
    }


def _is_included(key: Key, question: dict[str, Any]) -> bool:
    try:
        check_proof(parse_proof(question["proof"].encode()), leaf_hash(b64decode(question["entry"])), [key])
    except LedgerError:
        return False
    return True


def _is_consistent(key: Key, question: dict[str, Any]) -> bool:
    try:
        first, second = (_open(key, question[name]) for name in ("first", "second"))
    except LedgerError:
        return False
    path = [b64decode(each) for each in question["path"]]
    return check_consistency(first.size, second.size, first.root, second.root, path)


def _open(key: Key, text: str) -> Checkpoint:
    note = parse_note(text.encode())
    open_note(note, [key])
    return parse_checkpoint(note.text)


def _indexes(size: int, chance: random.Random) -> list[int]:
    edges = {0, 1, 254, 255, 256, 257, 65_534, 65_535, 65_536, size // 2, size - 2, size - 1}
    return sorted({each for each in edges if 0 <= each < size} | {chance.randrange(size) for _ in range(4)})


def _broken_proofs(proof: LogProof, key: SigningKey) -> Iterator[LogProof]:
    for path in _broken_paths(proof.path, random.Random(proof.index)):
        yield replace(proof, path=path)
    for index in (proof.index - 1, proof.index + 1, proof.index ^ 1, proof.index ^ 256):
        if index >= 0:
            yield replace(proof, index=index)
    for note in _broken_notes(proof.note, key):
        yield replace(proof, note=note)


def _broken_paths(path: tuple[bytes, ...], chance: random.Random) -> Iterator[tuple[bytes, ...]]:
    yield (*path, chance.randbytes(32))
    yield (chance.randbytes(32), *path)
    if path:
        at = chance.randrange(len(path))
        yield path[:-1]
        yield path[1:]
        yield (*path[:at], _flipped(path[at]), *path[at + 1 :])
    if len(path) > 1:
        yield path[::-1]


def _broken_notes(note: Note, key: SigningKey) -> Iterator[Note]:
    """Signed right, but for another root or size; then signed by somebody else, by nobody, or over another text."""
    checkpoint = parse_checkpoint(note.text)
    changes: list[Callable[[Checkpoint], Checkpoint]] = [
        lambda each: each._replace(root=_flipped(each.root)),
        lambda each: each._replace(size=each.size + 1),
        lambda each: each._replace(size=each.size - 1),
    ]
    for change in changes:
        yield sign_note(format_checkpoint(change(checkpoint)), [key])
    (signature,) = note.signatures
    yield sign_note(note.text, [SigningKey(key.name, bytes(32))])
    yield sign_note(note.text, [SigningKey(key.name + "/other", key.seed)])
    yield note._replace(signatures=(signature._replace(signature=_flipped(signature.signature)),))
    yield note._replace(text=format_checkpoint(checkpoint._replace(origin=checkpoint.origin + "x")))


def _flipped(data: bytes) -> bytes:
    return bytes([data[0] ^ 1]) + data[1:]


def _text(data: bytes) -> str:
    return b64encode(data).decode()
