"""Restoring over HTTP, and undos by the Python client over a real connection."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from threading import Thread
from typing import Any

import pytest
from werkzeug.serving import make_server

from ledger.client import Client
from ledger.errors import Conflict, InputError, NotFound, NotPermitted
from tests.integration.conftest import web as web
from tests.web import Web, problem

MOVES = (("r-1", 1, None, "Lima"), ("r-2", 3, "Lima", "Oslo"), ("r-3", 4, "Oslo", "Bern"))
THEN = datetime(2026, 1, 2, tzinfo=UTC)
BODY = {"object_type": "note", "as_of": THEN.isoformat()}


@pytest.fixture
def moved(web: Web) -> Web:
    """A note that moved twice; a second one that the last run created."""
    for run_id, day, city, then in MOVES:
        change: dict[str, Any] = {"record_id": "n", "occurred_at": f"2026-01-0{day}T00:00:00Z", "after": {"city": then}}
        change |= {"action": "create"} if city is None else {"action": "update", "before": {"city": city}}
        new = {"record_id": "new", "action": "create", "occurred_at": "2026-01-04T00:00:00Z", "after": {"city": "Rome"}}
        web.record([change, *([new] if run_id == "r-3" else [])], object_type="note", run_id=run_id)
    web.app.testing = True
    return web


def state(web: Web, record_id: str) -> Any:
    web.services.project_once(web.account_id)
    answer = web.get(f"/v1/records/note/{record_id}")
    return answer.get_json().get("fields")


def test_records_go_back_to_a_moment_as_the_plan_said(moved: Web) -> None:
    plan = moved.post("/v1/restore-plans", BODY, role="auditor").get_json()
    assert (plan["status"], plan["undo_id"], sorted(plan["runs"])) == ("completed", None, ["r-2", "r-3"])
    begun = moved.post("/v1/restores", BODY | {"plan_digest": plan["digest"]}, role="operator")
    assert begun.status_code == 202, begun.text
    done = moved.get(f"/v1/undos/{begun.get_json()['undo_id']}").get_json()
    assert (done["status"], done["applied"]) == ("completed", plan["applied"])
    assert begun.headers["Location"] == f"/v1/undos/{done['undo_id']}"
    assert (state(moved, "n"), state(moved, "new")) == ({"city": "Lima"}, None)


def test_only_the_named_records_go_back(moved: Web) -> None:
    begun = moved.post("/v1/restores", BODY | {"records": ["new"]}, role="operator").get_json()
    assert [one["record_id"] for one in begun["applied"]] == ["new"]
    assert state(moved, "n") == {"city": "Bern"}


def test_the_same_key_is_one_restoring(moved: Web) -> None:
    headers = {"Idempotency-Key": "k"}
    first = moved.post("/v1/restores", BODY, role="operator", headers=dict(headers)).get_json()
    again = moved.post("/v1/restores", BODY, role="operator", headers=dict(headers)).get_json()
    assert (again["undo_id"], again["replayed"], again["applied"]) == (first["undo_id"], True, first["applied"])
    other = moved.post("/v1/restores", BODY | {"records": ["n"]}, role="operator", headers=dict(headers))
    assert problem(other)["code"] == "idempotency_key_reused"


def test_nothing_since_then_is_nothing_to_do(moved: Web) -> None:
    later = BODY | {"as_of": "2100-01-01T00:00:00Z"}
    for path in ("/v1/restore-plans", "/v1/restores"):
        answer = moved.post(path, later, role="operator")
        assert (answer.status_code, answer.get_json()["status"]) == (200, "nothing_to_do")


@pytest.mark.parametrize(
    "change", [{"as_of": "soon"}, {"as_of": None}, {"object_type": ""}, {"on_conflict": "cascade"}, {"records": "n"},
               {"fields": ["city"]}, {"records": [["note", "n"]]}], ids=str
)  # fmt: skip
def test_a_bad_restoring_says_what_is_wrong(moved: Web, change: dict[str, Any]) -> None:
    assert problem(moved.post("/v1/restores", BODY | change, role="operator"))["status"] == 422
    assert state(moved, "n") == {"city": "Bern"}


def test_auditors_plan_restorings_but_do_not_restore(moved: Web) -> None:
    assert moved.post("/v1/restores", BODY, role="auditor").status_code == 403


# The Python client.


@pytest.fixture
def url(moved: Web) -> Iterator[str]:
    server = make_server("127.0.0.1", 0, moved.app, threaded=True)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def test_the_client_plans_undoes_and_tells_the_result(moved: Web, url: str) -> None:
    with Client(url, moved.tokens["operator"]) as client:
        plan = client.undos.plan("r-3", records=[["note", "n"]])
        begun = client.undos.undo("r-3", records=[["note", "n"]], plan_digest=plan["digest"], idempotency_key="k")
        done = client.undos.wait(begun["undo_id"])
        assert (done["status"], done["applied"]) == ("completed", plan["applied"])
        assert client.undos.undo(
            "r-3", records=[["note", "n"]], plan_digest=plan["digest"], idempotency_key="k"
        )["undo_id"] == begun["undo_id"]  # fmt: skip
        assert client.undos.cancel(begun["undo_id"])["status"] == "completed"
        assert client.undos.resume(begun["undo_id"])["status"] == "completed"
        assert client.undos.restore_plan("note", THEN)["counts"]["applied"] == 2
        restored = client.undos.wait(client.undos.restore("note", THEN, records=["n"])["undo_id"])
        assert restored["status"] == "completed"
    assert (state(moved, "n"), state(moved, "new")) == ({"city": "Lima"}, {"city": "Rome"})


def test_the_client_reads_an_edited_report_and_tells_refusals(moved: Web, url: str) -> None:
    report = b"".join(moved.services.reports(moved.account_id).open("r-3").blocks)
    with Client(url, moved.tokens["operator"]) as client:
        told = client.undos.edited_report("r-3", report.replace(b"Oslo", b"hand"))
        assert told["counts"] == {"differing_cells": 1, "unknown_rows": 0}
        assert client.undos.plan("r-3", **told["selection"])["counts"]["applied"] == 2
        with pytest.raises(Conflict) as refused:
            client.undos.undo("nothing")
        assert (refused.value.code, refused.value.details["reason"]) == ("undo_refused", "unknown_run")
        with pytest.raises(InputError):
            client.undos.plan("r-3", on_conflict="hope")
        with pytest.raises(NotFound):
            client.undos.result("nothing")
    with Client(url, moved.tokens["auditor"]) as client, pytest.raises(NotPermitted):
        client.undos.undo("r-3")
