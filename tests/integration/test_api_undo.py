"""Undos over HTTP: plan, undo, status, refusals, repeats, forecast, the two-person rule."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from flask.testing import FlaskClient

import bootstrap
from api.app import create_app
from bootstrap import Services
from ledger.domain.operation import Operation
from ledger.embedded import DatabaseUrls
from ledger.settings import Settings

CHANGES = (
    b'{"record_id":"1","action":"update","before":{"n":1.10},"after":{"n":2}}\n'
    b'{"record_id":"2","action":"update","before":{"n":"a"},"after":{"n":"b"}}\n'
)


class Api:
    """Requests of three people, each with a token of their own."""

    def __init__(self, client: FlaskClient, tokens: dict[str, str], services: Services, account_id: UUID) -> None:
        self._client, self._tokens = client, tokens
        self.services, self.account_id = services, account_id

    def __call__(self, who: str, method: str, path: str, status: int, body: Any = None, **headers: str) -> Any:
        sent = {"Authorization": f"Bearer {self._tokens[who]}"}
        sent |= {name.replace("_", "-"): value for name, value in headers.items()}
        answer = self._client.open(f"/v1{path}", method=method, json=body, headers=sent)
        assert answer.status_code == status, answer.get_data(as_text=True)
        return answer.get_json(force=True)

    def page(self, who: str, path: str) -> str:
        """A web page as this person sees it."""
        signed_in = self._client.post("/sign-in", data={"token": self._tokens[who], "next": path})
        assert signed_in.status_code == 303, signed_in.get_data(as_text=True)
        answer = self._client.get(path)
        assert answer.status_code == 200
        return answer.get_data(as_text=True)


@pytest.fixture
def api(database: DatabaseUrls) -> Iterator[Api]:
    services = bootstrap.connect(database.service_url)
    account_id = services.accounts().add("default").account_id
    made = {name: services.tokens(account_id).make(role, name)[0] for name, role in
            (("ann", "operator"), ("eve", "operator"), ("aud", "auditor"), ("root", "admin"))}  # fmt: skip
    ledger = services.ledger(account_id)
    run = ledger.start_run(Operation(object_type="contact"), run_id="r-1").run
    ledger.record_changes(run.run_id, [CHANGES])
    ledger.finish_run(run.run_id)
    app = create_app(services, Settings(home=Path("/nonexistent")))
    app.testing = True
    yield Api(app.test_client(), made, services, account_id)
    services.close()


def test_a_plan_is_what_the_undo_then_does(api: Api) -> None:
    plan = api("aud", "POST", "/undo-plans", 200, {"runs": ["r-1"]})
    begun = api("ann", "POST", "/undos", 202, {"runs": ["r-1"], "plan_digest": plan["digest"]})
    done = api("aud", "GET", f"/undos/{begun['undo_id']}", 200)
    assert (plan["status"], done["status"]) == ("completed", "completed")
    assert done["applied"] == plan["applied"]
    assert done["counts"] == {"applied": 2, "skipped": 0, "noop": 0, "failed": 0}


def test_refusals_are_conflicts_with_a_reason(api: Api) -> None:
    api("ann", "POST", "/undos", 202, {"runs": ["r-1"]})
    assert api("ann", "POST", "/undos", 409, {"runs": ["r-1"]})["reason"] == "already_undone"
    assert api("ann", "POST", "/undos", 409, {"runs": ["nothing"]})["reason"] == "unknown_run"
    assert api("ann", "GET", "/runs/r-1/undoability", 200)["refusal"] == "already_undone"


def test_the_same_key_is_one_undo(api: Api) -> None:
    first = api("ann", "POST", "/undos", 202, {"runs": ["r-1"]}, Idempotency_Key="k")
    again = api("ann", "POST", "/undos", 202, {"runs": ["r-1"]}, Idempotency_Key="k")
    assert (again["undo_id"], again["replayed"], again["applied"]) == (first["undo_id"], True, first["applied"])
    api("ann", "POST", "/undos", 422, {"runs": ["r-1"], "on_conflict": "force"}, Idempotency_Key="k")


def test_a_forecast_counts_fields(api: Api) -> None:
    forecast = api("aud", "GET", "/runs/r-1/undoability", 200)
    assert (forecast["fields_restorable"], forecast["overwritten_since"], forecast["impossible"]) == (2, 0, 0)


def test_auditors_plan_but_do_not_undo(api: Api) -> None:
    api("aud", "POST", "/undos", 403, {"runs": ["r-1"]})


def test_two_persons_where_the_account_wants_them(api: Api) -> None:
    api("ann", "PUT", "/undo-options", 403, {"approval_above": 1})
    api("root", "PUT", "/undo-options", 200, {"approval_above": 1})
    digest = api("ann", "POST", "/undos", 403, {"runs": ["r-1"]})["plan_digest"]
    api("ann", "POST", "/undo-approvals", 200, {"plan_digest": digest})
    api("ann", "POST", "/undos", 403, {"runs": ["r-1"], "plan_digest": digest})
    api("eve", "POST", "/undo-approvals", 200, {"plan_digest": digest})
    api("ann", "POST", "/undos", 202, {"runs": ["r-1"], "plan_digest": digest})


@pytest.mark.parametrize(
    "body",
    [{}, {"runs": "r-1"}, {"runs": []}, {"runs": ["r-1"], "on_conflict": "hope"}, {"runs": ["r-1"], "more": 1},
     {"runs": ["r-1"], "records": [["contact"]]}, {"runs": ["r-1"], "fields": [1]}],
)  # fmt: skip
def test_a_bad_request_says_what_is_wrong(api: Api, body: Any) -> None:
    api("ann", "POST", "/undos", 422, body)
    assert api("ann", "GET", "/runs/r-1/undoability", 200)["refusal"] is None


def test_cancelling_and_resuming_what_has_ended_is_harmless(api: Api) -> None:
    undo_id = api("ann", "POST", "/undos", 202, {"runs": ["r-1"]})["undo_id"]
    assert api("ann", "POST", f"/undos/{undo_id}/cancel", 202)["status"] == "completed"
    assert api("ann", "POST", f"/undos/{undo_id}/resume", 202)["status"] == "completed"
    api("ann", "POST", "/undos/nothing/resume", 404)


def test_a_run_tells_what_undid_it_and_an_undo_what_it_undoes(api: Api) -> None:
    undo_id = api("ann", "POST", "/undos", 202, {"runs": ["r-1"]})["undo_id"]
    api.services.project_once(api.account_id)
    assert api("aud", "GET", "/runs/r-1", 200)["undone_by"] == [undo_id]
    assert api("aud", "GET", f"/runs/{undo_id}", 200)["undoes"] == ["r-1"]
    api("ann", "POST", "/undos", 202, {"runs": [undo_id]})
    assert api("aud", "GET", "/runs/r-1", 200)["undone_by"] == []


def test_the_run_page_forecasts_its_undo(api: Api) -> None:
    api.services.project_once(api.account_id)
    assert "write back 2 fields of 2 records" in api.page("aud", "/runs/r-1")
    undo_id = api("ann", "POST", "/undos", 202, {"runs": ["r-1"]})["undo_id"]
    api.services.project_once(api.account_id)
    assert f"/runs/{undo_id}" in api.page("aud", "/runs/r-1")
    assert "This run is an undo of" in api.page("aud", f"/runs/{undo_id}")
