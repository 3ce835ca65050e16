"""The channel over HTTP: one connection kept open, every request safe to repeat and repeated until it is answered.

A connection that breaks leaves open whether the request was carried out. That is harmless here: a run is started under
a Run ID chosen by the client, changes are sent with their offset, and ending a run twice is ending it once.
"""

from __future__ import annotations

import gzip
import json
import random
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection, IncompleteRead
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from ledger.errors import (
    Conflict,
    InputError,
    LedgerError,
    NotFound,
    NotPermitted,
    NotSignedIn,
    Problem,
    TooLarge,
    Unavailable,
)
from ledger.sending.channel import Started

REQUEST_TIMEOUT_S = 60.0
GIVE_UP_AFTER_S = 120.0
"""How long one request is tried again before the client raises Unavailable: a restart of the server takes seconds."""
PAUSE_FIRST_S, PAUSE_MAX_S = 0.1, 5.0
COMPRESS_FROM_BYTES = 1_024
ANSWER_BYTES_MAX = 16 * 1024 * 1024

_RETRIED_STATUSES = frozenset((408, 425, 429, 500, 502, 503, 504))
_ERROR_OF_STATUS: dict[int, type[LedgerError]] = {
    400: InputError,
    401: NotSignedIn,
    403: NotPermitted,
    404: NotFound,
    409: Conflict,
    412: Conflict,
    413: TooLarge,
    422: InputError,
}


class Answer(NamedTuple):
    """One HTTP answer: status, headers by lower-case name, body."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class HttpChannel:
    """A ledger at a URL such as `http://127.0.0.1:8321`, entered with an API token."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        give_up_after_s: float = GIVE_UP_AFTER_S,
        timeout_s: float = REQUEST_TIMEOUT_S,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise InputError(
                f"The ledger's URL is not valid: found {url!r}, expected one such as https://ledger.example.com.",
                problems=(Problem("Not a URL of a ledger.", parameter="url", found=url, expected="http(s)://host"),),
            )
        connection_type = HTTPSConnection if parts.scheme == "https" else HTTPConnection
        self._connection = connection_type(parts.hostname, parts.port, timeout=timeout_s)
        self._base = parts.path.rstrip("/") + "/v1"
        self._authorization = f"Bearer {token}"
        self._give_up_after_s = give_up_after_s
        self._pause = pause
        self._place = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    def start_run(self, facts: bytes) -> Started:
        answer = self._post("/runs", facts, "application/json")
        accepted = answer.get("accepted", answer.get("tally", {}).get("processed", 0))
        return Started(answer["run_id"], answer["stamp_run_id"], accepted)

    def send_changes(self, run_id: str, offset: int, lines: bytes) -> int:
        path = f"/runs/{quote(run_id, safe='~:')}/changes?offset={offset}"
        return int(self._post(path, lines, "application/x-ndjson")["accepted"])

    def finish_run(self, run_id: str) -> Mapping[str, Any]:
        return self._post(f"/runs/{quote(run_id, safe='~:')}/finish", b"{}", "application/json")

    def fail_run(self, run_id: str, code: str, message: str) -> Mapping[str, Any]:
        body = json.dumps({"code": code, "message": message}).encode()
        return self._post(f"/runs/{quote(run_id, safe='~:')}/fail", body, "application/json")

    def close(self) -> None:
        self._connection.close()

    def _post(self, path: str, body: bytes, content_type: str) -> dict[str, Any]:
        return self.ask("POST", path, body, {"Content-Type": content_type})

    def ask(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None
    ) -> dict[str, Any]:
        """The document that answers a request below /v1, one that is safe to repeat: it is, until it is answered.

        Raises the error that a problem tells, Unavailable once it gives up.
        """
        sent = {"Authorization": self._authorization, "Accept": "application/json"} | dict(headers or {})
        if len(body) >= COMPRESS_FROM_BYTES:
            body, sent["Content-Encoding"] = gzip.compress(body, 1, mtime=0), "gzip"
        answer = self._ask_until_answered(method, path, body, sent)
        if answer.status >= 300:
            raise error_in(answer)
        return _object_in(answer)

    def _ask_until_answered(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        deadline, pause_s = time.monotonic() + self._give_up_after_s, PAUSE_FIRST_S
        while True:
            wait_s, reason = 0.0, ""
            try:
                answer = self._ask(method, path, body, headers)
                if answer.status not in _RETRIED_STATUSES:
                    return answer
                wait_s, reason = retry_after_s(answer.headers.get("retry-after")), f"it answered {answer.status}"
            except (OSError, HTTPException) as error:
                self._connection.close()
                reason = f"{type(error).__name__}: {error}"
            wait_s = max(wait_s, pause_s * random.uniform(0.5, 1.0))  # noqa: S311 - spreads senders, guards nothing
            if time.monotonic() + wait_s > deadline:
                raise Unavailable(
                    f"The ledger at {self._place} did not accept the request for {self._give_up_after_s:g} s "
                    f"({reason}). Nothing accepted is lost; start the same run again to go on."
                )
            self._pause(wait_s)
            pause_s = min(pause_s * 2, PAUSE_MAX_S)

    def _ask(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Answer:
        self._connection.request(method, self._base + path, body or None, dict(headers))
        response = self._connection.getresponse()
        content = response.read(ANSWER_BYTES_MAX)
        if response.length:  # the server died while it answered; read() says nothing of it when it is given a limit
            raise IncompleteRead(content, response.length)
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)


def retry_after_s(value: str | None) -> float:
    """Seconds in a Retry-After header (RFC 9110 section 10.2.3): a number or a date; 0 for none or nonsense."""
    if not value:
        return 0.0
    if value.strip().isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0


def error_in(answer: Answer) -> LedgerError:
    """The error that a problem document (RFC 9457) tells: of the ledger's tree, with its code, facts and problems."""
    try:
        document = _object_in(answer)
    except Unavailable:
        document = {}
    code, status = document.get("code"), answer.status
    error_type = _error_types().get(str(code)) or _ERROR_OF_STATUS.get(status, LedgerError)
    message = document.get("detail") or document.get("title") or f"The ledger answered with status {status}."
    known = set(Problem.__slots__)
    problems = tuple(
        Problem(**{name: value for name, value in {"detail": "", **problem}.items() if name in known})
        for problem in document.get("errors", ())
        if isinstance(problem, dict)
    )
    standard = ("type", "title", "status", "detail", "instance", "errors", "code")
    facts = {name: value for name, value in document.items() if name not in standard}
    error_type = next(kind for kind in error_type.__mro__ if kind.__init__ is LedgerError.__init__)  # type: ignore[misc]  # only compared
    error: LedgerError = error_type(str(message), problems=problems, **facts)
    error.code = str(code or error.code)
    return error


def _object_in(answer: Answer) -> dict[str, Any]:
    try:
        document = json.loads(answer.body)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise Unavailable(f"The answer (status {answer.status}) is not a ledger's. Is the URL that of a ledger?")
    return document


def _error_types() -> dict[str, type[LedgerError]]:
    found, ahead = {}, [LedgerError]
    while ahead:
        error_type = ahead.pop()
        found[error_type.code] = error_type
        ahead += error_type.__subclasses__()
    return found
