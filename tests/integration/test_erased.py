"""Readers where the content of events was erased, as a later issue will: nothing breaks, nothing is made up."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import psycopg
import pytest

import bootstrap
from bootstrap import Services
from ledger.embedded import DatabaseUrls
from ledger.ids import account_id_of
from migrations.migrate import migrate
from projections.run_changes.view import ChangeQuery, ChangeSearch
from tests.examples import a_change, add_account, record
from tests.read_report import csv_cells

ACCOUNT = account_id_of("default")


@pytest.fixture
def services(empty_database: DatabaseUrls) -> Iterator[Services]:
    """Run R1 of r-1 and r-2, at positions 2 and 3; the content of the first is erased."""
    migrate(empty_database.owner_url)
    found = bootstrap.connect(empty_database.service_url)
    add_account(found.database)
    record(found.ledger(ACCOUNT), "R1", [a_change(1), a_change(2)])
    found.project_once(ACCOUNT)
    with psycopg.connect(empty_database.owner_url) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER refuse_change")
        connection.execute("UPDATE events SET payload = NULL, salt = NULL WHERE position = 2")
        connection.execute("ALTER TABLE events ENABLE ALWAYS TRIGGER refuse_change")
    yield found
    found.close()


def test_erased_changes_are_marked_in_reports(services: Services) -> None:
    reports = services.reports(ACCOUNT)
    csv_rows = csv_cells(b"".join(reports.open("R1").blocks))
    assert [row[1:3] for row in csv_rows[1:]] == [["(The content of this change was erased.)", ""], ["", "r-2"]]
    lines = b"".join(reports.open("R1", "ndjson").blocks).splitlines()
    first, second = (msgspec.json.decode(line) for line in lines)
    assert (first["erased"], first["record_id"], second["record_id"]) == (True, None, "r-2")


def test_erased_changes_are_marked_on_pages_and_hold_no_value_to_find(services: Services) -> None:
    run_changes = services.run_changes(ACCOUNT)
    page = run_changes.page(ChangeQuery("R1"))
    assert [(change.position, change.erased) for change in page.changes] == [(2, True), (3, False)]
    found = run_changes.search(ChangeSearch(field="phone", old_value="202 555 0100"))
    assert [change.position for change in found.changes] == [3]


def test_state_of_a_record_says_that_something_was_erased(services: Services) -> None:
    records = services.records(ACCOUNT)
    state = records.state("contact", "r-1")
    assert (state.presence, state.erased, state.fields) == ("unknown", True, None)
    assert [change.erased for change in records.history("contact", "r-1").changes] == [True]
    assert records.blame("contact", "r-1").fields == ()
    assert [found["record_id"] for found in records.states("contact")] == ["r-2"]
