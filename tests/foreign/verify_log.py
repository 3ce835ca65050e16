"""Answers the questions of tests/foreign/questions.py with aics-tlog. Only the splitting of a .tlog-proof is ours."""

from __future__ import annotations

import json
import sys
from base64 import b64decode
from pathlib import Path
from typing import Any

import aics_tlog


def main() -> None:
    asked = json.loads(Path(sys.argv[1]).read_bytes())
    key = aics_tlog.parse_vkey(asked["vkey"])
    answers = {
        "inclusion": [is_included(key, each["entry"], each["proof"]) for each in asked["inclusion"]],
        "consistency": [is_consistent(key, **each) for each in asked["consistency"]],
        "logs": [is_log(key, **each) for each in asked["logs"]],
    }
    print(json.dumps(answers))


def read_checkpoint(key: Any, text: str) -> Any:
    """The checkpoint, None where it is not the key's."""
    note = aics_tlog.parse_note(text)
    opened = aics_tlog.verify_checkpoint(note, key, expected_origin=key.name)
    return aics_tlog.parse_checkpoint(note.text) if opened.ok else None


def is_included(key: Any, entry: str, proof: str) -> bool:
    head, _, note = proof.partition("\n\n")
    _, index, *path = head.split("\n")
    checkpoint = read_checkpoint(key, note)
    return checkpoint is not None and aics_tlog.verify_leaf_inclusion(
        b64decode(entry),
        int(index.removeprefix("index ")),
        checkpoint.size,
        [b64decode(each) for each in path],
        checkpoint.root,
    )


def is_consistent(key: Any, first: str, second: str, path: list[str]) -> bool:
    old, new = read_checkpoint(key, first), read_checkpoint(key, second)
    proof = [b64decode(each) for each in path]
    return (
        old is not None
        and new is not None
        and aics_tlog.verify_consistency(old.size, new.size, old.root, new.root, proof)
    )


def is_log(key: Any, folder: str, checkpoint: str) -> bool:
    head = read_checkpoint(key, checkpoint)
    if head is None:
        return False
    try:
        aics_tlog.audit_tiles(aics_tlog.FileSystemTileReader(folder), head.size, head.root)
    except (aics_tlog.TileVerificationError, aics_tlog.TileMissingError):
        return False
    return True


if __name__ == "__main__":
    main()
