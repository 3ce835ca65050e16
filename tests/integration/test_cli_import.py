"""`ledger import`: what goes in, what is refused, and going on after an end at any moment."""

from __future__ import annotations

import gzip
import json
import random
import subprocess
import time
from pathlib import Path
from typing import Any

import psycopg
import pytest

from ledger.embedded import DatabaseUrls
from tests.command import Command


@pytest.fixture
def ledger(database: DatabaseUrls) -> Command:
    """The command on a shared database with the account `default`."""
    command = Command(urls=database)
    command("account", "add", "default")
    return command


def a_run(run_id: str = "r-1", number: int = 2, **members: Any) -> dict[str, Any]:
    """A line of an import."""
    standard = {
        "run_id": run_id,
        "started_at": "2020-01-01T10:00:00Z",
        "finished_at": "2020-01-01T10:05:00+00:00",
        "object_type": "contact",
        "changes": [{"record_id": f"c{each}", "action": "create", "after": {"n": each}} for each in range(number)],
    }
    return standard | members


def as_lines(*runs: dict[str, Any] | bytes) -> bytes:
    return b"".join(run if isinstance(run, bytes) else json.dumps(run).encode() + b"\n" for run in runs)


def test_run_is_told_as_it_was_imported(ledger: Command) -> None:
    run = a_run(user="Ann", message="spring cleaning", automated=True, tags=["a", 1.10], failed_files=[])
    text = as_lines(run).replace(b"1.1]", b"1.10]")
    ledger("import", "-", stdin=text)
    ledger("project", "--once")
    shown = ledger("show", "r-1", "--json")
    row = shown.document
    assert row["user"]["name"] == "Ann"
    assert row["message"] == "spring cleaning"
    assert row["trigger"] == "automated"
    assert row["status"] == "finished"
    assert row["started_at"] == "2020-01-01T10:00:00Z"
    assert row["finished_at"] == "2020-01-01T10:05:00Z"
    assert row["duration_s"] == 300
    assert row["tally"]["created"] == 2
    assert b'"details":{"tags":["a",1.10],"failed_files":[]}' in shown.stdout


def test_changes_without_a_time_happened_when_the_run_finished(ledger: Command) -> None:
    changes = [
        {"record_id": "a", "action": "create", "after": {"occurred_at": "a field of this name"}},
        {"record_id": "b", "action": "create", "after": {}, "occurred_at": "2019-05-01T00:00:00Z"},
        {"record_id": "c", "action": "create", "after": {}, "occurred_at": None},
    ]
    ledger("import", "-", stdin=as_lines(a_run(changes=changes)))
    ledger("project", "--once")
    found = {change["record_id"]: change["occurred_at"] for change in ledger("changes", "--ndjson").lines}
    assert found == {"a": "2020-01-01T10:05:00Z", "b": "2019-05-01T00:00:00Z", "c": "2020-01-01T10:05:00Z"}
    assert ledger("states", "contact", "--at", "2020-01-01T10:04:59Z", "--ndjson").lines == [
        {"object_type": "contact", "record_id": "b", "fields": {}}
    ]


@pytest.mark.parametrize(
    ("members", "error"),
    [
        ({"error": {"code": "quota", "message": "none left"}}, {"code": "quota", "message": "none left"}),
        ({"error": "none left"}, {"code": "failed", "message": "none left"}),
        (
            {"failed_files": [{"path": "a.yaml", "error": "line 3"}]},
            {"code": "failed_files", "message": "a.yaml: line 3"},
        ),
        ({}, {"code": "failed", "message": "The producer gave no reason."}),
    ],
)
def test_failed_run_says_why(ledger: Command, members: dict[str, Any], error: dict[str, str]) -> None:
    ledger("import", "-", stdin=as_lines(a_run(status="failed", **members)))
    ledger("project", "--once")
    row = ledger("show", "r-1", "--json").document
    assert row["status"] == "failed"
    assert row["error"] == error
    assert row["tally"]["created"] == 2


def test_values_stay_exact(ledger: Command) -> None:
    fields = b'{"big":123456789012345678901234567890,"price":1.10,"e":1e400,"nul":"a\\u0000b","none":null}'
    change = b'{"record_id":"x","action":"create","after":' + fields + b"}"
    ledger("import", "-", stdin=b'{"run_id":"r","object_type":"t","changes":[' + change + b"]}\n")
    ledger("project", "--once")
    assert ledger("states", "t", "--ndjson").stdout == (
        b'{"object_type":"t","record_id":"x","fields":' + fields + b"}\n"
    )


def test_gzip_and_blank_lines_are_read(ledger: Command, tmp_path: Path) -> None:
    file = tmp_path / "runs.ndjson.gz"
    file.write_bytes(gzip.compress(as_lines(a_run("r-1"), b"\n  \n", a_run("r-2"))))
    assert ledger("import", file, "--json").document["recorded"] == 2


def test_recipe_and_its_children_are_imported(ledger: Command) -> None:
    recipe = {"run_id": "recipe", "kind": "recipe", "recipe": {"name": "Weekly"}}
    ledger("import", "-", stdin=as_lines(recipe, a_run("child", recipe_run_id="recipe")))
    ledger("project", "--once")
    assert ledger("show", "recipe", "--json").document["tally"]["created"] == 2
    assert [row["run_id"] for row in ledger("runs", "--recipe-run-id", "recipe", "--ndjson").lines] == ["child"]


def test_runs_without_id_are_imported_once(ledger: Command) -> None:
    run = a_run()
    del run["run_id"]
    text = as_lines(run, run)
    assert ledger("import", "-", "--json", stdin=text).document["recorded"] == 2
    assert ledger("import", "-", "--json", stdin=text).document["passed_over"] == 2


def test_other_content_under_a_taken_run_id_is_refused(ledger: Command) -> None:
    ledger("import", "-", stdin=as_lines(a_run()))
    ended = ledger("import", "-", stdin=as_lines(a_run("r-0"), a_run(number=3), a_run("r-9")), code=4)
    assert "Line 2: run r-1 is in the ledger already, with other content" in ended.stderr
    ledger("project", "--once")
    assert {row["run_id"]: row["tally"]["created"] for row in ledger("runs", "--ndjson").lines} == {"r-0": 2, "r-1": 2}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"[1]\n", "expected one run as a JSON object"),
        (b'{"run_id":"r","run_id":"q"}\n', "stands twice"),
        (b'{"run_id":"r","changes":[],"changes":[]}\n', "stands twice"),
        (b'{"run_id":"r","x":NaN}\n', "NaN"),
        (b'{"run_id":"r","changes":{}}\n', "expected an array of changes"),
        (b'{"run_id":"a/b"}\n', "/run_id"),
        (b'{"run_id":"r","user":5}\n', "/user"),
        (b'{"run_id":"r","automated":"yes"}\n', "/automated"),
        (b'{"run_id":"r","automated":true,"trigger":"manual"}\n', "automated"),
        (b'{"run_id":"r","status":"odd"}\n', "/status"),
        (b'{"run_id":"r","finished_at":"yesterday"}\n', "/finished_at"),
        (b'{"run_id":"r","x":1,"details":{"x":1}}\n', "/details/x"),
        (b'{"run_id":"r","changes":[{"record_id":"1","action":"create","after":{}}]}\n', "/changes/0/object_type"),
        (b'{"run_id":"r","object_type":"t","changes":[7]}\n', "/changes/0"),
        (b'{"object_type":"t","changes":[{"action":"none","record_id":"1"},{"action":"none"}]}\n', "/changes/1"),
        (b"\x1f\x8b\x08 broken", "gzip"),
    ],
)  # fmt: skip
def test_bad_line_is_named_and_leaves_nothing(ledger: Command, line: bytes, said: str) -> None:
    ended = ledger("import", "-", stdin=line, code=1)
    assert "Line 1" in ended.stderr
    assert said in ended.stderr
    assert ledger("account", "list", "--json").document[0]["head"] == 0


def test_bad_change_in_a_long_run_leaves_nothing_of_it(ledger: Command) -> None:
    changes = [{"record_id": str(number), "action": "none"} for number in range(12_000)]
    changes[11_000]["action"] = "NOT A WORD"
    ended = ledger("import", "-", stdin=as_lines(a_run(changes=changes)), code=1)
    assert "/changes/11000/action" in ended.stderr
    assert ledger("account", "list", "--json").document[0]["head"] == 0


def test_missing_file_and_account_have_exit_codes(ledger: Command) -> None:
    assert "cannot be read" in ledger("import", "/nonexistent/runs.ndjson", code=2).stderr
    assert "ledger account add other" in ledger("--account", "other", "import", "-", code=3).stderr


def test_import_killed_at_any_moment_is_completed(
    ledger: Command, database: DatabaseUrls, tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    runs = [a_run(f"r-{number}", chance.choice((0, 3, 40, 6_000))) for number in range(24)] + [a_run("last", 30_000)]
    file = tmp_path / "runs.ndjson"
    file.write_bytes(as_lines(*runs))
    total = sum(len(run["changes"]) for run in runs)
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        for share in sorted(chance.uniform(0.02, 0.95) for _ in range(4)):
            process = ledger.start("import", file, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            while _head(connection) < share * total and process.poll() is None:
                time.sleep(0.002)
            process.kill()
            process.wait()
    ended = ledger.process("import", file, "--json")
    assert ended.code == 0, ended.stderr
    ledger("project", "--once")
    found = {row["run_id"]: (row["status"], row["tally"]["created"]) for row in ledger("runs", "--ndjson").lines}
    assert found == {run["run_id"]: ("finished", len(run["changes"])) for run in runs}, f"seed {seed}"


def _head(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT coalesce(max(head), 0) FROM accounts").fetchone()
    assert row is not None
    return int(row[0])
