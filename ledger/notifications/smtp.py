"""Handing a message to a mail server (RFC 5321), and what its answer means for the job."""

from __future__ import annotations

import smtplib
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import EmailMessage
from email.utils import parseaddr
from typing import Literal

from ledger.jobs.worker import Again, Dead, Done, Outcome
from ledger.notifications.told import one_line

Security = Literal["starttls", "tls", "none"]
PORTS: dict[Security, int] = {"starttls": 587, "tls": 465, "none": 25}
"""Where none is named (RFC 6409, RFC 8314)."""
TIMEOUT_S = 30.0
"""For each step of the conversation."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MailServer:
    """Where mail is handed in."""

    host: str
    port: int
    security: Security
    """starttls and tls check the server's certificate; neither ever goes on in the clear."""
    sender: str
    user: str | None = None
    password: str | None = field(default=None, repr=False)

    @property
    def sender_address(self) -> str:
        """The envelope's sender, where refusals that come later go."""
        return parseaddr(self.sender)[1]


class Mailer:
    """Sends through one server, a connection each message."""

    def __init__(
        self, server: MailServer, *, context: Callable[[], ssl.SSLContext] = ssl.create_default_context
    ) -> None:
        self.server = server
        self._context = context

    def send(self, message: EmailMessage, recipient: str) -> Outcome:
        """Done when the server took the message. 4xx and trouble with the connection are tried again, 5xx is not; a
        refusal of us instead of the message (sign-in, TLS, the greeting) is, because the settings can be mended."""
        try:
            connection = self._connect()
        except (OSError, smtplib.SMTPException) as error:
            return Again(f"{self.server.host}: {_shown(error)}")
        try:
            connection.send_message(message, self.server.sender_address, [recipient])
        except smtplib.SMTPRecipientsRefused as error:
            return _outcome(*error.recipients[recipient])
        except smtplib.SMTPResponseException as error:
            return _outcome(error.smtp_code, error.smtp_error)
        except smtplib.SMTPNotSupportedError as error:
            return Dead(_shown(error))
        except (OSError, smtplib.SMTPException) as error:
            return Again(f"the connection broke: {_shown(error)}")
        finally:
            with suppress(OSError, smtplib.SMTPException):  # the message was taken or was not; parting changes nothing
                connection.quit()
            connection.close()
        return Done(f"{self.server.host} took it")

    def _connect(self) -> smtplib.SMTP:
        server = self.server
        if server.security == "tls":
            connection: smtplib.SMTP = smtplib.SMTP_SSL(
                server.host, server.port, timeout=TIMEOUT_S, context=self._context()
            )
        else:
            connection = smtplib.SMTP(server.host, server.port, timeout=TIMEOUT_S)
        try:
            if server.security == "starttls":
                connection.starttls(context=self._context())
            if server.user is not None:
                connection.login(server.user, server.password or "")
        except BaseException:
            connection.close()
            raise
        return connection


def _outcome(code: int, text: bytes | str) -> Outcome:
    shown = f"{code} {one_line(text.decode(errors='replace') if isinstance(text, bytes) else text)}"
    return Dead(shown) if code >= 500 else Again(shown)


def _shown(error: Exception) -> str:
    if isinstance(error, smtplib.SMTPResponseException):
        return _outcome(error.smtp_code, error.smtp_error).outcome
    return one_line(str(error) or type(error).__name__)
