"""Webhooks, against a real HTTP server: signature, envelope, retries, what is never followed and never reached."""

from __future__ import annotations

import base64
import json
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from ledger.domain.operation import Saved
from ledger.embedded import DatabaseUrls
from ledger.errors import InputError
from ledger.jobs.queue import AccountJobs
from ledger.jobs.worker import Worker
from ledger.notifications.delivering import Delivery, DeliveryOptions
from ledger.notifications.rules import Rules, check_url
from ledger.notifications.signing import check_signature, sign
from ledger.notifications.webhook import NotAllowed, post
from ledger.service import AccountLedger
from projections.notifying.reading import NotifiedRuns
from tests.certificate import make_certificate
from tests.examples import a_change, a_ledger, record
from tests.projected import project
from tests.web import Web, problem


@dataclass
class Receiver:
    """Somebody's server. `answers`: (status, headers) of the next requests, then 200."""

    port: int = 0
    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    answers: list[tuple[int, dict[str, str]]] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?for=ledger"


@contextmanager
def receiving(tls: ssl.SSLContext | None = None) -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            receiver.requests.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            status, headers = receiver.answers.pop(0) if receiver.answers else (200, {})
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_GET = do_POST  # noqa: N815

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        receiver.port = server.server_address[1]
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None  # type: ignore[method-assign]  # a client that breaks off is no news
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield receiver
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


class Hook:
    """An account with a webhook, and a worker that posts to it."""

    def __init__(self, ledger: AccountLedger, url: str, **options: Any) -> None:
        self.ledger, self.database = ledger, ledger.store.recorder.database
        self.rules = Rules(self.database, ledger.account_id)
        self.queue = AccountJobs(self.database, ledger.account_id)
        self.rule, self.secret = self.rules.add_webhook(url, created_by="Ann")
        standard: dict[str, Any] = {"allow_private": True, "base_url": "https://ledger.example"}
        chosen = DeliveryOptions(**(standard | options))
        delivery = Delivery(self.database, NotifiedRuns(self.database), chosen, mailer=None)
        self.worker = Worker(self.database, delivery.handlers())

    def run(self, run_id: str, **facts: Any) -> None:
        record(self.ledger, run_id, [a_change(1)], **facts)
        project(self.ledger)
        self.worker.work_once()

    def again(self) -> None:
        for job in self.queue.list("waiting"):
            self.queue.revive(str(job.job_id))
        self.worker.work_once()

    @property
    def jobs(self) -> list[tuple[str, int, str | None]]:
        return [(job.state, job.attempts, job.outcome) for job in self.queue.list()]


def test_event_arrives_signed_and_whole(database: DatabaseUrls, receiver: Receiver) -> None:
    with a_ledger(database.service_url) as ledger:
        hook = Hook(ledger, receiver.url)
        hook.run("r-1", template=Saved(None, "Tidy ü"))
        ((path, headers, body),) = receiver.requests
        assert path == "/hook?for=ledger"
        assert headers["content-type"] == "application/cloudevents+json; charset=utf-8"
        check_signature(hook.secret, headers, body)
        with pytest.raises(InputError, match="not that of its body"):
            check_signature(hook.secret, headers, body + b" ")
        with pytest.raises(InputError, match="more than 300 s ago"):
            check_signature(hook.secret, headers, body, now=int(headers["webhook-timestamp"]) + 301)
        event = json.loads(body)
        (job,) = hook.queue.list()
        run = event.pop("data")
        assert event == {
            "specversion": "1.0",
            "id": str(job.job_id),
            "source": f"urn:uuid:{ledger.account_id}",
            "type": "ledger.run.finished",
            "subject": "r-1",
            "time": event["time"],
            "datacontenttype": "application/json",
        }
        assert headers["webhook-id"] == event["id"]
        assert (run["run_id"], run["template"]["name"], run["tally"]["succeeded"]) == ("r-1", "Tidy ü", 1)
        assert run["page"] == "https://ledger.example/runs/r-1"
        assert hook.jobs == [("done", 1, "answered 200")]


def test_failed_run_is_an_event_of_its_own_type(database: DatabaseUrls, receiver: Receiver) -> None:
    with a_ledger(database.service_url) as ledger:
        hook = Hook(ledger, receiver.url)
        record(ledger, "r-1", [a_change(1)], finish=False)
        ledger.fail_run("r-1", "quota", "No calls left.")
        project(ledger)
        hook.worker.work_once()
        ((_, _, body),) = receiver.requests
        event = json.loads(body)
        assert (event["type"], event["data"]["error"]["code"]) == ("ledger.run.failed", "quota")


def test_trouble_of_the_receiver_is_tried_again_under_the_same_id(database: DatabaseUrls, receiver: Receiver) -> None:
    with a_ledger(database.service_url) as ledger:
        hook = Hook(ledger, receiver.url)
        receiver.answers[:] = [(500, {}), (429, {"Retry-After": "7200"}), (404, {})]
        hook.run("r-1")
        assert hook.jobs == [("waiting", 1, "answered 500")]
        hook.again()
        (waiting,) = hook.queue.list("waiting")
        assert (waiting.due_at - waiting.created_at).total_seconds() > 7_000
        hook.again()
        hook.again()
        assert hook.jobs == [("done", 4, "answered 200")]
        assert len({headers["webhook-id"] for _, headers, _ in receiver.requests}) == 1
        for _, headers, body in receiver.requests:
            check_signature(hook.secret, headers, body)


def test_redirect_is_not_followed(database: DatabaseUrls, receiver: Receiver) -> None:
    with a_ledger(database.service_url) as ledger, receiving() as elsewhere:
        hook = Hook(ledger, receiver.url)
        receiver.answers[:] = [(307, {"Location": elsewhere.url})]
        hook.run("r-1")
        assert hook.jobs == [("waiting", 1, "answered 307")]
        assert elsewhere.requests == []


def test_receiver_that_is_gone_disables_its_rule(database: DatabaseUrls, receiver: Receiver) -> None:
    with a_ledger(database.service_url) as ledger:
        hook = Hook(ledger, receiver.url)
        receiver.answers[:] = [(410, {})]
        hook.run("r-1")
        hook.run("r-2")
        assert len(receiver.requests) == 1
        assert hook.jobs == [("dead", 1, "answered 410; the rule is disabled")]
        assert hook.rules.get(hook.rule.rule_id).disabled_why == "the receiver answered 410 Gone"


def test_receiver_that_is_not_there_is_tried_again(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger, socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        taken.close()
        hook = Hook(ledger, f"http://127.0.0.1:{port}/")
        hook.run("r-1")
        ((state, attempts, outcome),) = hook.jobs
        assert (state, attempts) == ("waiting", 1)
        assert (outcome or "").startswith("no answer:")


def test_receiver_that_answers_for_ever_is_cut_off() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def drip() -> None:
            connection, _ = server.accept()
            with connection:
                try:
                    while True:
                        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                except OSError:
                    return

        thread = Thread(target=drip)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/"
        with pytest.raises((ConnectionError, TimeoutError, HTTPException)):
            post(url, b"{}", {}, allow_private=True, timeout_s=0.3)
        thread.join()


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1", "::1",
     "fe80::1%eth0", "fd00::1", "::ffff:127.0.0.1", "ff02::1"],
)  # fmt: skip
def test_private_address_is_refused_also_beside_a_public_one(address: str) -> None:
    for beside in ([], ["93.184.215.14"]):
        found = [*beside, address]
        with pytest.raises(NotAllowed, match="no public address"):
            post("https://hook.example/", b"", {}, allow_private=False, resolve=lambda *_, found=found: found)


def test_rule_to_a_private_address_is_dead_at_once_unless_allowed(database: DatabaseUrls, receiver: Receiver) -> None:
    with a_ledger(database.service_url) as ledger:
        hook = Hook(ledger, receiver.url.replace("http:", "https:"), allow_private=False)
        hook.run("r-1")
        ((state, _, outcome),) = hook.jobs
        assert state == "dead"
        assert "LEDGER_WEBHOOK_PRIVATE" in (outcome or "")
        with pytest.raises(NotAllowed, match="https"):
            post(receiver.url, b"", {}, allow_private=False)
        assert receiver.requests == []


def test_certificate_is_checked_for_the_name_that_was_asked_for(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "hook.example")
    with receiving(certificate.of_server()) as receiver:

        def send(host: str, **options: Any) -> int:
            url = f"https://{host}:{receiver.port}/"
            found = post(url, b"{}", {}, allow_private=True, resolve=lambda *_: ["127.0.0.1"], **options)
            return found.status

        assert send("hook.example", context=certificate.who_trusts) == 200
        with pytest.raises(ssl.SSLCertVerificationError):
            send("other.example", context=certificate.who_trusts)
        with pytest.raises(ssl.SSLCertVerificationError):
            send("hook.example")
        assert len(receiver.requests) == 1


def test_name_is_looked_up_once_and_what_was_checked_is_reached(receiver: Receiver) -> None:
    looked_up = []

    def resolve(host: str, port: int) -> list[str]:
        looked_up.append(host)
        return ["127.0.0.1"]

    url = f"http://hook.invalid:{receiver.port}/"
    assert post(url, b"{}", {}, allow_private=True, resolve=resolve).status == 200
    assert looked_up == ["hook.invalid"]
    ((_, headers, _),) = receiver.requests
    assert headers["host"] == f"hook.invalid:{receiver.port}"


@pytest.mark.parametrize(
    "url",
    ["", "ftp://a/", "https://", "https://a:b@c/", "https://a/#b", "https://a/ b", "https://a/\r\nHost: b", "https://a:0/",
     "https://a:99999/", "https://ä.example/", "https://a/" + "b" * 3_000],
)  # fmt: skip
def test_what_is_no_address_is_refused(url: str) -> None:
    with pytest.raises(InputError):
        check_url(url)


def test_signature_is_that_of_the_standard() -> None:
    """The example of the Standard Webhooks specification's own libraries."""
    key = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    body = b'{"test": 2432232314}'
    found = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert found == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


# Over HTTP.


def test_admin_makes_lists_and_removes_rules_and_the_secret_is_shown_once(web: Web) -> None:
    made = web.post("/v1/notification-rules", {"channel": "webhook", "url": "https://a.example/"}, role="admin")
    assert made.status_code == 201
    assert made.headers["Cache-Control"] == "no-store"
    rule = made.get_json()
    assert rule.pop("secret").startswith("whsec_")
    mail = {"channel": "email", "recipients": ["a@b.example"], "occasion": "failed", "template": "Tidy"}
    assert web.post("/v1/notification-rules", mail, role="admin").get_json()["secret"] is None
    listed = web.get("/v1/notification-rules", role="admin")
    assert "whsec_" not in listed.text
    assert listed.get_json()["rules"][0] == rule
    path = f"/v1/notification-rules/{rule['rule_id']}"
    assert web.client.delete(path, headers=web.headers("admin", {})).get_json() == rule
    assert web.client.delete(path, headers=web.headers("admin", {})).status_code == 404
    assert len(web.get("/v1/notification-rules", role="admin").get_json()["rules"]) == 1


@pytest.mark.parametrize("role", ["producer", "operator", "auditor"])
def test_rules_and_jobs_are_for_administrators(web: Web, role: str) -> None:
    for path in ("/v1/notification-rules", "/v1/jobs"):
        assert problem(web.get(path, role=role))["status"] == 403
    assert problem(web.post("/v1/notification-rules", {}, role=role))["status"] == 403


BAD_RULES: list[dict[str, Any]] = [
    {"channel": "email"},
    {"channel": "email", "recipients": []},
    {"channel": "email", "recipients": "a@b.example"},
    {"channel": "email", "recipients": [1]},
    {"channel": "email", "recipients": ["a@b.example\r\nBcc: c@d.example"]},
    {"channel": "email", "recipients": ["a@b.example"], "url": "https://a.example"},
    {"channel": "webhook"},
    {"channel": "webhook", "url": "file:///etc/passwd"},
    {"channel": "pigeon", "url": "https://a.example"},
    {"channel": "webhook", "url": "https://a.example", "occasion": "never"},
    {"channel": "webhook", "url": "https://a.example", "secret": "mine"},
]


def test_rule_that_is_none_is_refused(web: Web) -> None:
    for body in BAD_RULES:
        document = problem(web.post("/v1/notification-rules", body, role="admin"))
        assert document["status"] == 422, body
        assert document["errors"], body
    assert web.get("/v1/notification-rules", role="admin").get_json() == {"rules": []}


def test_jobs_are_listed_and_tried_again(web: Web) -> None:
    web.post("/v1/notification-rules", {"channel": "email", "recipients": ["a@b.example"]}, role="admin")
    run_id = web.record([a_change(1)])
    (job,) = web.get("/v1/jobs?state=waiting", role="admin").get_json()["jobs"]
    assert (job["about"], job["recipient"], job["attempts"]) == (run_id, "a@b.example", 0)
    assert web.get("/v1/jobs?state=dead", role="admin").get_json() == {"jobs": []}
    again = web.post(f"/v1/jobs/{job['job_id']}/retry", role="admin")
    assert again.get_json()["state"] == "waiting"
    assert problem(web.post("/v1/jobs/none/retry", role="admin"))["status"] == 404
    assert 'ledger_jobs{kind="email",state="waiting"} 1.0' in web.get("/metrics", role=None).text
