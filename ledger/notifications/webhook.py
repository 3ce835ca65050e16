"""Posting an event to somebody's address: no redirects, no proxies, no private addresses, and an end to waiting."""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import Timer
from typing import NamedTuple
from urllib.parse import urlsplit

from ledger.errors import InputError
from ledger.notifications.told import one_line

TIMEOUT_S = 15.0
"""To connect to each address, and again for the exchange itself."""
ADDRESSES_MAX = 4
RETRY_AFTER_MAX_S = 86_400.0
_ANSWER_BYTES_MAX = 500


class Answer(NamedTuple):
    """What the receiver said. `retry_after_s`: as its Retry-After asks."""

    status: int
    text: str
    retry_after_s: float | None


class NotAllowed(InputError):
    """The address is one that webhooks may not be sent to."""

    code = "webhook_address_refused"


Resolve = Callable[[str, int], list[str]]
"""Host and port to its IP addresses. Raises OSError."""


def resolve(host: str, port: int) -> list[str]:
    return [str(found[4][0]) for found in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def post(
    url: str,
    body: bytes,
    headers: Mapping[str, str],
    *,
    allow_private: bool,
    resolve: Resolve = resolve,
    timeout_s: float = TIMEOUT_S,
    context: Callable[[], ssl.SSLContext] = ssl.create_default_context,
) -> Answer:
    """One POST, straight to one of the addresses that were looked at.

    Unless allow_private, only https, and only to addresses that are public, all that the name has: so no rule can make
    the ledger talk to what stands beside it, also not by a name that answers differently the second time. Raises
    NotAllowed, OSError and http.client.HTTPException.
    """
    parts = urlsplit(url)
    is_tls, host = parts.scheme == "https", parts.hostname or ""
    port = parts.port or (443 if is_tls else 80)
    addresses = resolve(host, port)[:ADDRESSES_MAX]
    if not allow_private:
        _check_public(is_tls, host, addresses)
    connection = (
        http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=context())
        if is_tls
        else http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    )
    # Where http.client would look the name up again, it gets the address that was checked; TLS still checks the name.
    connection._create_connection = lambda *_: _connect_any(addresses, port, timeout_s)  # type: ignore[attr-defined]
    timer = Timer(timeout_s, _cut, [connection])  # a receiver that answers a byte at a time must not hold a worker
    try:
        connection.connect()
        timer.start()
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, dict(headers))
        answer = connection.getresponse()
        text = answer.read(_ANSWER_BYTES_MAX)
        return Answer(answer.status, one_line(text.decode(errors="replace")), _retry_after(answer))
    finally:
        timer.cancel()
        connection.close()


def _connect_any(addresses: list[str], port: int, timeout_s: float) -> socket.socket:
    for address in addresses[:-1]:
        with suppress(OSError):
            return socket.create_connection((address, port), timeout_s)
    return socket.create_connection((addresses[-1], port), timeout_s)


def _check_public(is_tls: bool, host: str, addresses: list[str]) -> None:
    if not is_tls:
        raise NotAllowed("Webhooks go to https:// addresses only. LEDGER_WEBHOOK_PRIVATE=allow lifts this.")
    for text in addresses:
        address = ipaddress.ip_address(text.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        if not (mapped or address).is_global or address.is_multicast:
            raise NotAllowed(
                f"{host} is at {text}, which is no public address. LEDGER_WEBHOOK_PRIVATE=allow lifts this."
            )


def _cut(connection: http.client.HTTPConnection) -> None:
    if connection.sock is not None:
        with suppress(OSError):
            connection.sock.shutdown(socket.SHUT_RDWR)


def _retry_after(answer: http.client.HTTPResponse) -> float | None:
    """RFC 9110 section 10.2.3: seconds; a date is taken as none."""
    text = (answer.getheader("Retry-After") or "").strip()
    return min(float(text), RETRY_AFTER_MAX_S) if text.isascii() and text.isdigit() else None
