"""`ledger undo` as an operator uses it: the plan, the refusal without a terminal, the result, the edited report."""

from __future__ import annotations

import json
from pathlib import Path

import psycopg
import pytest

import bootstrap
from ledger.connectors.registry import Target
from ledger.embedded import DatabaseUrls
from ledger.ids import account_id_of
from ledger.undo.request import UndoRequest
from tests.command import Command

CREATED = b"""{"record_id":"1","action":"create","after":{"name":"ann","city":"paris"}}
{"record_id":"2","action":"create","after":{"name":"bob","city":"rome"}}
"""
TIDIED = b"""
{"record_id":"1","action":"update","before":{"name":"ann","city":"paris"},"after":{"name":"Ann","city":"Paris"}}
{"record_id":"2","action":"update","before":{"name":"bob","city":"rome"},"after":{"name":"Bob","city":"Rome"}}
"""
SINCE = b'{"record_id":"2","action":"update","before":{"city":"Rome"},"after":{"city":"Roma"}}\n'


@pytest.fixture
def ledger(database: DatabaseUrls) -> Command:
    """Two contacts, tidied by run r-2; one city was changed since by r-3 of Eve's."""
    command = Command(urls=database)
    command("account", "add", "default")
    for run_id, user, changes in (("r-1", "Ann", CREATED), ("r-2", "Ann", TIDIED), ("r-3", "Eve", SINCE)):
        command("run", "start", "--run-id", run_id, "--object-type", "contact", "--user", user)
        command("run", "changes", run_id, stdin=changes)
        command("run", "finish", run_id)
    command("project", "--once")
    return command


def state(ledger: Command, record_id: str) -> dict[str, str]:
    """The record's fields now."""
    ledger("project", "--once")
    fields: dict[str, str] = ledger("state", "contact", record_id, "--json").document["fields"]
    return fields


def test_a_preview_names_who_wrote_the_present_value_and_writes_nothing(ledger: Command) -> None:
    ended = ledger("undo", "r-2", "--preview", code=8)
    shown = ended.stdout.decode()
    assert "contact/2" in shown
    assert "modified_since" in shown
    assert "r-3" in shown
    assert "Eve" in shown
    assert "--plan-digest" in ended.stderr
    assert state(ledger, "1") == {"name": "Ann", "city": "Paris"}


def test_an_undo_puts_back_what_was_left_alone_since(ledger: Command) -> None:
    result = ledger("undo", "r-2", "--yes", "--json", code=8).document
    assert result["status"] == "partial"
    assert result["counts"] == {"applied": 2, "skipped": 1, "noop": 0, "failed": 0}
    assert result["skipped"][0]["written_by"]["run_id"] == "r-3"
    assert state(ledger, "1") == {"name": "ann", "city": "paris"}
    assert state(ledger, "2") == {"name": "bob", "city": "Roma"}


def test_without_a_terminal_an_undo_wants_yes(ledger: Command) -> None:
    assert "--yes" in ledger("undo", "r-2", code=2).stderr
    assert state(ledger, "1") == {"name": "Ann", "city": "Paris"}


def test_the_same_key_is_one_undo(ledger: Command) -> None:
    first = ledger("undo", "r-2", "--yes", "--json", "--idempotency-key", "k", code=8).document
    again = ledger("undo", "r-2", "--yes", "--json", "--idempotency-key", "k", code=8).document
    assert (again["undo_id"], again["replayed"]) == (first["undo_id"], True)
    assert (again["applied"], again["skipped"]) == (first["applied"], first["skipped"])


def test_an_undone_run_is_refused_and_its_undo_can_be_undone(ledger: Command) -> None:
    undo_id = ledger("undo", "r-3", "--yes", "--json").document["undo_id"]
    refused = ledger("undo", "r-3", "--yes", code=4)
    assert undo_id in refused.stderr
    ledger("undo", undo_id, "--yes")
    assert state(ledger, "2") == {"name": "Bob", "city": "Roma"}
    ledger("undo", "r-3", "--yes")


def test_refusals_say_why_record_nothing_and_leave_the_run_free(ledger: Command, database: DatabaseUrls) -> None:
    ledger("run", "start", "--run-id", "seen", "--mode", "preview", "--object-type", "contact")
    ledger("run", "finish", "seen")
    ledger("run", "start", "--run-id", "open", "--object-type", "contact")
    services = bootstrap.connect(database.service_url)
    targets = services.targets(account_id_of("default"))
    away, own = "host=127.0.0.1 port=1 connect_timeout=1", database.owner_url
    for name, dsn, kind in (("away", away, "contact"), ("unset", "env:NOT_SET_ANYWHERE", "contact"),
                            ("deals", own, "deal"), ("gone", own, "contact")):  # fmt: skip
        targets.add(Target(name, "postgres", {"dsn": dsn, "tables": {kind: "not_there"}}))
    head = services.accounts().find("default").head
    refusals: list[tuple[tuple[str, ...], int, str]] = [
        (("nothing",), 4, "There is no run nothing"),
        (("seen",), 4, "was a preview"),
        (("open",), 4, "is still running. Finish it"),
        (("r-3", "--target", "nowhere"), 3, "no target nowhere"),
        (("r-3", "--target", "away"), 7, "does not answer: connection"),
        (("r-3", "--target", "unset"), 2, "$NOT_SET_ANYWHERE, which is not set"),
        (("r-3", "--target", "deals"), 3, "not_there"),
        (("r-3", "--target", "gone"), 3, "no table not_there"),
        (("r-3", "--plan-digest", "0" * 64), 4, "Look at the new plan"),
        (("r-3", "--records", "contact"), 2, "Expected TYPE/ID"),
        (("--resume", "r-3"), 3, "There is no undo r-3"),
        (("--cancel", "r-3"), 3, "There is no undo r-3"),
        (("--approve", "0" * 63), 2, "no digest"),
        (("r-3", "--resume", "x"), 2, "Give Run IDs, or one of"),
        ((), 2, "Give Run IDs, or one of"),
    ]
    for arguments, code, says in refusals:
        assert says in ledger("undo", *arguments, "--yes", code=code).stderr, arguments
    assert services.accounts().find("default").head == head
    services.close()
    ledger("undo", "r-3", "--yes")


def test_an_undo_whose_target_was_removed_can_still_be_cancelled(ledger: Command, database: DatabaseUrls) -> None:
    services = bootstrap.connect(database.service_url)
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("CREATE TABLE contacts (id text PRIMARY KEY, city text)")
    settings = {"dsn": database.owner_url, "tables": {"contact": "contacts"}}
    targets = services.targets(account_id_of("default"))
    targets.add(Target("shop", "postgres", settings))
    undo_id, _ = services.undo(account_id_of("default")).begin(UndoRequest(("r-3",), target="shop"))
    targets.remove("shop")
    services.close()
    assert "under way" in ledger("undo", "r-3", "--yes", code=4).stderr
    assert "no target shop" in ledger("undo", "--resume", undo_id, code=3).stderr
    assert ledger("undo", "--cancel", undo_id, "--json", code=8).document["status"] == "nothing_applied"
    ledger("undo", "r-3", "--yes")


@pytest.mark.parametrize(
    ("run_id", "code", "says"), [("nothing", 4, "There is no run nothing"), ("r-9\n", 4, "There is no run")]
)
def test_a_refusal_says_why(ledger: Command, run_id: str, code: int, says: str) -> None:
    assert says in ledger("undo", run_id, "--yes", code=code).stderr


def test_an_edited_report_selects_rows_and_columns(ledger: Command, tmp_path: Path) -> None:
    lines = ledger("report", "r-2").stdout.decode().splitlines()
    report = tmp_path / "edited.csv"
    cells = [line.split(",") for line in lines if "Bob" not in line]
    kept = [at for at, name in enumerate(cells[0]) if "name" not in name and "(After)" not in name]
    report.write_text("\n".join(",".join(row[at] for at in kept) for row in cells))
    result = ledger("undo", "r-2", "--yes", "--json", "--from-report", str(report)).document
    assert [(one["record_id"], one["fields"]) for one in result["applied"]] == [("1", {"city": "paris"})]
    assert state(ledger, "1") == {"name": "Ann", "city": "paris"}


def test_cells_that_differ_are_listed_before_the_plan_and_in_the_answer(ledger: Command, tmp_path: Path) -> None:
    report = tmp_path / "edited.csv"
    report.write_bytes(ledger("report", "r-2").stdout.replace(b"ann", b"hand"))
    shown = ledger("undo", "r-2", "--from-report", str(report), code=2).stderr
    assert "1 cells differ from the ledger" in shown
    assert all(part in shown for part in ("line 2", "contact/1", "name (Before)", "hand", "ann", "--yes"))
    for more in (("--preview",), ("--yes",)):
        told = ledger("undo", "r-2", "--json", "--from-report", str(report), *more, code=8).document["edited_report"]
        assert (told["rows"], told["counts"]) == (2, {"differing_cells": 1, "unknown_rows": 0})
        assert (told["differing_cells"][0]["found"], told["differing_cells"][0]["expected"]) == ("hand", "ann")
    assert state(ledger, "1") == {"name": "ann", "city": "paris"}


def test_an_xlsx_report_is_read_too_and_belongs_to_one_run(ledger: Command, tmp_path: Path) -> None:
    report, other = tmp_path / "report.xlsx", tmp_path / "other.xlsx"
    ledger("report", "r-3", "-o", str(report))
    assert "one run" in ledger("undo", "r-3", "r-2", "--yes", "--from-report", str(report), code=2).stderr
    record(ledger, "r-9", {"object_type": "note", "record_id": "n", "action": "create", "after": {"a": 1}})
    ledger("project", "--once")
    ledger("report", "r-9", "-o", str(other))
    assert "not one of run r-1" in ledger("undo", "r-1", "--yes", "--from-report", str(other), code=2).stderr
    ledger("undo", "r-3", "--yes", "--from-report", str(report))
    assert state(ledger, "2") == {"name": "Bob", "city": "Rome"}


def test_a_file_that_is_no_report_is_refused_with_its_line(ledger: Command, tmp_path: Path) -> None:
    report = tmp_path / "other.csv"
    report.write_text("a,b\n1,2\n")
    assert "Line 1" in ledger("undo", "r-2", "--yes", "--from-report", str(report), code=2).stderr


def test_filters_narrow_what_is_undone(ledger: Command) -> None:
    result = ledger("undo", "r-2", "--yes", "--json", "--fields", "name", "--records", "contact/1").document
    assert result["status"] == "completed"
    assert state(ledger, "1") == {"name": "ann", "city": "Paris"}
    assert json.loads(ledger("undo", "r-2", "--preview", "--json", code=8).stdout)["counts"]["applied"] == 2


def test_above_the_limit_a_second_person_must_approve(ledger: Command, database: DatabaseUrls) -> None:
    services = bootstrap.connect(database.service_url)
    services.undo(account_id_of("default")).approvals.set_threshold(1)
    services.close()
    digest = ledger("undo", "r-2", "--preview", "--json", code=8).document["digest"]
    assert digest in ledger("undo", "r-2", "--yes", "--user", "Ann", code=6).stderr
    ledger("undo", "--approve", digest, "--user", "Ann")
    ledger("undo", "r-2", "--yes", "--user", "Ann", "--plan-digest", digest, code=6)
    ledger("undo", "--approve", digest, "--user", "Eve")
    ledger("undo", "r-2", "--yes", "--user", "Ann", "--plan-digest", digest, code=8)


def test_a_plan_that_moved_is_not_applied(ledger: Command) -> None:
    digest = ledger("undo", "r-2", "--preview", "--json", code=8).document["digest"]
    ledger("undo", "r-3", "--yes")
    assert "changed since its plan" in ledger("undo", "r-2", "--yes", "--plan-digest", digest, code=4).stderr


def test_shipped_examples_conform(ledger: Command) -> None:
    played = ledger("conformance", "--only", "EX1,EX2", "--json").document
    assert played["counts"] == {"pass": 2, "fail": 0, "not applicable": 0}


def test_records_are_restored_to_a_moment_across_runs(ledger: Command) -> None:
    moves = [("r-4", "01", None, "Lima"), ("r-5", "03", "Lima", "Oslo"), ("r-6", "04", "Oslo", "Bern")]
    for run_id, day, city, then in moves:
        change = {"record_id": "n", "action": "update" if city else "create", "after": {"city": then}}
        change |= {"occurred_at": f"2026-01-{day}T00:00:00Z"} | ({"before": {"city": city}} if city else {})
        ledger("run", "start", "--run-id", run_id, "--object-type", "note")
        ledger("run", "changes", run_id, stdin=json.dumps(change).encode())
        ledger("run", "finish", run_id)
    undo_id = ledger("undo", "r-6", "--yes", "--json").document["undo_id"]
    result = ledger("restore", "note", "--as-of", "2026-01-02", "--yes", "--json").document
    assert (result["status"], sorted(result["runs"])) == ("completed", sorted(["r-5", "r-6", undo_id]))
    ledger("project", "--once")
    assert ledger("state", "note", "n", "--json").document["fields"] == {"city": "Lima"}
    assert ledger("restore", "note", "--as-of", "2100-01-01", "--yes").stdout == b""


def record(ledger: Command, run_id: str, *changes: dict[str, object]) -> None:
    """A whole run."""
    ledger("run", "start", "--run-id", run_id)
    ledger("run", "changes", run_id, stdin="\n".join(map(json.dumps, changes)).encode())
    ledger("run", "finish", run_id)


def test_declared_constraints_of_the_ledgers_own_records_are_honoured(ledger: Command, tmp_path: Path) -> None:
    schemas = {"person": {"references": {"firm": "firm"}}, "firm": {"unique": [["name"]], "required": ["name"]}}
    for object_type, document in schemas.items():
        file = tmp_path / f"{object_type}.json"
        file.write_text(json.dumps(document))
        ledger("schema", "set", object_type, str(file))
    assert ledger("schema", "list").document == schemas
    firm, person = {"object_type": "firm", "record_id": "f"}, {"object_type": "person", "record_id": "p"}
    record(ledger, "s-1", firm | {"action": "create", "after": {"name": "a"}})
    record(ledger, "s-2", person | {"action": "create", "after": {"firm": "f"}})
    record(ledger, "s-3", firm | {"action": "update", "before": {"name": "a"}, "after": {"name": "b"}})
    record(ledger, "s-4", {"object_type": "firm", "record_id": "g", "action": "create", "after": {"name": "a"}})
    refused = ledger("undo", "s-3", "--yes", "--json", code=8).document
    assert [(one["field"], one["reason"]) for one in refused["skipped"]] == [("name", "unique_violation")]
    kept = ledger("undo", "s-1", "s-3", "s-4", "--yes", "--json", code=8).document
    assert ("f", None, "still_referenced") in [(o["record_id"], o["field"], o["reason"]) for o in kept["skipped"]]
    whole = ledger("undo", "s-1", "s-2", "s-3", "--yes", "--json").document
    assert sorted((one["op"], one["record_id"]) for one in whole["applied"]) == [("delete", "f"), ("delete", "p")]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"unique": "name"}', '{"more": 1}'])
def test_a_bad_schema_is_refused(ledger: Command, tmp_path: Path, text: str) -> None:
    file = tmp_path / "schema.json"
    file.write_text(text)
    assert "schema" in ledger("schema", "set", "firm", str(file), code=2).stderr
