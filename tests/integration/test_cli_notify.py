"""`ledger notify`, `work` and `jobs`, as an operator uses them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ledger.embedded import DatabaseUrls
from tests.command import Command
from tests.mail_server import Inbox, mail_server


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with mail_server() as found:
        yield found


@pytest.fixture
def ledger(database: DatabaseUrls, inbox: Inbox) -> Command:
    command = Command(urls=database)
    command.environment = command.environment | {  # type: ignore[operator]
        "LEDGER_SMTP_HOST": "127.0.0.1",
        "LEDGER_SMTP_PORT": str(inbox.port),
        "LEDGER_SMTP_SECURITY": "none",
        "LEDGER_SMTP_FROM": "Ledger <ledger@example.com>",
        "LEDGER_BASE_URL": "https://ledger.example/",
    }
    command("account", "add", "default")
    return command


def record(ledger: Command, run_id: str, template: str = "Tidy") -> None:
    ledger("run", "start", "--run-id", run_id, "--object-type", "contact", "--template", template)
    ledger("run", "changes", run_id, stdin=b'{"record_id":"1","action":"create","after":{"name":"Ann"}}\n')
    ledger("run", "finish", run_id)


def test_report_is_sent_when_a_run_ends(ledger: Command, inbox: Inbox) -> None:
    rule_id = ledger("notify", "add", "email", "ann@example.com", "--template", "Tidy").stdout.decode().strip()
    record(ledger, "r-1")
    record(ledger, "r-2", "Merge")
    ended = ledger("work", "--once")
    assert ended.stderr == "1 jobs were taken.\n"
    (message,) = inbox.messages
    assert message["Subject"] == "Run r-1 finished: Tidy (1 succeeded, 0 failed)"
    (row,) = ledger("notify", "list", "--json").document
    assert (row["rule_id"], row["recipients"], row["template"]) == (rule_id, ["ann@example.com"], "Tidy")
    assert b"ann@example.com" in ledger("notify", "list").stdout
    (job,) = ledger("jobs", "list", "--ndjson").lines
    assert (job["about"], job["recipient"], job["state"]) == ("r-1", "ann@example.com", "done")
    ledger("notify", "remove", rule_id)
    assert ledger("notify", "list", "--json").document == []


def test_dead_job_is_shown_and_tried_again_or_forgotten(ledger: Command, inbox: Inbox) -> None:
    ledger("notify", "add", "email", "ann@example.com")
    inbox.refusals[:] = ["550 no such user", "550 no such user"]
    record(ledger, "r-1")
    record(ledger, "r-2")
    ledger("work", "--once")
    first, second = ledger("jobs", "list", "--state", "dead", "--json").document
    assert b"550 no such user" in ledger("jobs", "list").stdout
    ledger("jobs", "retry", first["job_id"])
    ledger("jobs", "forget", second["job_id"])
    ledger("work", "--once")
    assert [job["state"] for job in ledger("jobs", "list", "--json").document] == ["done"]
    assert len(inbox.messages) == 1


def test_rule_is_tested_at_once_and_tells_what_came_of_it(ledger: Command, inbox: Inbox) -> None:
    rule_id = ledger("notify", "add", "email", "a@example.com", "b@example.com").stdout.decode().strip()
    assert ledger("notify", "test", rule_id).stdout == (
        b"a@example.com: sent: 127.0.0.1 took it\nb@example.com: sent: 127.0.0.1 took it\n"
    )
    inbox.refusals[:] = ["550 no such user"]
    assert b"not sent: 550 no such user" in ledger("notify", "test", rule_id, code=1).stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("notify", "add", "email", "nobody"), 2),
        (("notify", "add", "email"), 2),
        (("notify", "add", "webhook", "ftp://example.com"), 2),
        (("notify", "add", "email", "a@b.c", "--on", "sometimes"), 2),
        (("notify", "remove", "none"), 3),
        (("notify", "test", "none"), 3),
        (("jobs", "retry", "none"), 3),
        (("jobs", "forget", "00000000-0000-0000-0000-000000000000"), 3),
        (("--account", "nobody", "notify", "list"), 3),
    ],
)
def test_error_ends_with_its_exit_code(ledger: Command, arguments: tuple[str, ...], code: int) -> None:
    ended = ledger(*arguments, code=code)
    assert ended.stdout == b""
    assert ended.stderr
