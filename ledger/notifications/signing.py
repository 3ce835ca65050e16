"""Signatures of webhooks (Standard Webhooks, github.com/standard-webhooks): made here, checked by receivers.

`check_signature` is what a receiver written in Python may use: HMAC-SHA256 over `id.timestamp.body`.
"""

from __future__ import annotations

import base64
import hmac
import time
from collections.abc import Mapping
from hashlib import sha256

from ledger.errors import InputError

SECRET_PREFIX = "whsec_"  # noqa: S105 - the prefix that Standard Webhooks gives secrets
TOLERANCE_S = 300
ID_HEADER, TIMESTAMP_HEADER, SIGNATURE_HEADER = "webhook-id", "webhook-timestamp", "webhook-signature"


def sign(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    """The value of `webhook-signature`."""
    digest = hmac.digest(key, f"{message_id}.{timestamp}.".encode() + body, sha256)
    return "v1," + base64.b64encode(digest).decode()


def check_signature(secret: str, headers: Mapping[str, str], body: bytes, *, now: float | None = None) -> None:
    """Raises InputError unless the body was signed with this secret (`whsec_...`) within the last five minutes.

    `headers` by their names in lower case. Keep the webhook-ids that you have dealt with: a repeat has the same one.
    """
    message_id, timestamp = headers.get(ID_HEADER, ""), headers.get(TIMESTAMP_HEADER, "")
    if not timestamp.isascii() or not timestamp.isdigit() or len(timestamp) > 18:
        raise InputError("The webhook has no timestamp.")
    if abs((time.time() if now is None else now) - int(timestamp)) > TOLERANCE_S:
        raise InputError(f"The webhook was signed more than {TOLERANCE_S} s ago, or in the future.")
    key = base64.b64decode(secret.removeprefix(SECRET_PREFIX))
    expected = sign(key, message_id, int(timestamp), body).encode()
    found = headers.get(SIGNATURE_HEADER, "").encode().split(b" ")
    if not any(hmac.compare_digest(expected, each) for each in found):
        raise InputError("The webhook's signature is not that of its body.")
