"""An undo that runs in one process, seen and cancelled from others: over HTTP and on the command line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from threading import Event, Thread
from typing import Any

import pytest

from ledger.connectors.double import DoubleTarget
from ledger.connectors.port import Outcome, Write
from ledger.embedded import DatabaseUrls
from ledger.json_text import encode
from ledger.undo import gathering
from ledger.undo.request import UndoRequest
from ledger.undo.result import UndoResult
from tests.command import Command
from tests.integration.conftest import web as web
from tests.web import Web, problem

RECORDS, BATCH = 10, 4
LIMIT_S = 60


class SlowTarget(DoubleTarget):
    """Stops within its second batch until it is told to go on."""

    def __init__(self) -> None:
        super().__init__()
        self.capabilities = replace(self.capabilities, write_records_max=BATCH)
        self.is_there, self.may_go_on, self.calls = Event(), Event(), 0

    def write(self, writes: Sequence[Write], run_id: str) -> list[Outcome]:
        self.calls += 1
        if self.calls == 2:
            self.is_there.set()
            assert self.may_go_on.wait(LIMIT_S)
        return super().write(writes, run_id)


class Running:
    """An undo under way in a thread of its own, as in another process: it is in the midst of its second batch."""

    def __init__(self, web: Web) -> None:
        self.target = SlowTarget()
        lines = []
        for number in range(RECORDS):
            self.target.records["contact", str(number)] = {"n": encode("b")}
            lines.append({"record_id": str(number), "action": "update", "before": {"n": "a"}, "after": {"n": "b"}})
        web.record(lines, run_id="r-1")
        undos = web.services.undo(web.account_id, self.target)
        self.undo_id, _ = undos.begin(UndoRequest(("r-1",)))
        self.result: UndoResult | None = None

        def work() -> None:
            self.result = undos.carry_on(self.undo_id)

        self._thread = Thread(target=work)
        self._thread.start()
        assert self.target.is_there.wait(LIMIT_S)

    def go_on(self) -> UndoResult:
        """Lets it come to its end."""
        self.target.may_go_on.set()
        self._thread.join(LIMIT_S)
        assert self.result is not None
        return self.result

    @property
    def put_back(self) -> int:
        return sum(state == {"n": b'"a"'} for state in self.target.records.values())


@pytest.fixture
def running(web: Web, monkeypatch: pytest.MonkeyPatch) -> Iterator[Running]:
    monkeypatch.setattr(gathering, "WINDOW_EVENTS", BATCH)  # the size of a batch
    found = Running(web)
    yield found
    found.target.may_go_on.set()


def undo_over_http(web: Web, running: Running, method: str = "get", path: str = "") -> Any:
    address = f"/v1/undos/{running.undo_id}{path}"
    answer = web.get(address) if method == "get" else web.post(address, role="operator")
    assert answer.status_code in (200, 202), answer.text
    return answer.get_json()


def test_an_undo_is_running_for_everybody_until_it_ends(web: Web, running: Running) -> None:
    seen = undo_over_http(web, running)
    assert (seen["status"], seen["counts"]["applied"]) == ("running", BATCH)
    assert undo_over_http(web, running, "post", "/resume")["status"] == "running"
    refused = problem(web.post("/v1/undos", {"runs": ["r-1"]}, role="operator"))
    assert (refused["status"], refused["reason"], refused["undo_id"]) == (409, "undo_in_progress", running.undo_id)
    assert problem(web.post("/v1/undos", {"runs": [running.undo_id]}, role="operator"))["reason"] == "undo_in_progress"
    web.services.project_once(web.account_id)
    rows = {row["run_id"]: row for row in web.get("/v1/runs").get_json()["runs"]}
    assert (rows["r-1"]["undo_state"], rows["r-1"]["undo_under_way"]) == ("under_way", running.undo_id)
    assert (rows[running.undo_id]["status"], rows[running.undo_id]["is_interrupted"]) == ("running", False)
    assert running.go_on().status == "completed"
    assert undo_over_http(web, running)["status"] == "completed"


def test_cancelled_over_http_it_stops_after_its_batch_and_the_rest_can_be_undone(web: Web, running: Running) -> None:
    assert undo_over_http(web, running, "post", "/cancel")["status"] == "running"
    assert running.go_on().facts["cancelled"] is True
    ended = undo_over_http(web, running)
    assert (ended["status"], ended["counts"]["applied"], running.put_back) == ("partial", 2 * BATCH, 2 * BATCH)
    rest = web.services.undo(web.account_id, running.target).undo(UndoRequest(("r-1",)))
    assert (rest.status, rest.applied.count, running.put_back) == ("completed", RECORDS - 2 * BATCH, RECORDS)
    assert max(running.target.writes.values()) == 1


def test_cancelled_on_the_command_line_it_stops_after_its_batch(
    web: Web, running: Running, database: DatabaseUrls
) -> None:
    ledger = Command(urls=database)
    asked = ledger("undo", "--cancel", running.undo_id)
    assert "is being carried out" in asked.stderr
    assert "--resume" not in asked.stderr
    assert ledger("undo", "--cancel", running.undo_id, "--json").document["status"] == "running"
    assert "carried out by another process" in ledger("undo", "--resume", running.undo_id, code=4).stderr
    assert (running.go_on().status, running.put_back) == ("partial", 2 * BATCH)
    assert ledger("undo", "--cancel", running.undo_id, "--json", code=8).document["status"] == "partial"


def test_an_undo_that_nobody_carries_out_ends_at_once_when_it_is_cancelled(web: Web) -> None:
    web.record([{"record_id": "1", "action": "create", "after": {"n": 1}}], run_id="r-1")
    undo_id, _ = web.services.undo(web.account_id).begin(UndoRequest(("r-1",)))
    assert web.get(f"/v1/undos/{undo_id}").get_json()["status"] == "interrupted"
    web.services.project_once(web.account_id)
    assert web.get(f"/v1/runs/{undo_id}").get_json()["is_interrupted"] is True
    assert web.post(f"/v1/undos/{undo_id}/cancel", role="operator").get_json()["status"] == "nothing_applied"
    web.app.testing = True
    assert web.post("/v1/undos", {"runs": ["r-1"]}, role="operator").get_json()["status"] == "completed"
