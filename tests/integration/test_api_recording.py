"""Recording over HTTP."""

# ruff: noqa: E501 - lists of data
from __future__ import annotations

import base64
import gzip
from hashlib import sha256

import pytest

from tests.examples import a_change, changes
from tests.web import NDJSON, Web, changes_path, problem


def test_run_goes_from_start_to_finish(web: Web) -> None:
    facts = {
        "run_id": "r-1", "app": {"name": "HubSpot", "account": "4711"}, "module": "format", "object_type": "contact",
        "template": {"id": "t", "name": "Phones", "url": "https://x.example/t"}, "user": {"id": None, "name": "Ann", "email": None},
        "details": {"rate": 1.10}, "started_at": "2026-01-02T03:04:05Z",
    }  # fmt: skip
    started = web.post("/v1/runs", facts)
    assert started.status_code == 201
    assert started.headers["Location"] == "/v1/runs/r-1"
    assert started.get_json()["stamp_run_id"] == "r-1"
    sent = web.send("r-1", changes(1, 3))
    assert sent.get_json() == {"run_id": "r-1", "accepted": 3, "position": int(sent.headers["Ledger-Position"])}
    summary = web.post("/v1/runs/r-1/finish", {"finished_at": "2026-01-02T03:05:05Z"}).get_json()
    assert summary["tally"]["updated"] == 3
    assert summary["duration_s"] == 60
    assert summary["links"]["report_csv"] == "/v1/runs/r-1/report.csv"
    web.services.project_once(web.account_id)
    shown = web.get("/v1/runs/r-1").get_json()
    assert shown == summary
    assert {name: shown[name] for name in facts if name != "started_at"} == {
        name: value for name, value in facts.items() if name != "started_at"
    }


def test_details_keep_their_digits(web: Web) -> None:
    web.start(run_id="r-1")
    answer = web.post("/v1/runs", b'{"run_id":"r-2","details":{"n":1.10,"big":123456789012345678901234567890}}')
    assert b'"details":{"n":1.10,"big":123456789012345678901234567890}' in answer.data


def test_same_start_again_is_harmless_and_other_facts_are_refused(web: Web) -> None:
    web.start(run_id="r-1")
    assert web.post("/v1/runs", {"run_id": "r-1", "object_type": "contact"}).status_code == 200
    assert problem(web.post("/v1/runs", {"run_id": "r-1", "object_type": "deal"}))["code"] == "run_exists"


def test_every_fault_of_a_document_is_named(web: Web) -> None:
    document = problem(web.post("/v1/runs", {"mode": "dry", "app": {}, "colour": 1, "run_id": "a b"}))
    assert document["status"] == 422
    assert {fault["pointer"] for fault in document["errors"]} == {"/mode", "/app/name", "/colour", "/run_id"}


def test_repeated_batch_is_recorded_once(web: Web) -> None:
    run_id = web.start()
    assert web.post(changes_path(run_id) + "?offset=0", changes(1, 5), content_type=NDJSON).get_json()["accepted"] == 5
    assert web.post(changes_path(run_id) + "?offset=0", changes(1, 7), content_type=NDJSON).get_json()["accepted"] == 7
    gap = problem(web.post(changes_path(run_id) + "?offset=9", changes(1, 1), content_type=NDJSON))
    assert (gap["code"], gap["accepted"]) == ("offset_too_high", 7)


def test_bad_line_is_named_and_the_batches_before_stay(web: Web) -> None:
    run_id = web.start()
    document = problem(web.send(run_id, changes(1, 5001) + b'{"action":"update","record_id":7,"after":{}}\n'))
    assert document["code"] == "invalid_change"
    assert document["accepted"] == 5000
    assert (document["errors"][0]["line"], document["errors"][0]["pointer"]) == (5002, "/record_id")
    more = web.post(changes_path(run_id) + "?offset=5000", changes(5001, 5001), content_type=NDJSON)
    assert more.get_json()["accepted"] == 5001


@pytest.mark.parametrize("size", [1, 20_000])
def test_gzip_is_unpacked(web: Web, size: int) -> None:
    body = gzip.compress(changes(1, size))
    assert web.send(web.start(), body, headers={"Content-Encoding": "gzip"}).get_json()["accepted"] == size


def test_gzip_of_several_members_is_unpacked(web: Web) -> None:
    body = gzip.compress(changes(1, 2)) + gzip.compress(changes(3, 4))
    assert web.send(web.start(), body, headers={"Content-Encoding": "gzip"}).get_json()["accepted"] == 4


def test_json_array_is_taken(web: Web) -> None:
    answer = web.post(changes_path(web.start()), [a_change(1), a_change(2)])
    assert answer.get_json()["accepted"] == 2


def test_body_that_broke_off_is_refused(web: Web) -> None:
    body = changes(1, 3)
    answer = web.send(web.start(), body, environ_overrides={"CONTENT_LENGTH": str(len(body) + 10)})
    document = problem(answer)
    assert "broke off" in document["detail"]
    assert document["accepted"] == 0


def test_body_is_held_against_its_digest(web: Web) -> None:
    body, run_id = changes(1, 3), web.start()
    digest = f"sha-256=:{base64.b64encode(sha256(body).digest()).decode()}:"
    refused = problem(web.send(run_id, body[:-10], headers={"Content-Digest": digest}))
    assert refused["accepted"] == 0
    assert refused["errors"][0]["parameter"] == "Content-Digest"
    assert web.send(run_id, body, headers={"Content-Digest": digest}).get_json()["accepted"] == 3


def test_body_is_held_against_its_count(web: Web) -> None:
    run_id = web.start()
    refused = problem(web.send(run_id, changes(1, 3), headers={"Ledger-Change-Count": "4"}))
    assert refused["accepted"] == 0
    assert web.send(run_id, changes(1, 3), headers={"Ledger-Change-Count": "3"}).get_json()["accepted"] == 3


def test_idempotency_key_repeats_the_answer(web: Web) -> None:
    key = {"Idempotency-Key": "k-1"}
    first = web.post("/v1/runs", {"object_type": "contact"}, headers=key)
    again = web.post("/v1/runs", {"object_type": "contact"}, headers=key)
    assert (again.status_code, again.data) == (first.status_code, first.data)
    assert again.headers["Idempotency-Replayed"] == "true"
    other = problem(web.post("/v1/runs", {"object_type": "deal"}, headers=key))
    assert (other["status"], other["code"]) == (422, "idempotency_key_reused")


def test_idempotency_key_in_use_is_a_conflict(web: Web) -> None:
    body = b'{"object_type":"contact"}'
    keys = web.services.idempotency_keys(web.account_id)
    assert keys.begin("k-1", sha256(b"POST /v1/runs?\n" + body).digest()) is None
    assert problem(web.post("/v1/runs", body, headers={"Idempotency-Key": "k-1"}))["status"] == 409


def test_refused_request_gives_its_key_back(web: Web) -> None:
    key = {"Idempotency-Key": "k-1"}
    assert problem(web.post("/v1/runs", {"mode": "dry"}, headers=key))["status"] == 422
    assert web.post("/v1/runs", {"mode": "preview"}, headers=key).status_code == 201


def test_failed_run_tells_its_system_error(web: Web) -> None:
    run_id = web.start()
    answer = web.post(f"/v1/runs/{run_id}/fail", {"code": "QUOTA", "message": "API quota exhausted"}).get_json()
    assert answer["status"] == "failed"
    assert answer["error"] == {"code": "QUOTA", "message": "API quota exhausted"}
    assert problem(web.send(run_id, changes(1, 1)))["code"] == "run_ended"


def test_recipe_sums_its_children(web: Web) -> None:
    recipe = web.start(run_id="recipe", kind="recipe", object_type=None)
    child = web.record([a_change(1), a_change(2)], run_id="child", recipe_run_id=recipe)
    web.post("/v1/runs/recipe/finish")
    web.services.project_once(web.account_id)
    shown = web.get("/v1/runs/recipe").get_json()
    assert shown["tally"]["updated"] == 2
    assert web.get(f"/v1/runs/{child}").get_json()["stamp_run_id"] == "recipe"


@pytest.mark.parametrize(
    ("content_type", "encoding"), [("text/csv", ""), ("application/x-www-form-urlencoded", ""), (NDJSON, "br")]
)
def test_body_of_another_kind_is_refused(web: Web, content_type: str, encoding: str) -> None:
    answer = web.send(web.start(), changes(1, 1), content_type=content_type, headers={"Content-Encoding": encoding})
    assert problem(answer)["status"] == 415


def test_method_not_allowed_tells_which_are(web: Web) -> None:
    answer = web.client.delete("/v1/runs", headers=web.headers("admin", {}))
    assert problem(answer)["status"] == 405
    assert {"GET", "POST"} <= set(answer.headers["Allow"].split(", "))
