"""Answers: exact JSON, streamed lines, links to the next page, what a repeated request gets."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

from flask import Response, request
from werkzeug.exceptions import HTTPException

from api.auth import services
from ledger.access import Identity
from ledger.errors import InputError, LedgerError, Problem
from ledger.idempotency import Answer
from ledger.json_text import encode

BLOCK_BYTES = 64 * 1024
POSITION_HEADER = "Ledger-Position"
"""The position of the last event that the request wrote: pass it as wait_for_position to read your own write."""
REPLAYED_HEADER = "Idempotency-Replayed"


def json_answer(value: Any, status: int = 200, *, position: int | None = None) -> Response:
    """JSON with `Raw` members as they are."""
    answer = Response(encode(value), status, mimetype="application/json")
    if position is not None:
        answer.headers[POSITION_HEADER] = str(position)
    return answer


def ndjson_answer(items: Iterable[Any]) -> Response:
    """One JSON text a line, streamed in blocks of about 64 kB."""
    return Response(_blocks(items), mimetype="application/x-ndjson")


def page_answer(document: dict[str, Any], next_cursor: str | None) -> Response:
    """A page with `next_cursor`, and the same as a Link header (RFC 8288)."""
    answer = json_answer(document | {"next_cursor": next_cursor})
    if next_cursor is not None:
        parameters = [pair for pair in request.args.items(multi=True) if pair[0] != "cursor"]
        target = request.script_root + request.path + "?" + urlencode([*parameters, ("cursor", next_cursor)])
        answer.headers["Link"] = f'<{target}>; rel="next"'
    return answer


def once(identity: Identity, body: bytes, act: Callable[[], Response]) -> Response:
    """What `act` answers; for an Idempotency-Key that was used already: what it answered then.

    A request that is refused gives its key back. Raises KeyReused, Conflict, InputError.
    """
    key = request.headers.get("Idempotency-Key")
    if key is None:
        return act()
    keys = services().idempotency_keys(identity.account_id)
    kept = keys.begin(key, sha256(f"{request.method} {request.full_path}\n".encode() + body).digest())
    if kept is not None:
        answer = Response(kept.body, kept.status, mimetype="application/json")
        answer.headers[REPLAYED_HEADER] = "true"
        return answer
    try:
        answer = act()
    except (LedgerError, HTTPException):
        keys.release(key)
        raise
    keys.keep(key, Answer(answer.status_code, answer.get_data()))
    return answer


def refuse_idempotency_key() -> None:
    """Raises InputError: for requests whose answer must not be kept."""
    if "Idempotency-Key" in request.headers:
        problem = Problem("Not taken here.", parameter="Idempotency-Key", expected="no such header")
        raise InputError("The answer holds a secret, so it is not kept for repeats.", problems=(problem,))


def _blocks(items: Iterable[Any]) -> Iterator[bytes]:
    block = bytearray()
    for item in items:
        block += encode(item)
        block += b"\n"
        if len(block) >= BLOCK_BYTES:
            yield bytes(block)
            block.clear()
    if block:
        yield bytes(block)
