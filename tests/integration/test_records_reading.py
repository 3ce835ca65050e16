"""Records: state, history, blame and all states, at every kind of moment."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

import bootstrap
from bootstrap import Services
from ledger.domain.operation import User
from ledger.embedded import DatabaseUrls
from ledger.errors import InputError, NotFound
from ledger.ids import account_id_of
from ledger.json_text import encode
from projections.records import reading
from projections.records.moment import Moment
from tests.examples import a_change, add_account, an_operation, record

ACCOUNT = account_id_of("default")


@pytest.fixture
def services(database: DatabaseUrls) -> Iterator[Services]:
    """c-1 is created by R1, updated by R2, R3 fails on it, R4 deletes it, a preview would update it."""
    found = bootstrap.connect(database.service_url)
    add_account(found.database)
    ledger = found.ledger(ACCOUNT)
    create = {"action": "create", "record_id": "c-1", "after": {"name": "Ann", "phone": "1", "fax": None}}
    update = {"action": "update", "record_id": "c-1", "before": {"phone": "1", "fax": None}, "after": {"phone": "2"}}
    record(
        ledger, "R1", [at(2020, create), at(2020, {"action": "create", "record_id": "c-2", "after": {"name": "Bo"}})]
    )
    record(ledger, "R2", [at(2018, update)], user=User(name="Ben"))
    record(ledger, "R3", [at(2021, update | {"result": "failed", "message": "refused"})])
    record(ledger, "P1", [update | {"after": {"phone": "9"}}], mode="preview")
    record(ledger, "R4", [at(2022, {"action": "delete", "record_id": "c-1", "before": {"name": "Ann", "phone": "2"}})])
    record(ledger, "R5", [at(2022, {"action": "none", "record_id": "c-3"})])
    yield found
    found.close()


def at(year: int, line: dict[str, Any]) -> dict[str, Any]:
    return line | {"occurred_at": f"{year}-01-01T00:00:00Z"}


def year(number: int) -> datetime:
    return datetime(number, 6, 1, tzinfo=UTC)


CREATED = {"name": b'"Ann"', "phone": b'"1"', "fax": b"null"}
UPDATED = {"name": b'"Ann"', "phone": b'"2"'}


@pytest.mark.parametrize(
    ("moment", "presence", "fields", "run_id"),
    [
        (Moment.now(), "deleted", None, "R4"),
        (Moment.after_run("R1"), "present", CREATED, "R1"),
        (Moment.before_run("R2"), "present", CREATED, "R1"),
        (Moment.after_run("R2"), "present", UPDATED, "R2"),
        (Moment.after_run("R3"), "present", UPDATED, "R2"),
        (Moment.after_run("P1"), "present", UPDATED, "R2"),
        (Moment.before_run("R4"), "present", UPDATED, "R2"),
        (Moment.before_run("R1"), "never_seen", None, None),
        (Moment.at_position(0), "never_seen", None, None),
        (Moment.at_position(2), "present", CREATED, "R1"),
        (Moment.at(year(2017)), "never_seen", None, None),
        (Moment.at(year(2019)), "present", {"phone": b'"2"'}, "R2"),
        (Moment.at(year(2021)), "present", UPDATED, "R2"),
        (Moment.at(year(2023)), "deleted", None, "R4"),
        (Moment.recorded_at(year(2019)), "never_seen", None, None),
    ],
    ids=lambda value: value.shown if isinstance(value, Moment) else "",
)
def test_state_at_a_moment(
    services: Services, moment: Moment, presence: str, fields: dict[str, bytes] | None, run_id: str | None
) -> None:
    state = services.records(ACCOUNT).state("contact", "c-1", moment)
    assert (state.presence, state.fields, state.run_id) == (presence, fields, run_id)


def test_state_when_the_ledger_knew_it(services: Services) -> None:
    records = services.records(ACCOUNT)
    created_at = records.state("contact", "c-1", Moment.after_run("R1")).recorded_at
    assert created_at is not None
    moment = Moment.recorded_at(created_at)
    assert records.state("contact", "c-1", moment).fields == CREATED
    assert records.state("contact", "c-1", Moment.recorded_at(created_at - timedelta(microseconds=1))).fields is None


def test_absence_says_why(services: Services) -> None:
    records = services.records(ACCOUNT)
    assert "run R4 deleted it" in records.state("contact", "c-1").message
    assert "no run had named it" in records.state("contact", "c-9").message
    assert records.state("contact", "c-3").presence == "unknown"


def test_unknown_runs_and_positions_are_refused(services: Services) -> None:
    records = services.records(ACCOUNT)
    for moment in (Moment.after_run("R9"), Moment.before_run("R9")):
        with pytest.raises(NotFound, match="no run R9"):
            records.state("contact", "c-1", moment)
        with pytest.raises(NotFound, match="no run R9"):
            records.states("contact", moment)
    for position in (-1, 10_000):
        with pytest.raises(InputError, match=str(position)):
            records.state("contact", "c-1", Moment.at_position(position))


def test_history_has_every_change_newest_first_failed_ones_too(services: Services) -> None:
    history = services.records(ACCOUNT).history("contact", "c-1")
    assert [(change.run_id, change.action, change.result) for change in history.changes] == [
        ("R4", "delete", "succeeded"),
        ("R3", "update", "failed"),
        ("R2", "update", "succeeded"),
        ("R1", "create", "succeeded"),
    ]
    assert [change.actor for change in history.changes] == ["Ann Example", "Ann Example", "Ben", "Ann Example"]
    assert (history.presence, history.next_after) == ("deleted", None)
    assert history.changes[2].before == b'{"phone":"1","fax":null}'


def test_history_comes_in_pages(services: Services) -> None:
    records = services.records(ACCOUNT)
    runs, after = [], None
    while True:
        page = records.history("contact", "c-1", after=after, limit=3)
        runs.append([change.run_id for change in page.changes])
        if page.next_after is None:
            break
        after = page.next_after
    assert runs == [["R4", "R3", "R2"], ["R1"]]
    with pytest.raises(InputError):
        records.history("contact", "c-1", limit=0)


def test_blame_names_the_change_that_gave_each_field_its_value(services: Services) -> None:
    blame = services.records(ACCOUNT).blame("contact", "c-1", Moment.after_run("R3"))
    assert [(field.field, field.value, field.run_id, field.user) for field in blame.fields] == [
        ("name", b'"Ann"', "R1", "Ann Example"),
        ("phone", b'"2"', "R2", "Ben"),
    ]


def test_blame_stays_with_the_run_that_first_gave_the_value(services: Services) -> None:
    again = {"action": "update", "record_id": "c-2", "before": {"name": "Bo"}, "after": {"name": "Bo", "age": 3}}
    record(services.ledger(ACCOUNT), "R6", [again])
    blame = services.records(ACCOUNT).blame("contact", "c-2")
    assert [(field.field, field.run_id) for field in blame.fields] == [("age", "R6"), ("name", "R1")]


def test_states_at_a_moment_equal_each_records_own_state(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "STATES_RECORDS", 3)
    monkeypatch.setattr(reading, "STATES_ROWS", 2)
    ledger = services.ledger(ACCOUNT)
    record(ledger, "R6", [a_change(number, action="create", before=...) for number in range(20)])
    record(ledger, "R7", [a_change(number, before={"phone": "x"}, after={"n": number}) for number in range(0, 20, 2)])
    record(ledger, "R8", [a_change(number, action="delete", after=...) for number in range(0, 20, 5)])
    services.project_once(ACCOUNT)
    records = services.records(ACCOUNT)
    ids = sorted(["c-1", "c-2", "c-3", *(f"r-{number}" for number in range(20))])
    for moment in (Moment.now(), Moment.after_run("R6"), Moment.after_run("R7"), Moment.at(year(2021))):
        own = [records.state("contact", record_id, moment) for record_id in ids]
        expected = [
            {"object_type": "contact", "record_id": state.record_id, "fields": state.as_dict()["fields"]}
            for state in own
            if state.is_present
        ]
        assert encode(list(records.states("contact", moment))) == encode(expected)


def test_states_do_not_see_what_is_recorded_while_they_are_read(services: Services) -> None:
    services.project_once(ACCOUNT)
    states = services.records(ACCOUNT).states("contact")
    record(services.ledger(ACCOUNT), "R6", [a_change(1, action="create", before=..., record_id="c-9")])
    services.project_once(ACCOUNT)
    assert [state["record_id"] for state in states] == ["c-2"]


def test_after_a_recipe_is_after_the_last_of_its_children(services: Services) -> None:
    ledger = services.ledger(ACCOUNT)
    ledger.start_run(an_operation(kind="recipe"), run_id="recipe")
    ledger.finish_run("recipe")
    record(ledger, "child", [a_change(1, record_id="c-2", after={"name": "Cy"})], recipe_run_id="recipe")
    record(ledger, "later", [a_change(1, record_id="c-2", after={"name": "Di"})])
    services.project_once(ACCOUNT)
    state = services.records(ACCOUNT).state("contact", "c-2", Moment.after_run("recipe"))
    assert state.fields is not None
    assert state.fields["name"] == b'"Cy"'
