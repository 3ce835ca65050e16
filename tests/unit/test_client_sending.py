"""What the client does when the answer is not the expected one: a server that follows a script, on a real socket."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest

from ledger.client import Producer
from ledger.errors import Conflict, InputError, NotPermitted, RunEnded, Unavailable
from ledger.sending.http import HttpChannel, retry_after_s

Answer = tuple[int, dict[str, str], dict[str, Any]] | str
"""Status, headers and body; or "drop": the connection is cut; or "lost": it is carried out, the answer is not
sent; or "cut": only the beginning of the answer is."""


class ScriptedLedger(HTTPServer):
    """Accepts runs as a ledger does; answers given in `script` come first."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script: list[Answer] = []
        self.asked: list[str] = []
        self.started: list[dict[str, Any]] = []
        self.lines: list[bytes] = []
        self.batches: list[int] = []
        self.ended: dict[str, Any] | None = None

    def carry_out(self, path: str, body: bytes) -> dict[str, Any]:
        if path == "/v1/runs":
            self.started.append(json.loads(body))
            run_id = self.started[-1]["run_id"]
            return {"run_id": run_id, "stamp_run_id": run_id, "accepted": len(self.lines)}
        if "/changes?offset=" in path:
            offset = int(path.rpartition("=")[2])
            assert offset <= len(self.lines), "a gap"
            lines = body.splitlines()
            self.lines += lines[len(self.lines) - offset :]
            self.batches.append(len(lines))
            return {"accepted": len(self.lines)}
        self.ended = {"path": path.rpartition("/")[2]} | json.loads(body)
        return {"status": "finished"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: ScriptedLedger

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.server.asked.append(self.path)
        scripted = self.server.script.pop(0) if self.server.script else None
        if scripted == "drop":
            self.close_connection = True
            return
        if scripted is None or scripted in ("lost", "cut"):
            document = self.server.carry_out(self.path, body)
            self.close_connection = scripted is not None
            if scripted == "cut":
                self._answer(200, {"Content-Length": "1000"}, {})
            elif scripted is None:
                self._answer(200, {}, document)
        else:
            assert not isinstance(scripted, str)
            self._answer(*scripted)

    def _answer(self, status: int, headers: dict[str, str], document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        for name, value in ({"Content-Length": str(len(content))} | headers).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Says nothing."""


@pytest.fixture
def server() -> Iterator[ScriptedLedger]:
    with ScriptedLedger() as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.01,))
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@contextmanager
def producer(
    server: ScriptedLedger, pauses: Callable[[float], None] = lambda _: None, give_up_after_s: float = 60.0
) -> Iterator[Producer]:
    channel = HttpChannel(
        f"http://127.0.0.1:{server.server_port}", "ldg_test", pause=pauses, give_up_after_s=give_up_after_s
    )
    with Producer(channel) as found:
        yield found


@pytest.mark.parametrize(
    "fault", ["drop", "lost", "cut", (500, {}, {}), (502, {}, {}), (503, {"Retry-After": "7"}, {})]
)
@pytest.mark.parametrize("at", [0, 1, 2, 3])
def test_failure_that_passes_loses_and_repeats_nothing(server: ScriptedLedger, fault: Answer, at: int) -> None:
    right: list[Answer] = []
    pauses: list[float] = []
    server.script = right
    with producer(server, pauses.append) as client, client.run(object_type="contact", template="T") as run:
        if at == 0:
            server.script = [fault, fault]
        run.created("1", after={"n": 1})
        run.flush()
        if at == 1:
            server.script = [fault, fault]
        run.created("2", after={"n": 2})
        run.flush()
        if at >= 2:
            server.script = [fault]
        run.created("3", after={"n": 3})
    assert [json.loads(line)["record_id"] for line in server.lines] == ["1", "2", "3"]
    assert server.ended == {"path": "finish"}
    assert pauses
    if isinstance(fault, tuple) and fault[1]:
        assert max(pauses) == 7


def test_client_gives_up_with_a_clear_error(server: ScriptedLedger) -> None:
    with producer(server, give_up_after_s=0) as client:
        server.script = [(503, {}, {})]
        with pytest.raises(Unavailable, match="503"):
            client.run(template="T")


def test_problem_becomes_the_error_of_its_code(server: ScriptedLedger) -> None:
    problem = {
        "code": "run_ended",
        "detail": "Run r has finished.",
        "accepted": 7,
        "errors": [{"detail": "d", "line": 3}],
    }
    with producer(server) as client:
        server.script = [(409, {}, problem), (403, {}, {}), (418, {}, {"code": "unheard"})]
        with pytest.raises(RunEnded, match=r"Run r has finished\.") as caught:
            client.run(template="T")
        assert caught.value.details == {"accepted": 7}
        assert caught.value.problems[0].line == 3
        with pytest.raises(NotPermitted):
            client.run(template="T")


def test_exception_fails_the_run_after_what_was_given(server: ScriptedLedger) -> None:
    def die(client: Producer) -> None:
        with client.run(object_type="contact") as run:
            run.unmodified("1")
            raise ZeroDivisionError("by nought")

    with producer(server) as client, pytest.raises(ZeroDivisionError):
        die(client)
    assert len(server.lines) == 1
    assert server.ended == {"path": "fail", "code": "ZeroDivisionError", "message": "by nought"}


def test_bad_change_fails_the_run_and_keeps_those_before(server: ScriptedLedger) -> None:
    def give_nan(client: Producer) -> None:
        with client.run(object_type="contact") as run:
            run.unmodified("1")
            run.updated("2", before={"x": 1}, after={"x": float("nan")})

    with producer(server) as client, pytest.raises(InputError):
        give_nan(client)
    assert [json.loads(line)["record_id"] for line in server.lines] == ["1"]
    assert server.ended is not None
    assert server.ended["path"] == "fail"


def test_interrupted_run_passes_over_what_is_accepted(server: ScriptedLedger) -> None:
    server.lines = [b'{"record_id":"1","action":"none"}', b'{"record_id":"2","action":"none"}']
    with producer(server) as client, client.run(run_id="r", object_type="contact") as run:
        assert run.accepted == 2
        for number in range(1, 5):
            run.unmodified(str(number))
    assert server.batches == [2]
    assert [json.loads(line)["record_id"] for line in server.lines] == ["1", "2", "3", "4"]


def test_batches_keep_their_limits(server: ScriptedLedger) -> None:
    with producer(server) as client, client.run(object_type="contact") as run:
        for number in range(12_001):
            run.unmodified(str(number))
        for number in range(3):
            run.created(f"large {number}", after={"x": "y" * 1_500_000})
    assert server.batches == [5_000, 5_000, 2_003, 1]
    assert len(server.lines) == 12_004


def test_another_sender_of_the_same_run_is_noticed(server: ScriptedLedger) -> None:
    with producer(server) as client:
        run = client.run(object_type="contact")
        run.unmodified("1")
        server.script = [(200, {}, {"accepted": 5})]
        with pytest.raises(Conflict, match="another program"):
            run.flush()


def test_recipe_names_itself_in_its_children(server: ScriptedLedger) -> None:
    with (
        producer(server) as client,
        client.recipe("Weekly", run_id="rec") as recipe,
        recipe.run(run_id="child", template="A", object_type="contact") as run,
    ):
        run.unmodified("1")
    recipe_facts, child_facts = server.started
    assert recipe_facts == {"run_id": "rec", "kind": "recipe", "recipe": {"name": "Weekly"}}
    assert (child_facts["recipe"], child_facts["recipe_run_id"]) == ({"name": "Weekly"}, "rec")
    assert server.asked[-2:] == ["/v1/runs/child/finish", "/v1/runs/rec/finish"]


def test_retry_after_is_a_number_or_a_date() -> None:
    assert retry_after_s("12") == 12
    assert retry_after_s(None) == retry_after_s("soon") == 0
    assert retry_after_s(formatdate(0, usegmt=True)) == 0


def test_url_that_is_none_is_refused() -> None:
    with pytest.raises(InputError, match="URL"):
        HttpChannel("ledger.example.com", "ldg_x")
