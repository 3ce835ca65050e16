"""The public history, by the command as a user would type it: import, then every state of the oracle, field by field.

The folder is found beside the checkout (`../shared/data`) or where LEDGER_TEST_DATA says; without it these tests skip.
"""

from __future__ import annotations

import gzip
import json
import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ledger.json_text import canonical, split_fields
from tests.command import Command
from tests.conftest import temporary_home

DATA = Path(os.environ.get("LEDGER_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
HISTORY = DATA / "congress-legislators"
TYPES = (
    "legislator", "district_office", "social_account", "committee", "subcommittee", "committee_membership", "executive",
)  # fmt: skip

pytestmark = pytest.mark.skipif(
    not HISTORY.is_dir(), reason="the shared data are not here: set LEDGER_TEST_DATA to their folder"
)

States = dict[str, dict[str, dict[str, bytes]]]
"""Object type, record id, field: the value's JSON text."""


@pytest.fixture(scope="module")
def ledger() -> Iterator[Command]:
    """The command on an embedded database that holds the whole history."""
    with temporary_home() as home:
        command = Command(home=home)
        ended = command.process("import", HISTORY / "runs.ndjson.gz", "--json")
        assert ended.code == 0, ended.stderr
        assert ended.document == {"recorded": 1039, "resumed": 0, "passed_over": 0, "changes": 113_450}
        yield command


def _snapshots() -> list[dict[str, Any]]:
    if not HISTORY.is_dir():
        return []
    found: list[dict[str, Any]] = json.loads((HISTORY / "META.json").read_bytes())["states"]
    return found


@pytest.fixture(params=_snapshots(), ids=lambda snapshot: f"run {snapshot['seq']}")
def snapshot(request: pytest.FixtureRequest) -> dict[str, Any]:
    chosen: dict[str, Any] = request.param
    return chosen


def test_states_after_the_snapshots_run_equal_the_oracle(ledger: Command, snapshot: dict[str, Any]) -> None:
    _compare(ledger, snapshot, "--after-run", snapshot["run_id"])


def test_states_at_the_snapshots_instant_equal_the_oracle(ledger: Command, snapshot: dict[str, Any]) -> None:
    _compare(ledger, snapshot, "--at", snapshot["as_of"])


def test_history_imported_again_is_passed_over(ledger: Command) -> None:
    ended = ledger("import", HISTORY / "runs.ndjson.gz", "--json")
    assert ended.document == {"recorded": 0, "resumed": 0, "passed_over": 1039, "changes": 0}


def test_tracker_lists_every_run_with_its_counts(ledger: Command) -> None:
    rows = {row["run_id"]: row for row in ledger("runs", "--ndjson").lines}
    with gzip.open(HISTORY / "runs.ndjson.gz") as lines:
        for line in lines:
            run = json.loads(line)
            row = rows.pop(run["run_id"])
            assert {name: row["tally"][name] for name in run["counts"]} == run["counts"]
            assert row["user"]["name"] == run["user"]
            assert row["message"] == run["message"]
            assert row["details"]["seq"] == run["seq"]
            assert row["status"] == ("failed" if run["status"] == "failed" else "finished")
            assert (row["error"] is not None) == (run["status"] == "failed")
    assert rows == {}


def _compare(ledger: Command, snapshot: dict[str, Any], *moment: str) -> None:
    expected: States = defaultdict(dict)
    with gzip.open(HISTORY / snapshot["file"]) as lines:
        _collect(expected, lines)
    assert sum(map(len, expected.values())) == snapshot["records"]
    assert expected.keys() <= set(TYPES)
    for object_type in TYPES:
        found: States = defaultdict(dict)
        _collect(found, iter(ledger("states", object_type, *moment, "--ndjson").stdout.splitlines()))
        assert found.keys() <= {object_type}
        assert found[object_type] == expected[object_type]


def _collect(states: States, lines: Any) -> None:
    for line in lines:
        record = split_fields(canonical(line.strip()))
        object_type, record_id = json.loads(record["object_type"]), json.loads(record["record_id"])
        assert record_id not in states[object_type], "each record stands once"
        states[object_type][record_id] = split_fields(record["fields"])
