"""A real mail server for tests: takes messages on a local port, and refuses as it is told."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from threading import Event
from typing import Any

from aiosmtpd.controller import Controller

from ledger.notifications.smtp import Mailer, MailServer


@dataclass
class Holding:
    """Keeps the server's "250" back, after it took the message."""

    arrived: Event = field(default_factory=Event)
    released: Event = field(default_factory=Event)


@dataclass
class Inbox:
    """What came in. `refusals`: what the next recipients are answered, one after the other."""

    port: int
    messages: list[EmailMessage] = field(default_factory=list)
    recipients: list[str] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    data_answers: list[str] = field(default_factory=list)
    holding: Holding | None = None

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
        if self.holding is not None:
            self.holding.arrived.set()
            await asyncio.get_running_loop().run_in_executor(None, self.holding.released.wait)
        return self.data_answers.pop(0) if self.data_answers else "250 taken"

    def mailer(self, **settings: Any) -> Mailer:
        standard: dict[str, Any] = {"security": "none", "sender": "Ledger <ledger@ledger.example>"}
        context = settings.pop("context", ssl.create_default_context)
        host = settings.pop("host", "127.0.0.1")
        return Mailer(MailServer(host=host, port=self.port, **(standard | settings)), context=context)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


@contextmanager
def mail_server(*, holding: Holding | None = None, **options: Any) -> Iterator[Inbox]:
    """Runs while the block does. `options` go to aiosmtpd's server."""
    inbox = Inbox(free_port(), holding=holding)
    controller = Controller(inbox, hostname="127.0.0.1", port=inbox.port, **options)
    controller.start()
    try:
        yield inbox
    finally:
        controller.stop()
