"""kill -9 of `ledger work` at the worst moment: the mail server has taken the message, nobody has noted it."""

from __future__ import annotations

from dataclasses import dataclass

from ledger.embedded import DatabaseUrls
from tests.command import Command
from tests.mail_server import Holding, mail_server

CHANGE = b'{"record_id":"1","action":"create","after":{"name":"Ann"}}\n'


@dataclass
class Operator:
    """Who looks after the queue."""

    ledger: Command

    def jobs(self) -> list[tuple[str, int]]:
        return [(job["state"], job["attempts"]) for job in self.ledger("jobs", "list", "--json").document]

    def retry_all(self) -> None:
        for job in self.ledger("jobs", "list", "--state", "waiting", "--json").document:
            self.ledger("jobs", "retry", job["job_id"])


def test_message_of_a_killed_worker_is_sent_again_under_the_same_id_and_never_lost(database: DatabaseUrls) -> None:
    holding = Holding()
    with mail_server(holding=holding) as inbox:
        ledger = Command(urls=database)
        ledger.environment = {
            **ledger.environment,
            "LEDGER_SMTP_HOST": "127.0.0.1",
            "LEDGER_SMTP_PORT": str(inbox.port),
            "LEDGER_SMTP_SECURITY": "none",
            "LEDGER_SMTP_FROM": "ledger@example.com",
        }
        operator = Operator(ledger)
        ledger("account", "add", "default")
        ledger("notify", "add", "email", "ann@example.com")
        ledger("run", "start", "--run-id", "r-1", "--object-type", "contact")
        ledger("run", "changes", "r-1", stdin=CHANGE)
        ledger("run", "finish", "r-1")
        ledger("project", "--once")

        with ledger.start("work") as worker:
            try:
                assert holding.arrived.wait(60), "the worker sent nothing"
            finally:
                worker.kill()
        holding.released.set()

        assert operator.jobs() == [("waiting", 1)]
        assert ledger("work", "--once").stderr == "0 jobs were taken.\n"  # its lease has not ended
        operator.retry_all()
        ledger("work", "--once")
        assert operator.jobs() == [("done", 2)]
        first, second = inbox.messages
        assert first["Message-ID"] == second["Message-ID"]
        assert first["Subject"] == second["Subject"] == "Run r-1 finished: contact (1 succeeded, 0 failed)"
