"""The OCSF export: each event is a valid one of its class, none is left out or told twice, none holds a value."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from ledger.embedded import DatabaseUrls
from ledger.sending.keeping import KeepingCalls
from tests.command import Command
from tests.examples import a_change, a_ledger, record
from tests.projected import record_history
from tests.web import Web, opened_web, problem

ACTIVITIES = {0, 1, 2, 3, 4, 99}
"""Entity Management [3004] in https://schema.ocsf.io/1.3.0/classes/entity_management, as far as it is used here."""
REQUIRED: dict[str, type] = {
    "activity_id": int, "category_uid": int, "class_uid": int, "severity_id": int, "time": int, "type_uid": int,
    "metadata": dict, "entity": dict,
}  # fmt: skip
OPTIONAL: dict[str, type] = {
    "activity_name": str, "category_name": str, "class_name": str, "status_id": int, "status": str, "message": str,
    "actor": dict, "unmapped": dict,
}  # fmt: skip


def check_event(event: Mapping[str, Any]) -> None:
    """The attributes of the class: those required are there, of their types; enumerations and constraints are kept."""
    assert REQUIRED.keys() <= event.keys() <= {**REQUIRED, **OPTIONAL}.keys()
    for name, kind in {**REQUIRED, **OPTIONAL}.items():
        assert name not in event or type(event[name]) is kind, name
    assert (event["category_uid"], event["class_uid"]) == (3, 3004)
    assert event["activity_id"] in ACTIVITIES
    assert event["type_uid"] == event["class_uid"] * 100 + event["activity_id"]
    assert event["activity_id"] != 99 or event["activity_name"], "Other needs its name"
    assert event["severity_id"] in range(7)
    assert event["status_id"] in (0, 1, 2, 99)
    assert 1_500_000_000_000 < event["time"] < 5_000_000_000_000, "milliseconds since 1970"
    metadata = event["metadata"]
    assert metadata["version"].count(".") == 2
    assert metadata["product"]["name"]
    assert metadata["product"]["vendor_name"]
    assert any(event["entity"].get(name) for name in ("name", "uid"))
    assert any(event["actor"].get(name) for name in ("user", "app_name"))
    assert all(isinstance(user["name"], str) for user in [event["actor"].get("user")] if user is not None)


def all_pages(web: Web) -> list[dict[str, Any]]:
    """Every event, page by page along the cursor."""
    events: list[dict[str, Any]] = []
    cursor = "0"
    while True:
        answer = web.get(f"/v1/export/ocsf?cursor={cursor}")
        assert answer.status_code == 200
        events += map(json.loads, answer.text.splitlines())
        if answer.headers["Ledger-Cursor"] == cursor:
            return events
        cursor = answer.headers["Ledger-Cursor"]


def test_every_change_is_one_valid_event(database: DatabaseUrls) -> None:
    with opened_web(database.service_url) as web:
        record_history(web.services.ledger(web.account_id))
        events = all_pages(web)
        for event in events:
            check_event(event)
        positions = [event["metadata"]["sequence"] for event in events]
        assert positions == sorted(set(positions))
        assert len({event["metadata"]["uid"] for event in events}) == len(events)
        web.services.project_once(web.account_id)
        runs = web.get("/v1/runs?mode=update&page_size=200").get_json()["runs"]
        assert len(events) == sum(run["tally"]["processed"] for run in runs if run["kind"] != "recipe")
        failed = [event for event in events if event["status_id"] == 2]
        assert len(failed) == sum(run["tally"]["failed"] for run in runs if run["kind"] != "recipe")


def test_events_hold_names_of_fields_and_no_values(database: DatabaseUrls) -> None:
    with opened_web(database.service_url) as web:
        web.record([{**a_change(1), "label": "bo@example.com", "message": "bo"}], user={"name": "Ann"}, module="format")
        (event,) = all_pages(web)
        assert event["entity"] == {"type": "contact", "uid": "r-1"}
        assert event["actor"] == {"user": {"name": "Ann"}, "app_name": "format"}
        assert event["unmapped"]["fields"] == ["phone"]
        assert not [text for text in ("bo@example.com", "202 555", "+1202") if text in json.dumps(event)]


def test_erasures_and_rules_are_told(database: DatabaseUrls) -> None:
    with opened_web(database.service_url) as web:
        web.record([a_change(1)])
        services = web.services
        services.keeping(web.account_id).place_hold("deal", None, reason="Case", user="Ann")
        services.keeping(web.account_id).set_retention("contact", 30, reason="Policy", user="Ann")
        services.erasure(web.account_id).erase("contact", "r-1", reason="Request", user="Ann")
        events = all_pages(web)
        for event in events:
            check_event(event)
        assert [(event["activity_name"], event["entity"]["type"]) for event in events] == [
            ("Update", "contact"), ("Create", "legal hold"), ("Update", "retention policy"), ("erase", "contact")
        ]  # fmt: skip


@pytest.mark.parametrize("cursor", ["999", "-1", "x"])
def test_a_cursor_that_is_none_is_refused(database: DatabaseUrls, cursor: str) -> None:
    with opened_web(database.service_url) as web:
        assert problem(web.get(f"/v1/export/ocsf?cursor={cursor}"))["status"] == 422
        assert web.get("/v1/export/ocsf", role="producer").status_code == 403


def test_the_command_goes_on_after_its_cursor(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        record(ledger, "R1", [a_change(1), a_change(2)])
        command = Command(urls=database)
        first = command("export", "ocsf")
        assert [line["metadata"]["sequence"] for line in first.lines] == [2, 3]
        assert "Go on with --after 5." in first.stderr
        record(ledger, "R2", [a_change(3)])
        assert [line["entity"]["uid"] for line in command("export", "ocsf", "--after", 5).lines] == ["r-3"]
        assert command("export", "ocsf", "--after", 999, code=2).stderr.startswith("Error: The cursor 999")


def test_the_client_erases_and_says_what_is_kept(database: DatabaseUrls) -> None:
    with opened_web(database.service_url) as web:
        web.record([a_change(1), a_change(2)])

        class Asking:
            """What the client's channel does, without a network."""

            def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Any:
                sent = {**(headers or {}), "Authorization": f"Bearer {web.tokens['admin']}"}
                answer = web.client.open(f"/v1{path}", method=method, data=body, headers=sent)
                assert answer.status_code < 300, answer.text
                return answer.get_json()

        keeping = KeepingCalls(Asking())
        erased = keeping.erase("contact", "r-1", fields=["phone"], reason="Request 7")
        assert keeping.erasures() == [erased]
        assert [hold["record_id"] for hold in keeping.hold("contact", "r-2", reason="Case")] == ["r-2"]
        assert keeping.lift_hold("contact", "r-2", reason="Closed") == keeping.holds() == []
        assert [rule["keep_days"] for rule in keeping.keep("contact", 30, reason="Policy")] == [30]
        assert keeping.retention()[0]["what"] == "before"
        assert keeping.apply_retention()[0]["erased"] == 0
