"""A real mail server for tests: takes messages on a local port, and refuses as it is told."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from typing import Any

from aiosmtpd.controller import Controller

from ledger.notifications.smtp import Mailer, MailServer


@dataclass
class Inbox:
    """What came in. `refusals`: what the next recipients are answered, one after the other."""

    port: int
    messages: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    data_answers: list[str] = field(default_factory=list)

    async def handle_RCPT(self, server: Any, session: Any, envelope: Any, address: str, options: list[str]) -> str:
        if self.refusals:
            return self.refusals.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        if self.data_answers and not self.data_answers[0].startswith("2"):
            return self.data_answers.pop(0)
        message = message_from_bytes(envelope.content, policy=default)
        assert isinstance(message, EmailMessage)
        self.messages.append(message)
        self.recipients += envelope.rcpt_tos
        return self.data_answers.pop(0) if self.data_answers else "250 taken"

    def mailer(self, **settings: Any) -> Mailer:
        standard: dict[str, Any] = {"security": "none", "sender": "Ledger <ledger@ledger.example>"}
        return Mailer(MailServer(host="127.0.0.1", port=self.port, **(standard | settings)))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def mail_server(**options: Any) -> Iterator[Inbox]:
    """Runs while the block does. `options` go to aiosmtpd's server."""
    inbox = Inbox(free_port())
    controller = Controller(inbox, hostname="127.0.0.1", port=inbox.port, **options)
    controller.start()
    try:
        yield inbox
    finally:
        controller.stop()
