"""Reports by e-mail, against a real mail server: what is in them, what refusals mean, what a crash means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from aiosmtpd.smtp import AuthResult

from ledger.addresses import check_address
from ledger.domain.operation import Saved, User
from ledger.domain.run import SystemFault
from ledger.embedded import DatabaseUrls
from ledger.errors import InputError
from ledger.jobs.queue import AccountJobs
from ledger.jobs.worker import Again, Dead, Done, Worker
from ledger.notifications.delivering import Delivery, DeliveryOptions
from ledger.notifications.mail import compose
from ledger.notifications.rules import Rules
from ledger.notifications.smtp import Mailer
from ledger.notifications.told import ToldRun, a_test_run
from ledger.service import AccountLedger
from projections.notifying.reading import NotifiedRuns
from projections.reports.reading import Reports
from tests.certificate import make_certificate
from tests.examples import a_change, a_ledger, an_operation, record
from tests.mail_server import Inbox, mail_server
from tests.naughty import CONTROLS, DIRECTIONS, EMOJI, MARKUP, UNICODE, WORDS
from tests.projected import project


@pytest.fixture(scope="module")
def server() -> Iterator[Inbox]:
    with mail_server() as found:
        yield found


@pytest.fixture
def inbox(server: Inbox) -> Inbox:
    for kept in (server.messages, server.recipients, server.refusals, server.data_answers):
        kept.clear()
    return server


class Post:
    """An account with a rule and a worker that sends for it."""

    def __init__(self, ledger: AccountLedger, inbox: Inbox, *recipients: str, **options: Any) -> None:
        self.ledger, self.database = ledger, ledger.store.recorder.database
        self.rules = Rules(self.database, ledger.account_id)
        self.queue = AccountJobs(self.database, ledger.account_id)
        occasion = options.pop("occasion", "all")
        self.rule = self.rules.add_email(recipients or ("a@example.com",), occasion=occasion, created_by="Ann")
        self.mailer: Mailer | None = inbox.mailer()
        self.options = DeliveryOptions(**({"base_url": "https://ledger.example"} | options))

    @property
    def delivery(self) -> Delivery:
        return Delivery(self.database, NotifiedRuns(self.database), self.options, mailer=self.mailer)

    def run(self, run_id: str, count: int = 3, **facts: Any) -> None:
        record(self.ledger, run_id, [a_change(number) for number in range(count)], **facts)
        project(self.ledger)

    def work(self) -> None:
        Worker(self.database, self.delivery.handlers()).work_once()

    def revive(self) -> None:
        for job in self.queue.list("waiting"):
            self.queue.revive(str(job.job_id))

    @property
    def jobs(self) -> list[tuple[str, int, str | None]]:
        return [(job.state, job.attempts, job.outcome) for job in self.queue.list()]


def test_report_arrives_with_run_id_tally_and_the_same_bytes_as_the_download(
    database: DatabaseUrls, inbox: Inbox
) -> None:
    with a_ledger(database.service_url) as ledger:
        post = Post(ledger, inbox, "a@example.com", "b@example.com")
        post.run("r~1", 3)
        post.work()
        assert sorted(inbox.recipients) == ["a@example.com", "b@example.com"]
        message = inbox.messages[0]
        assert message["Subject"] == "Run r~1 finished: Tidy phone numbers (3 succeeded, 0 failed)"
        assert message["From"] == "Ledger <ledger@ledger.example>"
        assert {each["To"] for each in inbox.messages} == {"a@example.com", "b@example.com"}
        (attachment,) = message.iter_attachments()
        assert attachment.get_filename() == "report-r~1.csv"
        assert attachment.get_content_type() == "text/csv"
        assert attachment.get_payload(decode=True) == b"".join(
            Reports(post.database, ledger.account_id).open("r~1").blocks
        )
        for form in ("plain", "html"):
            body = message.get_body((form,))
            assert body is not None
            text = body.get_content()
            assert "https://ledger.example/runs/r~1" in text
            assert "Ann Example" in text
        plain = message.get_body(("plain",))
        assert plain is not None
        assert "Succeeded             3" in plain.get_content()
        assert len({each["Message-ID"] for each in inbox.messages}) == 2
        assert {state for state, _, _ in post.jobs} == {"done"}
        post.work()
        assert len(inbox.messages) == 2


def test_system_error_is_told_and_a_run_without_report_has_no_attachment(database: DatabaseUrls, inbox: Inbox) -> None:
    with a_ledger(database.service_url) as ledger:
        post = Post(ledger, inbox, occasion="failed")
        ledger.start_run(an_operation(), run_id="r-1")
        ledger.fail_run("r-1", "quota", "No calls <left>.")
        project(ledger)
        post.work()
        (message,) = inbox.messages
        assert message["Subject"].startswith("Run r-1 failed")
        assert list(message.iter_attachments()) == []
        plain, html = message.get_body(("plain",)), message.get_body(("html",))
        assert plain is not None
        assert html is not None
        assert "System error: quota: No calls <left>." in plain.get_content()
        assert "No calls &lt;left&gt;." in html.get_content()


@pytest.mark.parametrize(
    ("occasion", "told"),
    [("all", {"fine", "mixed", "hopeless"}), ("failed", {"mixed", "hopeless"}), ("zero_succeeded", {"hopeless"})],
)
def test_occasion_chooses_by_how_the_run_ended(
    database: DatabaseUrls, inbox: Inbox, occasion: str, told: set[str]
) -> None:
    failed = a_change(1, result="failed", message="locked")
    with a_ledger(database.service_url) as ledger:
        post = Post(ledger, inbox, occasion=occasion)
        record(ledger, "fine", [a_change(1)])
        record(ledger, "mixed", [a_change(1), failed])
        record(ledger, "hopeless", [failed])
        project(ledger)
        post.work()
        assert {message["X-Ledger-Run-ID"] for message in inbox.messages} == told
        assert {job.about for job in post.queue.list("done")} == {"fine", "mixed", "hopeless"}


def test_recipe_is_told_with_the_tally_and_report_of_its_runs(database: DatabaseUrls, inbox: Inbox) -> None:
    with a_ledger(database.service_url) as ledger:
        post = Post(ledger, inbox)
        ledger.start_run(an_operation(kind="recipe", template=None, recipe=Saved(None, "Nightly")), run_id="rec")
        for number in (1, 2):
            record(ledger, f"child-{number}", [a_change(n) for n in range(2)], recipe_run_id="rec")
        ledger.finish_run("rec")
        project(ledger)
        post.work()
        (message,) = [each for each in inbox.messages if each["X-Ledger-Run-ID"] == "rec"]
        assert message["Subject"] == "Run rec finished: Nightly (4 succeeded, 0 failed)"
        (attachment,) = message.iter_attachments()
        assert len(bytes(attachment.get_payload(decode=True)).splitlines()) == 5


@pytest.mark.parametrize("limit", [10, 200])
def test_report_above_the_limit_is_linked_instead(database: DatabaseUrls, inbox: Inbox, limit: int) -> None:
    with a_ledger(database.service_url) as ledger:
        post = Post(ledger, inbox, report_bytes_max=limit)
        post.run("r-1", 5)
        post.work()
        (message,) = inbox.messages
        assert list(message.iter_attachments()) == []
        plain = message.get_body(("plain",))
        assert plain is not None
        assert f"limit {limit} bytes" in plain.get_content()
        assert "https://ledger.example/runs/r-1" in plain.get_content()


def test_refusal_that_may_pass_is_tried_again_and_one_for_good_is_not(database: DatabaseUrls, inbox: Inbox) -> None:
    with a_ledger(database.service_url) as ledger:
        post = Post(ledger, inbox)
        inbox.refusals[:] = ["451 greylisted, come back"]
        post.run("r-1")
        post.work()
        assert post.jobs == [("waiting", 1, "451 greylisted, come back")]
        inbox.data_answers[:] = ["452 disk full"]
        post.revive()
        post.work()
        assert post.jobs == [("waiting", 2, "452 disk full")]
        post.revive()
        post.work()
        assert post.jobs == [("done", 3, "127.0.0.1 took it")]
        assert len(inbox.messages) == 1
        inbox.refusals[:] = ["550 no such user"]
        post.run("r-2")
        post.work()
        assert ("dead", 1, "550 no such user") in post.jobs
        assert len(inbox.messages) == 1


def test_one_recipient_that_is_refused_keeps_no_other_from_its_mail(database: DatabaseUrls, inbox: Inbox) -> None:
    with a_ledger(database.service_url) as ledger:
        post = Post(ledger, inbox, "a@example.com", "b@example.com")
        inbox.refusals[:] = ["450 busy"]
        post.run("r-1")
        post.work()
        assert len(inbox.recipients) == 1
        post.revive()
        post.work()
        assert sorted(inbox.recipients) == ["a@example.com", "b@example.com"]


def test_worker_that_dies_before_it_sends_loses_nothing(database: DatabaseUrls, inbox: Inbox) -> None:
    with a_ledger(database.service_url) as ledger:
        post = Post(ledger, inbox)
        post.run("r-1")
        assert post.queue.take(["email"], lease_s=0) is not None  # and here it dies
        post.work()
        assert len(inbox.messages) == 1


def test_worker_that_dies_after_the_server_took_it_sends_the_same_message_again(
    database: DatabaseUrls, inbox: Inbox
) -> None:
    with a_ledger(database.service_url) as ledger:
        post = Post(ledger, inbox)
        post.run("r-1")
        job = post.queue.take(["email"], lease_s=0)
        assert job is not None
        assert isinstance(post.delivery.handlers()["email"](ledger.account_id, job), Done)  # and here it dies
        post.work()
        first, second = inbox.messages
        assert first["Message-ID"] == second["Message-ID"]
        assert post.jobs == [("done", 2, "127.0.0.1 took it")]


def test_answer_that_is_lost_is_tried_again(database: DatabaseUrls, inbox: Inbox) -> None:
    with a_ledger(database.service_url) as ledger:
        post = Post(ledger, inbox)
        post.run("r-1")
        inbox.data_answers[:] = ["221 closing"]  # neither taken nor refused: smtplib cannot know
        post.work()
        ((state, attempts, _),) = post.jobs
        assert (state, attempts) == ("waiting", 1)


def test_nothing_is_sent_for_a_rule_that_was_removed_or_disabled(database: DatabaseUrls, inbox: Inbox) -> None:
    with a_ledger(database.service_url) as ledger:
        post = Post(ledger, inbox)
        post.run("r-1")
        post.rules.remove(post.rule.rule_id)
        other = post.rules.add_email(("b@example.com",), created_by="Ann")
        post.run("r-2")
        post.rules.disable(other.rule_id, "too many")
        post.run("r-3")
        post.work()
        assert inbox.messages == []
        assert sorted(outcome or "" for _, _, outcome in post.jobs) == [
            "not sent: the rule is disabled: too many", "not sent: the rule is gone"
        ]  # fmt: skip


def test_account_that_sends_much_waits_without_losing_attempts(database: DatabaseUrls, inbox: Inbox) -> None:
    with a_ledger(database.service_url) as ledger:
        post = Post(ledger, inbox, mails_per_minute=2)
        for number in range(4):
            post.run(f"r-{number}")
        post.work()
        assert len(inbox.messages) == 2
        waiting = post.queue.list("waiting")
        assert [(job.attempts, job.outcome) for job in waiting] == [
            (0, "the account sends at most 2 e-mails a minute")
        ] * 2


def test_server_that_is_not_there_or_not_set_or_without_tls_is_tried_again(
    database: DatabaseUrls, inbox: Inbox
) -> None:
    message = compose_for(a_test_run())
    for mailer, why in (
        (inbox.mailer(security="starttls"), "STARTTLS"),
        (inbox.mailer(user="ann", password="secret"), "AUTH"),
        (inbox.mailer(security="tls"), ""),
    ):
        outcome = mailer.send(message, "a@example.com")
        assert isinstance(outcome, Again)
        assert why in outcome.outcome
    assert inbox.messages == []
    with a_ledger(database.service_url) as ledger:
        post = Post(ledger, inbox)
        post.mailer = None
        post.run("r-1")
        post.work()
        assert post.jobs == [("waiting", 1, "no mail server is set: LEDGER_SMTP_HOST and LEDGER_SMTP_FROM")]


def test_rule_is_tested_without_the_queue(database: DatabaseUrls, inbox: Inbox) -> None:
    with a_ledger(database.service_url) as ledger:
        post = Post(ledger, inbox, "a@example.com", "b@example.com")
        inbox.refusals[:] = ["550 no such user"]
        results = post.delivery.test(ledger.account_id, post.rule.rule_id)
        assert [type(outcome) for _, outcome in results] == [Dead, Done]
        assert [message["X-Ledger-Run-ID"] for message in inbox.messages] == ["TEST"]
        assert post.queue.list() == []


NASTY = [
    *WORDS, *CONTROLS, *UNICODE, *DIRECTIONS, *EMOJI, *MARKUP, "x\r\nBcc: eve@example.com", "\r\n.\r\n",
    "x\nBcc: eve@example.com\n\nbody", "x\u2028Bcc: eve@x\u2029", "=?utf-8?q?x=0ABcc:_e?=",
]  # fmt: skip


def compose_for(run: ToldRun) -> Any:
    return compose(
        run, sender="ledger@ledger.example", recipient="a@example.com", job_id=UUID(int=1),
        now=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip


def test_no_text_of_a_producer_adds_a_header() -> None:
    expected = ["From", "To", "Subject", "Date", "Message-ID", "Auto-Submitted", "X-Ledger-Run-ID", "MIME-Version",
                "Content-Type"]  # fmt: skip
    for text in dict.fromkeys(NASTY):
        operation = an_operation(template=Saved(None, text), user=User(None, text), module=text)
        run = replace(a_test_run(), operation=operation, error=SystemFault("code", text), status="failed")
        message = message_from_bytes(bytes(compose_for(run)), policy=default)
        assert message.keys() == expected, repr(text)
        assert message["Subject"].startswith("Run TEST failed"), repr(text)
        assert message["To"] == "a@example.com"


def test_no_text_of_a_producer_adds_a_recipient(database: DatabaseUrls, inbox: Inbox) -> None:
    with a_ledger(database.service_url) as ledger:
        post = Post(ledger, inbox)
        for number, text in enumerate(NASTY[-5:]):
            operation = an_operation(template=Saved(None, text), user=User(None, text), module=text)
            ledger.start_run(operation, run_id=f"r-{number}")
            ledger.fail_run(f"r-{number}", "code", text)
        project(ledger)
        post.work()
        assert len(inbox.messages) == 5
        assert set(inbox.recipients) == {"a@example.com"}
        assert all("Bcc" not in message for message in inbox.messages)


def test_mail_goes_over_tls_with_sign_in_to_a_server_whose_certificate_is_known(tmp_path: Path) -> None:
    certificate = make_certificate(tmp_path, "localhost")
    signed_in = []

    def authenticate(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
        signed_in.append((data.login, data.password))
        return AuthResult(success=data.password == b"right")

    message = compose_for(a_test_run())
    with mail_server(tls_context=certificate.of_server(), authenticator=authenticate, auth_required=True) as inbox:
        settings: dict[str, Any] = {"security": "starttls", "host": "localhost", "user": "ann", "password": "right"}
        knowing = inbox.mailer(**settings, context=certificate.who_trusts)
        assert knowing.send(message, "a@example.com") == Done("localhost took it")
        assert signed_in[-1] == (b"ann", b"right")
        for refused in (
            inbox.mailer(**settings),  # nobody knows the authority
            inbox.mailer(**settings | {"host": "127.0.0.1"}, context=certificate.who_trusts),  # another name
            inbox.mailer(**settings | {"password": "wrong"}, context=certificate.who_trusts),
        ):
            assert isinstance(refused.send(message, "a@example.com"), Again)
        assert len(inbox.messages) == 1


def test_header_that_would_end_early_is_not_sent() -> None:
    run = replace(a_test_run(), run_id="=?utf-8?q?x=0ABcc:_e?=")
    with pytest.raises(ValueError, match="Subject would end early"):
        compose_for(run)


@pytest.mark.parametrize(
    "text",
    [
        "", "a", "@b", "a@", "a b@c", "a@b\r\nBcc: c@d", "a@b\n", "a@b>", "<a@b>", "a@-b", "a@b,c@d", "ä@b", '"a"@b',
        "a@" + "b" * 300, "=?utf-8?q?x=0ABcc:_e?=@example.com",
    ],
)  # fmt: skip
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        check_address(text)
