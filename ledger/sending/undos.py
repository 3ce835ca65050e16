"""Undos from a program: `Client(url, token).undos`, entered with the API token of an operator."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Protocol
from urllib.parse import quote

from ledger.errors import Unavailable

WAIT_S = 600.0
"""How long `wait` waits at the most, unless told otherwise."""
LOOK_FIRST_S, LOOK_MAX_S = 0.05, 2.0


class Asking(Protocol):
    """What is needed of a channel: one request, tried again until it is answered, and its answer's document."""

    def ask(self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None) -> Any: ...


class Undos:
    """Plans, undos and restorings of the token's account. Answers are the documents of `docs/http-api.md`.

    Options of a plan and of an undo are the members of `POST /v1/undos`: on_conflict, fields, records, object_types,
    columns, except_changes, target, plan_digest.
    """

    def __init__(self, asking: Asking, *, pause: Callable[[float], None] = time.sleep) -> None:
        self._asking = asking
        self._pause = pause

    def plan(self, *run_ids: str, **options: Any) -> dict[str, Any]:
        """What an undo would do now. Raises Conflict (refused, with its `reason`), InputError, NotFound."""
        return self._post("/undo-plans", {"runs": list(run_ids), **options})

    def undo(self, *run_ids: str, idempotency_key: str | None = None, **options: Any) -> dict[str, Any]:
        """Begins the undo; `wait` for its end. Under one key it is one undo, however often it is sent; without a key
        one is made, so that what is sent again after a lost answer is not a second undo. Raises as `plan` does."""
        return self._post("/undos", {"runs": list(run_ids), **options}, idempotency_key or secrets.token_hex(16))

    def restore_plan(self, object_type: str, as_of: datetime, **options: Any) -> dict[str, Any]:
        """What putting records of a type back to a moment would do now. Options: records (ids), on_conflict, target."""
        return self._post("/restore-plans", _restoring(object_type, as_of, options))

    def restore(
        self, object_type: str, as_of: datetime, *, idempotency_key: str | None = None, **options: Any
    ) -> dict[str, Any]:
        """Puts records of a type back to a moment, as one undo. Its undo_id is None where nothing has changed since."""
        body = _restoring(object_type, as_of, options)
        return self._post("/restores", body, idempotency_key or secrets.token_hex(16))

    def edited_report(self, run_id: str, file: bytes) -> dict[str, Any]:
        """What an edited report (XLSX, CSV) selects, and its cells that differ from the ledger. Its member
        `selection` holds the options for `plan` and `undo`."""
        path, headers = f"/runs/{quote(run_id, safe='~:')}/edited-reports", {"Content-Type": "application/octet-stream"}
        told = dict(self._asking.ask("POST", path, file, headers))
        return told | {"selection": {name: value for name, value in told["undo"].items() if name != "runs"}}

    def result(self, undo_id: str) -> dict[str, Any]:
        """How far an undo is: status running, interrupted (resume it), or how it ended. Raises NotFound."""
        return dict(self._asking.ask("GET", _path(undo_id)))

    def wait(self, undo_id: str, *, timeout_s: float = WAIT_S) -> dict[str, Any]:
        """The result once the undo runs no more. Raises NotFound, Unavailable when it still runs after that time."""
        deadline, pause_s = time.monotonic() + timeout_s, LOOK_FIRST_S
        while (result := self.result(undo_id))["status"] == "running":
            if time.monotonic() > deadline:
                raise Unavailable(f"Undo {undo_id} still runs after {timeout_s:g} s. Look again with `result`.")
            self._pause(pause_s)
            pause_s = min(2 * pause_s, LOOK_MAX_S)
        return result

    def resume(self, undo_id: str) -> dict[str, Any]:
        """Goes on with an interrupted undo. Raises NotFound."""
        return self._post(f"{_path(undo_id)}/resume", {})

    def cancel(self, undo_id: str) -> dict[str, Any]:
        """Stops an undo after the batch under way. Raises NotFound."""
        return self._post(f"{_path(undo_id)}/cancel", {})

    def approve(self, plan_digest: str) -> dict[str, Any]:
        """Approves another operator's plan, as the second person."""
        return self._post("/undo-approvals", {"plan_digest": plan_digest})

    def _post(self, path: str, document: Mapping[str, Any], key: str | None = None) -> dict[str, Any]:
        headers = {"Content-Type": "application/json"} | ({} if key is None else {"Idempotency-Key": key})
        return dict(self._asking.ask("POST", path, json.dumps(document).encode(), headers))


def _path(undo_id: str) -> str:
    return f"/undos/{quote(undo_id, safe='~:')}"


def _restoring(object_type: str, as_of: datetime, options: Mapping[str, Any]) -> dict[str, Any]:
    return {"object_type": object_type, "as_of": as_of.isoformat(), **options}
