"""The command's reading, recording and access: data on stdout, remarks on stderr, exit codes by kind of error."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ledger.embedded import DatabaseUrls
from tests.command import ROOT, Command
from tests.conftest import temporary_home

CHANGES = b"""{"record_id":"1","action":"create","after":{"name":"Ann","age":1.10}}
{"record_id":"2","action":"create","after":{"name":"Bob\\u001b[31m"}}
{"record_id":"1","action":"update","before":{"name":"Ann"},"after":{"name":null}}
{"record_id":"3","action":"update","result":"failed","message":"locked","after":{"name":"x"}}
"""


@pytest.fixture
def ledger(database: DatabaseUrls) -> Command:
    """The command on a shared database with the account `default`."""
    command = Command(urls=database)
    command("account", "add", "default")
    return command


@pytest.fixture
def recorded(ledger: Command) -> Command:
    """The same with the finished run r-1, and views that are up to date."""
    ledger("run", "start", "--run-id", "r-1", "--object-type", "contact", "--template", "Tidy", "--user", "Ann")
    ledger("run", "changes", "r-1", stdin=CHANGES)
    ledger("run", "finish", "r-1")
    ledger("project", "--once")
    return ledger


def test_help_imports_nothing_heavy() -> None:
    program = "import sys; from cli.main import main; sys.exit = print; main(['--help']); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    loaded = eval(done.stdout.splitlines()[-1])
    heavy = {"flask", "psycopg", "eventsourcing", "marshmallow", "flask_smorest", "waitress", "xlsxwriter", "bootstrap"}
    assert heavy & set(loaded) == set()
    assert "Usage: ledger" in done.stdout


def test_every_command_has_its_help(ledger: Command) -> None:
    from cli.main import COMMANDS

    for name in COMMANDS:
        assert f"Usage: ledger {name}" in ledger(name, "--help").stdout.decode()


def test_run_recorded_step_by_step_is_shown(recorded: Command) -> None:
    row = recorded("show", "r-1", "--json").document
    tally = {"updated": 1, "created": 2, "deleted": 0, "unmodified": 0, "other": 0, "failed": 1}
    assert row["tally"] == tally | {"succeeded": 3, "processed": 4}
    assert row["template"]["name"] == "Tidy"
    assert row["status"] == "finished"


def test_changes_sent_again_from_the_first_are_recorded_once(ledger: Command) -> None:
    run_id = ledger("run", "start", "--object-type", "contact").stdout.decode().strip()
    for _ in range(2):
        ended = ledger("run", "changes", run_id, "--offset", 0, "--json", stdin=CHANGES)
        assert ended.document == {"run_id": run_id, "accepted": 4}


def test_failed_run_is_listed_with_its_error(ledger: Command) -> None:
    ledger("run", "start", "--run-id", "r-9")
    ledger("run", "fail", "r-9", "quota exhausted", "--code", "quota")
    ledger("project", "--once")
    (row,) = ledger("runs", "--status", "failed", "--ndjson").lines
    assert row["error"] == {"code": "quota", "message": "quota exhausted"}
    assert "quota: quota exhausted" in ledger("show", "r-9").stdout.decode()


def test_record_is_told_in_every_way(recorded: Command) -> None:
    assert recorded("state", "contact", "1", "--json").document["fields"] == {"name": None, "age": 1.1}
    assert recorded("state", "contact", "1", "--position", 2, "--json").document["fields"]["name"] == "Ann"
    assert [line["action"] for line in recorded("history", "contact", "1", "--ndjson").lines] == ["update", "create"]
    blamed = {line["field"]: line["sequence"] for line in recorded("blame", "contact", "1", "--ndjson").lines}
    assert blamed == {"age": 1, "name": 3}
    assert recorded("states", "contact", "--ndjson").stdout.splitlines()[0] == (
        b'{"object_type":"contact","record_id":"1","fields":{"name":null,"age":1.10}}'
    )
    assert [line["record_id"] for line in recorded("changes", "--result", "failed", "--ndjson").lines] == ["3"]


def test_control_characters_never_reach_the_terminal(recorded: Command) -> None:
    for arguments in (("state", "contact", "2"), ("states", "contact"), ("history", "contact", "2"), ("changes",)):
        shown = recorded(*arguments).stdout
        assert b"Bob" in shown
        assert b"\x1b" not in shown


def test_report_goes_to_stdout_or_a_file(recorded: Command, tmp_path: Path) -> None:
    text = recorded("report", "r-1").stdout.decode()
    assert text.splitlines()[0].startswith("Result,Message,Record ID")
    file = tmp_path / "report.ndjson"
    recorded("report", "r-1", "-o", file)
    assert len([json.loads(line) for line in file.read_bytes().splitlines()]) == 4
    recorded("report", "r-1", "-o", tmp_path / "report.xlsx")
    assert (tmp_path / "report.xlsx").read_bytes()[:2] == b"PK"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.ndjson", "report.xlsx"]


def test_runs_are_filtered_sorted_and_limited(recorded: Command) -> None:
    recorded("run", "start", "--run-id", "p-1", "--mode", "preview", "--template", "Tidy")
    recorded("run", "start", "--run-id", "r-2", "--template", "Merge")
    recorded("project", "--once")

    def listed(*arguments: object) -> list[str]:
        return [row["run_id"] for row in recorded("runs", *arguments, "--ndjson").lines]

    assert listed() == ["r-2", "r-1"]
    assert listed("--mode", "all", "--sort", "run_id", "--ascending") == ["p-1", "r-1", "r-2"]
    assert listed("--template", "Tidy") == ["r-1"]
    assert listed("--has-failures") == ["r-1"]
    assert listed("--zero-succeeded") == ["r-2"]
    assert listed("--limit", 1) == ["r-2"]
    assert recorded("runs", "--limit", 1, "--json").document["total"] == 2
    assert recorded("runs").stdout.decode().splitlines()[0].startswith("Run ID")


def test_views_are_rebuilt_and_their_lag_is_shown(recorded: Command) -> None:
    before = recorded("show", "r-1", "--json").stdout
    recorded("rebuild", "tracker")
    assert recorded("show", "r-1", "--json").stdout == before
    assert {row["behind"] for row in recorded("lag", "--json").document} == {0}


def test_tokens_are_made_listed_and_revoked(ledger: Command) -> None:
    made = ledger("token", "make", "auditor", "--name", "yearly audit", "--json").document
    assert made["token"].startswith(made["token_id"])
    listed = ledger("token", "list", "--json")
    assert made["token"].encode() not in listed.stdout
    assert listed.document[0]["role"] == "auditor"
    ledger("token", "revoke", made["token_id"], "--yes")
    assert ledger("token", "list", "--json").document[0]["revoked_at"] is not None
    assert ledger("token", "revoke", made["token_id"], stdin=b"n\n", code=130).stderr.endswith("Interrupted.\n")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("no-such-command",), 2),
        (("runs", "--sort", "color"), 2),
        (("runs", "--from", "yesterday"), 2),
        (("state", "contact", "1", "--position", "1", "--after-run", "r-1"), 2),
        (("run", "start", "--run-id", "a/b"), 2),
        (("show", "r-none"), 3),
        (("state", "contact", "none"), 3),
        (("history", "contact", "none"), 3),
        (("states", "contact", "--after-run", "none"), 3),
        (("rebuild", "none"), 3),
        (("token", "revoke", "ldg_none", "--yes"), 3),
        (("--account", "nobody", "runs"), 3),
        (("account", "add", "default"), 4),
        (("run", "start", "--run-id", "r-1", "--template", "Other"), 4),
        (("run", "fail", "r-1", "too late"), 4),
    ],
)
def test_error_ends_with_its_exit_code(recorded: Command, arguments: tuple[str, ...], code: int) -> None:
    ended = recorded(*arguments, code=code)
    assert ended.stdout == b""
    assert ended.stderr


def test_bad_change_ends_with_1_and_names_its_line(ledger: Command) -> None:
    ledger("run", "start", "--run-id", "r-1", "--object-type", "contact")
    ended = ledger("run", "changes", "r-1", stdin=CHANGES + b'{"action":"create"}\n', code=1)
    assert "Line 5" in ended.stderr


def test_database_that_does_not_answer_ends_with_7() -> None:
    nowhere = "host=/nonexistent user=nobody dbname=nowhere"
    ended = Command(urls=DatabaseUrls(nowhere, nowhere)).process("runs")
    assert ended.code == 7
    assert "does not answer" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_database_without_tables_says_what_to_do(empty_database: DatabaseUrls) -> None:
    command = Command(urls=empty_database)
    assert {row["applied_at"] for row in command("migrate", "--status", "--json").document} == {None}
    assert "ledger migrate" in command("runs", code=3).stderr
    command("migrate")
    assert command("migrate").stderr.strip() == "Nothing to do: the schema is the newest."
    command("account", "add", "default")
    assert command("runs", "--json").document["runs"] == []


def test_command_starts_and_prepares_a_database_of_its_own() -> None:
    with temporary_home() as home:
        ledger = Command(home=home)
        ledger("run", "start", "--run-id", "r-1", "--object-type", "contact")
        ledger("run", "changes", "r-1", stdin=CHANGES)
        assert ledger("show", "r-1", "--json").document["tally"]["processed"] == 4
        shown = ledger.process("runs", "--json")
    assert shown.code == 0, shown.stderr
    assert [row["run_id"] for row in shown.document["runs"]] == ["r-1"]
