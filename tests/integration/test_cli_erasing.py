"""`ledger erase`, `erasures`, `hold`, `retention` as an administrator types them."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.embedded import DatabaseUrls
from tests.command import Command
from tests.everything import tables_with
from tests.examples import a_change, a_ledger, record


@pytest.fixture
def command(database: DatabaseUrls) -> Command:
    with a_ledger(database.service_url) as ledger:
        record(ledger, "R1", [a_change(1, label="bo@example.com"), a_change(2)])
    return Command(urls=database)


def test_erase_asks_says_what_it_will_take_and_lists_it(command: Command, database: DatabaseUrls) -> None:
    arguments = ("erase", "contact", "r-1", "--reason", "Request 7", "--user", "Ann")
    declined = command(*arguments, stdin=b"n\n", code=None)
    assert declined.code != 0
    assert "Erase everything of contact r-1, in 1 events? It cannot come back." in declined.stderr
    assert tables_with(database.owner_url, b"bo@example.com") != []
    done = command(*arguments, "--yes", "--json")
    assert (done.document["events"], done.document["user"]) == (1, "Ann")
    assert "No LEDGER_ERASURE_LIST is set" in done.stderr
    assert tables_with(database.owner_url, b"bo@example.com") == []
    assert [line["run_id"] for line in command("erasures", "--ndjson").lines] == [done.document["run_id"]]
    assert b"Request 7" in command("erasures").stdout
    command("project", "--once")
    assert b"(erased: phone)" in command("history", "contact", "r-1").stdout


def test_an_exported_list_is_replayed(command: Command, tmp_path: Path) -> None:
    command("erase", "contact", "r-1", "--fields", "phone", "--reason", "Request 7", "--yes")
    command("erasures", "--ndjson", "-o", tmp_path / "list.ndjson")
    assert command("erase", "--replay", tmp_path / "list.ndjson", "--yes", "--json").document == {
        "listed": 1, "repeated": []
    }  # fmt: skip
    (tmp_path / "bad").write_text("{}\n")
    assert "Line 1 of" in command("erase", "--replay", tmp_path / "bad", "--yes", code=2).stderr


def test_holds_and_retention(command: Command) -> None:
    command("hold", "add", "contact", "r-1", "--reason", "Case 7")
    assert command("hold", "list", "--json").document[0]["record_id"] == "r-1"
    refused = command("erase", "contact", "r-1", "--reason", "x", "--yes", code=4)
    assert "A legal hold is on the contact r-1" in refused.stderr
    command("hold", "remove", "contact", "r-1", "--reason", "Closed")
    command("erase", "contact", "r-1", "--reason", "x", "--yes")
    command("retention", "set", "contact", "--keep", "30", "--reason", "Policy 4")
    assert command("retention", "list", "--ndjson").lines[0]["keep_days"] == 30
    applied = command("retention", "apply", "--json").document["applied"]
    assert [(each["object_type"], each["erased"]) for each in applied] == [("contact", 0)]
    command("retention", "remove", "contact", "--reason", "Replaced")
    assert command("hold", "list").code == 0


def test_usage(command: Command) -> None:
    assert "Give OBJECT_TYPE, RECORD_ID and --reason" in command("erase", "contact", code=2).stderr
    assert command("erase", "contact", "r-9", "--reason", "x", "--yes", code=3).stderr.startswith("Error: No run ever")
