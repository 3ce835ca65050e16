"""Sealed logs in tests: keys, heads, and what every sealed log must hold."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

from ledger.ids import account_id_of
from ledger.integrity.checkpoint import Checkpoint, parse_checkpoint
from ledger.integrity.keys import LogKeys, make_log_keys
from ledger.integrity.merkle import leaf_hash, root_of
from ledger.integrity.note import open_note, parse_note
from ledger.integrity.signed_heads import SignedHeads

ACCOUNT = account_id_of("default")

_EVENTS = """
    SELECT position, uuid_send(originator_id), topic, run_id, sequence, recorded_at, occurred_at, salt, payload
    FROM events WHERE account_id = %s ORDER BY position
"""


def new_signing(folder: Path, keys: LogKeys | None = None) -> SignedHeads:
    """A key that signed nothing yet."""
    return SignedHeads(folder / "log-heads", keys or make_log_keys("ledger.example/log"))


def expected_entries(owner_url: str, account_id: UUID = ACCOUNT) -> list[bytes]:
    """Every entry of the log, made from the table without the code under test."""
    with psycopg.connect(owner_url) as connection:
        return entries_of(connection, account_id)


def entries_of(connection: psycopg.Connection[Any], account_id: UUID) -> list[bytes]:
    """The same in a connection of the owner's."""
    totals: dict[str, dict[str, int]] = {}
    entries = []
    for position, stream, topic, run_id, sequence, recorded_at, occurred_at, salt, payload in connection.execute(
        _EVENTS, (account_id,)
    ).fetchall():
        leaf: dict[str, Any] = {
            "account": str(account_id),
            "commitment": sha256(salt + payload).hexdigest(),
            "occurred_at": f"{occurred_at:%Y-%m-%dT%H:%M:%S.%f}Z",
            "position": position,
            "recorded_at": f"{recorded_at:%Y-%m-%dT%H:%M:%S.%f}Z",
            "run": run_id,
            "sequence": sequence,
            "stream": sha256(salt + b"stream" + stream).hexdigest(),
            "type": topic,
            "v": 1,
        }
        if topic == "run-started":
            totals[run_id] = dict.fromkeys(("created", "deleted", "failed", "other", "unmodified", "updated"), 0)
            leaf["counts"] = totals[run_id]
        elif topic == "changes-recorded":
            tally = json.loads(payload)["tally"]
            leaf["counts"] = {name: tally.get(name, 0) for name in totals[run_id]}
            totals[run_id] = {name: number + leaf["counts"][name] for name, number in totals[run_id].items()}
        elif topic in ("run-finished", "run-failed"):
            leaf["counts"] = totals[run_id]
        entries.append(json.dumps(leaf, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode())
    return entries


def checkpoints(owner_url: str, keys: LogKeys, account: str = "default") -> list[Checkpoint]:
    """All checkpoints of an account, opened, by size."""
    query = "SELECT note FROM log_checkpoints WHERE account_id = %s ORDER BY size"
    with psycopg.connect(owner_url) as connection:
        notes = [parse_note(note.encode()) for (note,) in connection.execute(query, (account_id_of(account),))]
    for note in notes:
        assert open_note(note, keys.trusted(account))
    return [parse_checkpoint(note.text) for note in notes]


def check_heads(owner_url: str, heads: list[Checkpoint], account: str = "default") -> None:
    """Each head is over events that are there, and has the root that they give: so no size has two."""
    leaves = [leaf_hash(entry) for entry in expected_entries(owner_url, account_id_of(account))]
    for head in heads:
        assert head.size <= len(leaves), f"signed {head.size} events, there are {len(leaves)}"
        assert head.root == root_of(leaves[: head.size]), f"the root at {head.size} is not that of the events"
