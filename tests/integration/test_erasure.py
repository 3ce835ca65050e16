"""Erasure, as an administrator uses it: afterwards no table, report or answer holds the data; all the rest works."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

import bootstrap
from bootstrap import Services
from ledger.connectors.double import DoubleTarget, Faults
from ledger.connectors.port import TypeSchema
from ledger.domain.operation import User
from ledger.embedded import DatabaseUrls
from ledger.erasure.service import AccountErasure, Held
from ledger.errors import Conflict, InputError, NotFound, Unavailable
from ledger.ids import account_id_of
from ledger.integrity.entries import EntryReader
from ledger.json_text import encode
from ledger.store.streams import Streams
from ledger.undo.request import UndoRequest
from projections.progress import lag
from projections.registry import PROJECTION_NAMES
from projections.reports.reading import Format
from projections.run_changes.view import ChangeQuery
from tests.everything import tables_with
from tests.examples import add_account, an_operation, ndjson
from tests.projected import TABLES, rows_of
from tests.web import opened_web, problem

ACCOUNT = account_id_of("default")
EMAIL, PHONE, CITY = b"bo.secret@example.com", b"+15550104711", b"Springfield"
SECRETS = (EMAIL, PHONE, CITY)
WHY = {"reason": "Request 12 of the person.", "user": "Ann"}


@pytest.fixture
def services(database: DatabaseUrls) -> Iterator[Services]:
    found = bootstrap.connect(database.service_url)
    add_account(found.database)
    yield found
    found.close()


def a_person(**members: Any) -> dict[str, Any]:
    """An update of contact 15, full of personal data."""
    before = {"email": EMAIL.decode(), "city": CITY.decode()}
    standard = {
        "object_type": "contact", "record_id": "15", "action": "update", "before": before,
        "after": {"email": EMAIL.decode().upper(), "phone": PHONE.decode()}, "label": EMAIL.decode(),
        "message": f"Sent to {EMAIL.decode()}", "link": f"https://crm.example/{EMAIL.decode()}",
        "details": {"note": PHONE.decode()},
    }  # fmt: skip
    return {name: value for name, value in (standard | members).items() if value is not ...}


def another(record_id: str = "16") -> dict[str, Any]:
    return {
        "object_type": "contact", "record_id": record_id, "action": "update", "label": "al@example.com",
        "before": {"city": "Oslo"}, "after": {"city": "Bergen"},
    }  # fmt: skip


def record(services: Services, run_id: str, lines: list[dict[str, Any]], **facts: Any) -> None:
    ledger = services.ledger(ACCOUNT)
    digest = hashlib.sha256(ndjson(lines)).hexdigest()
    ledger.start_run(an_operation(**facts), run_id=run_id, digest=digest)
    ledger.record_changes(run_id, [ndjson(lines)])
    ledger.finish_run(run_id)


def record_everywhere(services: Services) -> None:
    """The person's data in every kind of place: changes, a failure, a preview, a failure without an id, a dead run."""
    record(services, "R1", [a_person(action="create", before=...), another()])
    record(services, "R2", [a_person(), a_person(result="failed", message=f"{PHONE.decode()} is no phone")])
    record(services, "P1", [a_person(), another()], mode="preview")
    record(services, "R3", [a_person(record_id=..., action="create", before=..., result="failed"), another("17")])
    ledger = services.ledger(ACCOUNT)
    ledger.start_run(an_operation(), run_id="R4")
    ledger.record_changes("R4", [ndjson([a_person(action="delete", after=...)])])
    ledger.fail_run("R4", "CRASH", f"while {EMAIL.decode()} was deleted")


def leaves(services: Services, last: int) -> list[bytes]:
    """The entries of the signed log up to a position."""
    with services.database.transaction(ACCOUNT) as connection:
        return EntryReader(ACCOUNT).read(connection, 0, last)


def reports(services: Services, *run_ids: str) -> bytes:
    found = services.reports(ACCOUNT)
    parts: list[bytes] = []
    for run_id in run_ids:
        forms: tuple[Format, ...] = ("csv", "ndjson")
        for form in forms:
            parts += found.open(run_id, form, include_preview=True).blocks
    return b"".join(parts)


def test_a_whole_erasure_leaves_no_byte_in_any_table_or_report(database: DatabaseUrls, services: Services) -> None:
    record_everywhere(services)
    services.project_once(ACCOUNT)
    assert {text for _, text in tables_with(database.owner_url, *SECRETS)} == set(SECRETS), "it is there to be found"
    head = services.accounts().find("default").head
    before = leaves(services, head)
    erasure = services.erasure(ACCOUNT).erase("contact", "15", **WHY)
    assert tables_with(database.owner_url, *SECRETS) == []
    assert not [text for text in SECRETS if text.lower() in reports(services, "R1", "R2", "R3", "R4", "P1").lower()]
    services.project_once(ACCOUNT)
    assert tables_with(database.owner_url, *SECRETS) == []
    assert leaves(services, head) == before, "every leaf, so every checkpoint and proof, is what it was"
    assert erasure.events == len(erased_positions(database))
    others = services.records(ACCOUNT).state("contact", "16")
    assert (others.fields, others.label, others.erased) == ({"city": b'"Bergen"'}, "al@example.com", False)


def erased_positions(database: DatabaseUrls) -> set[int]:
    with psycopg.connect(database.owner_url) as connection:
        return {row[0] for row in connection.execute("SELECT position FROM events WHERE payload IS NULL")}


def test_views_after_an_erasure_are_those_of_a_rebuild(database: DatabaseUrls, services: Services) -> None:
    record_everywhere(services)
    services.erasure(ACCOUNT).erase("contact", "15", **WHY)
    services.project_once(ACCOUNT)
    live = rows_of(database.owner_url, ACCOUNT)
    for name in PROJECTION_NAMES:
        services.rebuild(ACCOUNT, name)
    assert rows_of(database.owner_url, ACCOUNT, generations=dict.fromkeys(TABLES, 2)) == live
    assert {(each.behind, each.failure) for each in lag(services.database, ACCOUNT)} == {(0, None)}


def test_an_erasure_of_fields_keeps_the_others_and_says_what_is_gone(
    database: DatabaseUrls, services: Services
) -> None:
    record_everywhere(services)
    services.erasure(ACCOUNT).erase("contact", "15", fields=["email", "phone"], **WHY)
    assert {text for _, text in tables_with(database.owner_url, *SECRETS)} == {CITY}
    services.project_once(ACCOUNT)
    page = services.run_changes(ACCOUNT).page(ChangeQuery("R2"))
    shown = page.changes[0].as_dict()
    assert (bytes(shown["before"]), bytes(shown["after"])) == (b'{"city":"Springfield"}', b"{}")
    assert (shown["erased_fields"], shown["label"], shown["message"]) == (["email", "phone"], None, None)
    assert "erased" not in shown
    assert b"(Erased: email, phone.)" in reports(services, "R2")
    services.erasure(ACCOUNT).erase("contact", "15", fields=["city"], **WHY)
    assert tables_with(database.owner_url, *SECRETS) == []


def test_an_erasure_is_a_run_and_stands_on_the_list(services: Services) -> None:
    record_everywhere(services)
    erasure = services.erasure(ACCOUNT).erase("contact", "15", fields=["email"], **WHY)
    services.project_once(ACCOUNT)
    run = services.ledger(ACCOUNT).store.load_run(erasure.run_id)
    assert (run.operation.module, run.operation.user, run.operation.message) == (
        "erasure", User(name="Ann"), WHY["reason"]
    )  # fmt: skip
    assert services.erasure(ACCOUNT).erasures() == [erasure]
    assert (erasure.object_type, erasure.record_id, erasure.fields) == ("contact", "15", ("email",))
    newest = services.records(ACCOUNT).history("contact", "15").changes[0]
    assert (newest.run_id, newest.action, newest.actor) == (erasure.run_id, "erase", "Ann")


def test_undo_says_that_the_before_state_was_erased(services: Services) -> None:
    record_everywhere(services)
    services.erasure(ACCOUNT).erase("contact", "15", **WHY)
    services.ledger(ACCOUNT)
    undo = services.undo(ACCOUNT)
    result = undo.undo(UndoRequest(("R2",)))
    assert result.applied.count == 0
    assert {(item.record_id, item.field, item.reason) for item in result.skipped.items} == {
        ("15", name, "before_state_erased") for name in ("city", "email", "phone")
    }
    deleted = undo.undo(UndoRequest(("R4",)))
    assert {(item.field, item.reason) for item in deleted.skipped.items} == {(None, "before_state_erased")}


def test_an_erasure_cannot_be_undone(services: Services) -> None:
    record_everywhere(services)
    run_id = services.erasure(ACCOUNT).erase("contact", "15", fields=["email"], **WHY).run_id
    result = services.undo(ACCOUNT).undo(UndoRequest((run_id,)))
    assert result.applied.count == 0
    assert {item.reason for item in result.skipped.items} == {"before_state_erased"}


def with_a_target(services: Services) -> DoubleTarget:
    """R1 deleted contact 15; its undo created it again as 99, by an intent."""
    fields = {"email": EMAIL.decode(), "phone": PHONE.decode(), "city": CITY.decode()}
    record(services, "R1", [a_person(action="delete", before=fields, after=...), another()])
    target = DoubleTarget({"contact": TypeSchema()})
    target.records["contact", "16"] = {"city": encode("Bergen")}
    target.misbehave(Faults(new_ids={("contact", "15"): "99"}))
    return target


@pytest.mark.parametrize("record_id", ["15", "99"])
def test_intents_and_the_record_under_its_other_ids_are_erased_too(
    database: DatabaseUrls, services: Services, record_id: str
) -> None:
    target = with_a_target(services)
    result = services.undo(ACCOUNT, target).undo(UndoRequest(("R1",)))
    assert result.status == "completed"
    assert ("contact", "99") in target.records
    services.erasure(ACCOUNT).erase("contact", record_id, **WHY)
    assert tables_with(database.owner_url, *SECRETS) == []
    assert b"Oslo" in b"".join(row.payload or b"" for row in Streams(services.database, ACCOUNT).run_events(
        [str(result.undo_id)]
    ))  # fmt: skip
    told = services.undo(ACCOUNT, target).result(str(result.undo_id))
    assert told.applied.count == 2


def test_an_erasure_waits_for_an_undo_under_way(services: Services) -> None:
    target = with_a_target(services)
    target.misbehave(Faults(crash_after=0))
    undo = services.undo(ACCOUNT, target)
    died = undo.undo(UndoRequest(("R1",)))
    with pytest.raises(Conflict, match=f"Undo {died.undo_id} of run R1"):
        services.erasure(ACCOUNT).erase("contact", "15", **WHY)
    target.misbehave(Faults())
    undo.resume(str(died.undo_id))
    services.erasure(ACCOUNT).erase("contact", "15", **WHY)


def test_what_is_recorded_after_the_erasure_is_new_and_stays(services: Services) -> None:
    record_everywhere(services)
    erasure = services.erasure(ACCOUNT)
    erasure.erase("contact", "15", **WHY)
    record(services, "R9", [a_person(action="create", before=...)])
    state = services.records(ACCOUNT).state("contact", "15")
    assert state.fields == {"email": encode(EMAIL.decode().upper()), "phone": encode(PHONE.decode())}
    assert erasure.erase("contact", "15", **WHY).events == 2, "the new change, and the digest of its run"


def test_a_change_recorded_while_we_look_is_erased_too(services: Services, database: DatabaseUrls) -> None:
    record(services, "R1", [a_person()])

    class LateViews:
        """The record's preview is recorded right after the views were asked."""

        def __init__(self) -> None:
            self.inner, self.late = services.erasure(ACCOUNT)._views, iter([("P1", "preview"), ("R2", "update")])

        def catch_up(self) -> None:
            self.inner.catch_up()

        def mentions(self, *asked: Any) -> list[int]:
            found = self.inner.mentions(*asked)
            run_id, mode = next(self.late, (None, ""))
            if run_id is not None:
                record(services, run_id, [a_person()], mode=mode)
            return found

        def forget(self, *asked: Any) -> None:
            self.inner.forget(*asked)

    AccountErasure(services.database, ACCOUNT, LateViews()).erase("contact", "15", **WHY)
    assert tables_with(database.owner_url, *SECRETS) == []


def test_a_view_that_is_being_rebuilt_holds_an_erasure_back(services: Services, database: DatabaseUrls) -> None:
    record(services, "R1", [a_person()])
    services.project_once(ACCOUNT)
    with psycopg.connect(database.owner_url) as connection:
        connection.execute(
            "INSERT INTO projections (account_id, name, generation, state) VALUES (%s, 'records', 2, 'filling')",
            (ACCOUNT,),
        )
    with pytest.raises(Unavailable, match="records is being rebuilt"):
        services.erasure(ACCOUNT).erase("contact", "15", **WHY)
    assert tables_with(database.owner_url, EMAIL) != [], "nothing was half-done"
    assert services.erasure(ACCOUNT).erasures() == []


def test_bad_requests_are_refused_with_the_reason(services: Services) -> None:
    record(services, "R1", [a_person()])
    erasure = services.erasure(ACCOUNT)
    with pytest.raises(NotFound, match="No run ever named the record 7"):
        erasure.erase("contact", "7", **WHY)
    with pytest.raises(InputError, match="reason of 1 to"):
        erasure.erase("contact", "15", reason=" ", user="Ann")
    with pytest.raises(InputError, match="No field is named"):
        erasure.erase("contact", "15", fields=[], **WHY)


@pytest.mark.parametrize("held", ["15", None])
def test_a_legal_hold_refuses_until_it_is_lifted(services: Services, held: str | None, database: DatabaseUrls) -> None:
    record(services, "R1", [a_person()])
    keeping = services.keeping(ACCOUNT)
    assert keeping.place_hold("contact", held, reason="Case 7.", user="Ann") is not None
    assert keeping.place_hold("contact", held, reason="Case 7.", user="Ann") is None
    with pytest.raises(Held, match=r"placed by Ann: Case 7\."):
        services.erasure(ACCOUNT).erase("contact", "15", **WHY)
    assert tables_with(database.owner_url, EMAIL) != []
    keeping.lift_hold("contact", held, reason="Closed.", user="Bo")
    with pytest.raises(NotFound, match="no hold"):
        keeping.lift_hold("contact", held, reason="Closed.", user="Bo")
    services.erasure(ACCOUNT).erase("contact", "15", **WHY)
    assert tables_with(database.owner_url, *SECRETS) == []


def test_a_hold_on_the_old_id_keeps_the_record_under_its_new_one(services: Services) -> None:
    services.undo(ACCOUNT, with_a_target(services)).undo(UndoRequest(("R1",)))
    services.keeping(ACCOUNT).place_hold("contact", "15", reason="Case 7.", user="Ann")
    with pytest.raises(Held, match="contact 15"):
        services.erasure(ACCOUNT).erase("contact", "99", **WHY)


def test_values_of_a_phone_cannot_be_tried_out_against_what_is_left(database: DatabaseUrls, services: Services) -> None:
    """Hashes over the values (of the imported document, of payload and salt) would be found by trying all numbers."""
    lines = [{"object_type": "contact", "record_id": "15", "action": "create", "after": {"phone": "555-0142"}}]
    record(services, "R1", lines)
    with psycopg.connect(database.owner_url) as connection:
        events = connection.execute("SELECT salt, payload FROM events ORDER BY position").fetchall()
    digest = hashlib.sha256(ndjson(lines)).hexdigest().encode()
    services.project_once(ACCOUNT)
    assert {name for name, _ in tables_with(database.owner_url, digest)} == {"events", "tracker"}
    services.erasure(ACCOUNT).erase("contact", "15", **WHY)
    salts = [salt for salt, payload in events if b"555-0142" in payload or digest in payload]
    assert len(salts) == 2
    unsalted = [hashlib.sha256(payload).digest() for _, payload in events[:2]]
    assert tables_with(database.owner_url, b"555-0142", digest, *salts, *unsalted) == []


def test_an_answered_request_is_still_answered_without_its_hash(database: DatabaseUrls) -> None:
    with opened_web(database.service_url) as web:
        web.record([{"record_id": "15", "action": "create", "after": {"phone": "555-0142"}}])
        options: dict[str, Any] = {"headers": {"Idempotency-Key": "k-1"}}
        body = {"run_id": "R5", "object_type": "contact", "message": "Tidy"}
        first = web.post("/v1/runs", body, **options)
        key = hashlib.sha256(b"POST /v1/runs?\n" + json.dumps(body).encode()).digest()
        assert tables_with(database.owner_url, key) == [("idempotency_keys", key)]
        web.services.erasure(web.account_id).erase("contact", "15", **WHY)
        assert tables_with(database.owner_url, key) == []
        options = {"headers": {"Idempotency-Key": "k-1"}}
        again = web.post("/v1/runs", body, **options)
        assert (first.status_code, again.status_code) == (201, 201)


def test_erasures_over_http_are_for_administrators_and_the_list_for_auditors(database: DatabaseUrls) -> None:
    with opened_web(database.service_url) as web:
        web.record([{"record_id": "15", "action": "create", "after": {"phone": "555-0142"}}])
        body = {"object_type": "contact", "record_id": "15", "fields": ["phone"], "reason": "Request 7"}
        for role in ("producer", "operator", "auditor"):
            assert web.post("/v1/erasures", body, role=role).status_code == 403
        made = web.post("/v1/erasures", body, role="admin")
        assert made.status_code == 201, made.text
        document = made.get_json()
        assert (document["fields"], document["user"], document["reason"]) == (["phone"], "test admin", "Request 7")
        assert web.get("/v1/erasures", role="auditor").get_json()["erasures"] == [document]
        assert web.get("/v1/erasures", role="producer").status_code == 403
        web.post("/v1/holds", {"object_type": "contact", "reason": "Case"}, role="admin")
        refused = web.post("/v1/erasures", body, role="admin")
        assert (refused.status_code, problem(refused)["code"]) == (409, "held")
        assert problem(web.post("/v1/erasures", {"record_id": 7}, role="admin"))["status"] == 422
        history = json.loads(web.get("/v1/records/contact/15/history").text)
        assert [change["action"] for change in history["changes"]] == ["erase", "create"]


def test_pages_say_what_was_erased(database: DatabaseUrls) -> None:
    with opened_web(database.service_url) as web:
        run_id = web.record([a_person(), another()])
        web.client.set_cookie("ledger_token", web.tokens["auditor"])
        erasing = web.services.erasure(web.account_id)
        erasing.erase("contact", "15", fields=["email"], **WHY)
        shown = web.client.get(f"/runs/{run_id}")
        assert "Erased on request: email." in shown.text
        assert EMAIL.decode() not in shown.text.lower()
        erasing.erase("contact", "15", **WHY)
        assert "Erased on request." in web.client.get(f"/runs/{run_id}").text


def test_two_accounts_with_the_same_record_are_apart(database: DatabaseUrls, services: Services) -> None:
    other: UUID = add_account(services.database, "other")
    record(services, "R1", [a_person()])
    ledger = services.ledger(other)
    ledger.start_run(an_operation(), run_id="R1")
    ledger.record_changes("R1", [ndjson([a_person()])])
    services.erasure(ACCOUNT).erase("contact", "15", **WHY)
    state = services.records(other).state("contact", "15")
    assert state.fields == {"email": encode(EMAIL.decode().upper()), "phone": encode(PHONE.decode())}
