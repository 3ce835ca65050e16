"""Asking one witness for its cosignature of a checkpoint (c2sp.org/tlog-witness, the client's side).

A witness remembers the last checkpoint it cosigned of each log, and cosigns one only if it is shown to extend that.
So it holds what no database administrator and no key of ours can take back.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import NamedTuple
from urllib.parse import urlsplit

from ledger.errors import InputError, IntegrityFailed, Unavailable
from ledger.integrity.note import Key, Signature, is_signed, parse_note

TIMEOUT_S = 5.0
ANSWER_BYTES_MAX = 65_536
TRIES_MAX = 4
"""A witness may be further than is known here: another process of ours asked it, or an answer was lost."""

_SIZE = re.compile(rb"(0|[1-9][0-9]{0,18})\n?")


class Answer(NamedTuple):
    """What a witness said over HTTP."""

    status: int
    body: bytes


class Asked(NamedTuple):
    """A checkpoint to be cosigned: its size and signed note, and what proves that it extends one of a smaller size."""

    size: int
    note: str
    prove: Callable[[int], Sequence[bytes]]
    """From the smaller size to the consistency proof; raises IntegrityFailed where it cannot be made."""


class Cosignature(NamedTuple):
    """A witness's signature line, checked. `at`: seconds since 1970."""

    line: str
    at: int


Post = Callable[[str, bytes], Answer]
"""Sends a body to a URL. Raises Unavailable."""


def request_cosignature(url: str, key: Key, asked: Asked, *, old: int, post: Post) -> Cosignature:
    """The witness's cosignature. `old`: the size that it cosigned last, as far as is known here; 0: none.

    Raises IntegrityFailed where the witness holds a head that this checkpoint does not extend: the log was rolled back
    or forked. Raises Unavailable where it did not answer as it should; to be tried again.
    """
    old = old if old <= asked.size else 0
    for _ in range(TRIES_MAX):
        answer = post(f"{url}/add-checkpoint", format_request(old, asked.prove(old) if old else [], asked.note))
        if answer.status == 200:
            return _own_cosignature(key, asked, answer.body)
        if answer.status == 422:
            raise _forked(key, asked, "its proof of consistency fails there")
        if answer.status != 409:
            said = answer.body[:200].decode("utf-8", "replace").strip()
            raise Unavailable(f"The witness {key.name} answered {answer.status}: {said}")
        found = _SIZE.fullmatch(answer.body)
        if found is None:
            raise Unavailable(f"The witness {key.name} does not say which size it cosigned last: {answer.body[:80]!r}.")
        held = int(found[1])
        if held > asked.size:
            raise IntegrityFailed(
                f"The witness {key.name} cosigned {held} events of this log, which has {asked.size}: the database was "
                "put back to an older state, or somebody else signs with this key (docs/integrity.md, 'Witnesses')."
            )
        if held == old:  # as older versions of the specification say: the same size with another root
            raise _forked(key, asked, f"it holds another root for {held} events")
        old = held
    raise Unavailable(f"The witness {key.name} names another size each time: others submit this log too.")


def format_request(old: int, proof: Sequence[bytes], note: str) -> bytes:
    """The body of add-checkpoint."""
    lines = [f"old {old}", *(b64encode(each).decode() for each in proof)]
    return ("".join(line + "\n" for line in lines) + "\n" + note).encode()


def post_body(url: str, body: bytes) -> Answer:
    """Sends the body; redirects are not followed. Raises Unavailable."""
    parts = urlsplit(url)
    assert parts.hostname is not None, "the policy was checked"
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.hostname, parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", parts.path, body, {"Content-Type": "application/octet-stream"})
        response = connection.getresponse()
        return Answer(response.status, response.read(ANSWER_BYTES_MAX))
    except (OSError, HTTPException) as error:
        raise Unavailable(f"The witness at {url} cannot be reached: {error or type(error).__name__}.") from error
    finally:
        connection.close()


def _own_cosignature(key: Key, asked: Asked, lines: bytes) -> Cosignature:
    """The line of this key among those of the answer; others are not looked at, as the specification asks."""
    text = asked.note.partition("\n\n")[0] + "\n"
    try:
        found = parse_note(f"{text}\n".encode() + lines).signatures
    except InputError as error:
        raise Unavailable(f"The witness {key.name} gave no signature lines: {error.message}") from error
    for signature in found:
        if (signature.name, signature.key_id) == (key.name, key.key_id):
            if not is_signed(key, text, signature.signature):
                raise Unavailable(f"The witness {key.name} gave a cosignature that is not of this checkpoint.")
            return _cosignature(signature)
    raise Unavailable(f"The witness {key.name} gave no cosignature of the key {key.key_id.hex()} in the policy.")


def _cosignature(signature: Signature) -> Cosignature:
    return Cosignature(signature.format(), int.from_bytes(signature.signature[:8]))


def _forked(key: Key, asked: Asked, why: str) -> IntegrityFailed:
    return IntegrityFailed(
        f"The witness {key.name} refuses the checkpoint of {asked.size} events: {why}. The log is not the one that it "
        "cosigned before: it was altered or forked (docs/integrity.md, 'Witnesses')."
    )
