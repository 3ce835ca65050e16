"""Erasures, legal holds and retention from a program: `Client(url, token).keeping`, with an administrator's token."""

from __future__ import annotations

import json
import secrets
from collections.abc import Sequence
from typing import Any
from urllib.parse import quote, urlencode

from ledger.sending.undos import Asking


class KeepingCalls:
    """What is erased and what must be kept, in the token's account. Answers are the documents of `docs/http-api.md`."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking

    def erase(
        self, object_type: str, record_id: str, *, reason: str, fields: Sequence[str] | None = None
    ) -> dict[str, Any]:
        """Erases a record's data (of some fields; None: all) for good. Sent again after a lost answer, it is one
        erasure. Raises Conflict (code `held` under a legal hold), NotFound, InputError, NotPermitted."""
        body = {"object_type": object_type, "record_id": record_id, "fields": fields, "reason": reason}
        headers = {"Content-Type": "application/json", "Idempotency-Key": secrets.token_hex(16)}
        return dict(self._asking.ask("POST", "/erasures", json.dumps(body).encode(), headers))

    def erasures(self) -> list[dict[str, Any]]:
        """The erasure list."""
        return list(self._asking.ask("GET", "/erasures")["erasures"])

    def holds(self) -> list[dict[str, Any]]:
        """The legal holds in force."""
        return list(self._asking.ask("GET", "/holds")["holds"])

    def hold(self, object_type: str, record_id: str | None = None, *, reason: str) -> list[dict[str, Any]]:
        """Holds a record, or all of a type. The holds in force afterwards."""
        body = {"object_type": object_type, "record_id": record_id, "reason": reason}
        return list(self._send("POST", "/holds", body)["holds"])

    def lift_hold(self, object_type: str, record_id: str | None = None, *, reason: str) -> list[dict[str, Any]]:
        """Lifts a hold. Raises NotFound."""
        named = {"object_type": object_type, "reason": reason} | ({} if record_id is None else {"record_id": record_id})
        return list(self._asking.ask("DELETE", f"/holds?{urlencode(named)}")["holds"])

    def retention(self) -> list[dict[str, Any]]:
        """The retention policies in force."""
        return list(self._asking.ask("GET", "/retention")["retention"])

    def keep(self, object_type: str, keep_days: int, *, what: str = "before", reason: str) -> list[dict[str, Any]]:
        """Sets a type's policy: after so many days changes lose their before-states (`what` "whole": all)."""
        body = {"keep_days": keep_days, "what": what, "reason": reason}
        return list(self._send("PUT", f"/retention/{quote(object_type, safe='')}", body)["retention"])

    def apply_retention(self) -> list[dict[str, Any]]:
        """Applies all policies now."""
        return list(self._send("POST", "/retention/apply", None)["applied"])

    def _send(self, method: str, path: str, body: Any) -> Any:
        data = b"" if body is None else json.dumps(body).encode()
        return self._asking.ask(method, path, data, {"Content-Type": "application/json"})
