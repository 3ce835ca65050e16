"""Reports of runs that lie in a real database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

import bootstrap
from bootstrap import Services
from ledger.embedded import DatabaseUrls
from ledger.errors import InputError, NoReport, NotFound
from ledger.ids import account_id_of
from ledger.service import AccountLedger
from projections.reports import postgres
from tests.examples import a_change, add_account, an_operation, changes, record
from tests.read_report import csv_cells, read_exact

ACCOUNT = account_id_of("default")


@pytest.fixture
def services(database: DatabaseUrls) -> Iterator[Services]:
    found = bootstrap.connect(database.service_url)
    add_account(found.database)
    yield found
    found.close()


@pytest.fixture
def ledger(services: Services) -> AccountLedger:
    return services.ledger(ACCOUNT)


def report(services: Services, run_id: str, form: Any = "csv", **options: Any) -> bytes:
    return b"".join(services.reports(ACCOUNT).open(run_id, form, **options).blocks)


def test_report_holds_each_change_with_before_and_after_side_by_side(services: Services, ledger: AccountLedger) -> None:
    lines = [
        {"record_id": "c-1", "action": "update", "before": {"Phone": "1"}, "after": {"Phone": "+1", "City": "Bonn"},
         "label": "ann@example.com", "link": "https://crm.example/c-1", "message": "formatted",
         "details": {"Rule": "E.164"}},
        {"record_id": "c-2", "action": "update", "result": "failed", "message": "no such record",
         "before": {"City": "x"}},
    ]  # fmt: skip
    record(ledger, "R1", lines)
    rows = csv_cells(report(services, "R1"))
    assert rows == [
        ["Result", "Message", "Record ID", "Email or Name", "Link", "Action", "Phone (Before)", "Phone (After)",
         "City (Before)", "City (After)", "Rule"],
        ["succeeded", "formatted", "c-1", "ann@example.com", "https://crm.example/c-1", "update", "1", "'+1",
         "", "Bonn", "E.164"],
        ["failed", "no such record", "c-2", "", "", "update", "", "", "x", "", ""],
    ]  # fmt: skip


def test_report_names_the_run_in_title_and_file_name(services: Services, ledger: AccountLedger) -> None:
    record(ledger, "2026:R~1", [a_change()])
    opened = services.reports(ACCOUNT).open("2026:R~1", "xlsx")
    assert (opened.title, opened.file_name) == ("Run 2026:R~1", "report-2026_R~1.xlsx")
    assert b"".join(opened.blocks).startswith(b"PK")


def test_several_object_types_get_a_column(services: Services, ledger: AccountLedger) -> None:
    record(ledger, "R1", [a_change(1), a_change(2, object_type="company")])
    assert [row.own["Object Type"] for row in read_exact(report(services, "R1", dialect="exact"))] == [
        "contact",
        "company",
    ]


def test_report_of_a_recipe_holds_all_children_in_the_order_of_their_start(
    services: Services, ledger: AccountLedger
) -> None:
    ledger.start_run(an_operation(kind="recipe"), run_id="recipe")
    record(ledger, "second-by-name", [a_change(1), a_change(2)], recipe_run_id="recipe")
    record(ledger, "a-later-one", [a_change(3)], recipe_run_id="recipe")
    record(ledger, "preview", [a_change(4)], recipe_run_id="recipe", mode="preview")
    record(ledger, "stranger", [a_change(5)])
    services.project_once(ACCOUNT)
    rows = read_exact(report(services, "recipe", dialect="exact"))
    assert [(row.own["Run ID"], row.own["Record ID"]) for row in rows] == [
        ("second-by-name", "r-1"),
        ("second-by-name", "r-2"),
        ("a-later-one", "r-3"),
    ]


def test_runs_of_small_batches_among_others_are_read_whole(
    services: Services, ledger: AccountLedger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres, "SPAN_BYTES_MAX", 300)
    monkeypatch.setattr(postgres, "STREAM_ROWS", 4)
    for run_id in ("R1", "R2"):
        ledger.start_run(an_operation(), run_id=run_id)
    for number in range(1, 31):
        ledger.record_changes("R1", [changes(number, number)])
        if number % 3:
            ledger.record_changes("R2", [changes(number * 100, number * 100 + number)])
    lines = [msgspec.json.decode(line) for line in report(services, "R1", "ndjson").splitlines()]
    assert [(line["sequence"], line["record_id"]) for line in lines] == [(n, f"r-{n}") for n in range(1, 31)]
    assert [row.own["Record ID"] for row in read_exact(report(services, "R1", dialect="exact"))] == [
        f"r-{n}" for n in range(1, 31)
    ]


def test_previews_have_a_report_only_on_request(services: Services, ledger: AccountLedger) -> None:
    record(ledger, "P1", [a_change()], mode="preview")
    with pytest.raises(NoReport, match="preview"):
        services.reports(ACCOUNT).open("P1")
    assert len(csv_cells(report(services, "P1", include_preview=True))) == 2


def test_system_error_before_any_change_has_no_report(services: Services, ledger: AccountLedger) -> None:
    ledger.start_run(an_operation(), run_id="F1")
    ledger.fail_run("F1", "quota", "API quota exhausted")
    with pytest.raises(NoReport, match="quota"):
        services.reports(ACCOUNT).open("F1")


def test_system_error_after_some_changes_has_a_report_of_these(services: Services, ledger: AccountLedger) -> None:
    record(ledger, "F1", [a_change(1), a_change(2)], finish=False)
    ledger.fail_run("F1", "quota", "API quota exhausted")
    assert len(csv_cells(report(services, "F1"))) == 3


def test_finished_run_without_changes_has_a_report_of_its_header(services: Services, ledger: AccountLedger) -> None:
    ledger.start_run(an_operation(), run_id="R1")
    ledger.finish_run("R1")
    assert csv_cells(report(services, "R1")) == [["Result", "Message", "Record ID", "Email or Name", "Link", "Action"]]


def test_unknown_run_format_and_dialect_are_refused_before_the_first_block(
    services: Services, ledger: AccountLedger
) -> None:
    record(ledger, "R1", [a_change()])
    reports = services.reports(ACCOUNT)
    with pytest.raises(NotFound, match="no run R9"):
        reports.open("R9")
    with pytest.raises(InputError, match="pdf"):
        reports.open("R1", "pdf")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="latin"):
        reports.open("R1", dialect="latin")  # type: ignore[arg-type]
