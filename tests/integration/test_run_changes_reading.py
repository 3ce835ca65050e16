"""Pages of a run's changes, and the search across runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

import bootstrap
from bootstrap import Services
from ledger.domain.operation import Saved, User
from ledger.embedded import DatabaseUrls
from ledger.errors import InputError, NotFound
from ledger.ids import account_id_of
from ledger.json_text import encode
from projections.run_changes import reading
from projections.run_changes.view import Change, ChangePage, ChangeQuery, ChangeSearch
from tests.examples import a_change, add_account, an_operation, record

ACCOUNT = account_id_of("default")


@pytest.fixture
def services(database: DatabaseUrls) -> Iterator[Services]:
    found = bootstrap.connect(database.service_url)
    add_account(found.database)
    yield found
    found.close()


def page(services: Services, run_id: str, **filters: Any) -> ChangePage:
    services.project_once(ACCOUNT)
    return services.run_changes(ACCOUNT).page(ChangeQuery(run_id, **filters))


def search(services: Services, **filters: Any) -> list[str | None]:
    """Record ids of everything found, over all pages."""
    services.project_once(ACCOUNT)
    found = services.run_changes(ACCOUNT).search
    return [change.record_id for change in all_pages(lambda after: found(ChangeSearch(after=after, **filters)))]


def all_pages(fetch: Callable[[int | None], ChangePage]) -> list[Change]:
    found: list[Change] = []
    after: int | None = None
    while True:
        some = fetch(after)
        found += some.changes
        if some.next_after is None:
            return found
        after = some.next_after


def test_page_shows_changes_exactly_as_they_were_sent(services: Services) -> None:
    line = a_change(1, before=None, after={"n": 10**30, "f": 1.5}, label="ann@example.com", details={"k": [1]})
    record(services.ledger(ACCOUNT), "R1", [line, a_change(2, action="create", before=..., after={})])
    first, second = page(services, "R1").changes
    shown = first.as_dict()
    assert encode([shown["before"], shown["after"], shown["details"]]) == (
        b'[null,{"n":1000000000000000000000000000000,"f":1.5},{"k":[1]}]'
    )
    assert (shown["record_id"], shown["label"], shown["actor"]) == ("r-1", "ann@example.com", "Ann Example")
    assert "before" not in second.as_dict()
    assert "details" not in second.as_dict()


def test_pages_follow_one_another_without_gap_or_repeat(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "WINDOW_ROWS", 7)
    record(services.ledger(ACCOUNT), "R1", map(a_change, range(1, 31)))
    services.project_once(ACCOUNT)
    run_changes = services.run_changes(ACCOUNT)
    found = all_pages(lambda after: run_changes.page(ChangeQuery("R1", after=after, limit=4)))
    assert [change.record_id for change in found] == [f"r-{number}" for number in range(1, 31)]


def test_page_with_rare_matches_goes_on_after_a_bounded_look(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "WINDOW_ROWS", 5)
    monkeypatch.setattr(reading, "SCAN_ROWS_MAX", 10)
    record(services.ledger(ACCOUNT), "R1", [*map(a_change, range(1, 31)), a_change(31, message="Rare")])
    first = page(services, "R1", text="rare")
    assert (first.changes, first.next_after is None) == ((), False)
    run_changes = services.run_changes(ACCOUNT)
    found = all_pages(lambda after: run_changes.page(ChangeQuery("R1", text="rare", after=after)))
    assert [change.record_id for change in found] == ["r-31"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"result": "failed"}, ["r-3"]),
        ({"result": "succeeded"}, ["r-1", "r-2", "r-4"]),
        ({"action": "merge"}, ["r-4"]),
        ({"record_id": "r-2"}, ["r-2"]),
        ({"object_type": "company"}, ["r-2"]),
        ({"field": "City"}, ["r-2"]),
        ({"field": "nul\0"}, ["r-4"]),
        ({"text": "ÜBER quota"}, ["r-3"]),
        ({"text": "100%"}, []),
        ({"record_id": "r\0"}, []),
    ],
)
def test_page_filters(services: Services, filters: dict[str, str], expected: list[str]) -> None:
    lines = [
        a_change(1, message="ok"),
        a_change(2, object_type="company", after={"City": "Bonn"}),
        a_change(3, result="failed", message="über Quota: 1000"),
        a_change(4, action="merge", after={"nul\0": 1}),
    ]
    record(services.ledger(ACCOUNT), "R1", lines)
    assert [change.record_id for change in page(services, "R1", **filters).changes] == expected


def test_page_of_a_recipe_goes_through_its_children_in_order(services: Services) -> None:
    ledger = services.ledger(ACCOUNT)
    ledger.start_run(an_operation(kind="recipe"), run_id="recipe")
    record(ledger, "z", map(a_change, range(1, 6)), recipe_run_id="recipe")
    record(ledger, "a", map(a_change, range(6, 11)), recipe_run_id="recipe")
    services.project_once(ACCOUNT)
    run_changes = services.run_changes(ACCOUNT)
    found = all_pages(lambda after: run_changes.page(ChangeQuery("recipe", after=after, limit=3)))
    assert [change.record_id for change in found] == [f"r-{number}" for number in range(1, 11)]


def test_bad_questions_are_refused(services: Services) -> None:
    record(services.ledger(ACCOUNT), "R1", [a_change()])
    with pytest.raises(NotFound, match="no run R9"):
        page(services, "R9")
    for bad in ({"limit": 0}, {"limit": 1_001}, {"result": "odd"}, {"after": -1}):
        with pytest.raises(InputError):
            page(services, "R1", **bad)
        with pytest.raises(InputError):
            search(services, **bad) if "after" not in bad else services.run_changes(ACCOUNT).search(ChangeSearch(**bad))


@pytest.fixture
def searchable(services: Services) -> Services:
    ledger = services.ledger(ACCOUNT)
    ben: dict[str, Any] = {"user": User("u-2", "Ben", "ben@example.com"), "template": Saved("t-2", None)}
    old = {"occurred_at": "2020-01-01T00:00:00Z"}
    record(ledger, "R1", [
        a_change(1, before={"City": "Köln", "n": 1}, after={"City": "Bonn", "n": 2}),
        a_change(2, before={"City": "Bonn"}, after={"City": "Köln"}, **old),
    ])  # fmt: skip
    record(ledger, "R2", [a_change(3, before={"Town": "Bonn"}, after={"Town": None, "n": 1}, result="failed")], **ben)
    record(ledger, "P1", [a_change(4, after={"City": "Bonn"})], mode="preview")
    return services


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["r-3", "r-2", "r-1"]),
        ({"preview": True}, ["r-4", "r-3", "r-2", "r-1"]),
        ({"field": "City"}, ["r-2", "r-1"]),
        ({"value": "Bonn"}, ["r-3", "r-2", "r-1"]),
        ({"field": "City", "old_value": "Bonn"}, ["r-2"]),
        ({"old_value": "Köln", "new_value": "Bonn"}, ["r-1"]),
        ({"old_value": "Köln", "new_value": "2"}, []),
        ({"new_value": "1"}, ["r-3"]),
        ({"new_value": ""}, ["r-3"]),
        ({"user": "Ben"}, ["r-3"]),
        ({"template": "t-2"}, ["r-3"]),
        ({"template": "Tidy phone numbers"}, ["r-2", "r-1"]),
        ({"to_at": datetime(2020, 1, 2, tzinfo=UTC)}, ["r-2"]),
        ({"from_at": datetime(2020, 1, 2, tzinfo=UTC), "field": "City"}, ["r-1"]),
        ({"object_type": "contact", "record_id": "r-2"}, ["r-2"]),
        ({"run_id": "R1"}, ["r-2", "r-1"]),
        ({"run_id": "R2", "result": "failed"}, ["r-3"]),
        ({"run_id": "P1", "preview": True}, ["r-4"]),
        ({"field": "nowhere"}, []),
        ({"text": "x"}, []),
    ],
)
def test_search_filters(searchable: Services, filters: dict[str, Any], expected: list[str]) -> None:
    assert search(searchable, **filters) == expected
    assert search(searchable, limit=1, **filters) == expected


def test_search_over_many_blocks_goes_on_after_a_bounded_look(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "SCAN_BLOCKS_MAX", 1)
    ledger = services.ledger(ACCOUNT)
    record(ledger, "R1", [a_change(1, after={"City": "Bonn"}), *map(a_change, range(2, 5_001))])
    record(ledger, "R2", map(a_change, range(1, 5_001)))
    services.project_once(ACCOUNT)
    run_changes = services.run_changes(ACCOUNT)
    first = run_changes.search(ChangeSearch(value="Bonn"))
    assert (first.changes, first.searched_to) == ((), 8_192)
    assert search(services, value="Bonn") == ["r-1"]
    assert run_changes.search(ChangeSearch(value="Bonn", field="City")).changes[0].record_id == "r-1"
