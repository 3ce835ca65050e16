"""Digests of answers (RFC 9530), for those who ask: `Want-Repr-Digest: sha-256=10`.

A digest stands in front of the body and an answer is made while it is sent, so an answer with a digest is made whole
first, in a file: it begins later, and nothing of it has to fit into memory.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from hashlib import sha256, sha512
from tempfile import TemporaryFile
from typing import IO, Any

from flask import Response, request

BLOCK_BYTES = 256 * 1024
HASHES: dict[str, Callable[[], Any]] = {"sha-256": sha256, "sha-512": sha512}
WANTED = "Want-Repr-Digest"
_PREFERENCE = re.compile(r"\s*([a-z0-9-]+)\s*=\s*(10|[0-9])\s*")


def wanted_digest() -> str | None:
    """The algorithm that the client prefers of those that we know; None: it asks for none that we have."""
    found = (_PREFERENCE.fullmatch(part) for part in request.headers.get(WANTED, "").split(","))
    wanted = {match[1]: int(match[2]) for match in found if match and match[1] in HASHES}
    name = max(wanted, key=lambda each: wanted[each], default=None)
    return name if name is not None and wanted[name] > 0 else None


def add_digest(answer: Response) -> Response:
    """The answer with the Repr-Digest that the client asks for; without one, as it is."""
    name = wanted_digest()
    if name is None:
        return answer
    file, hashing = TemporaryFile(), HASHES[name]()  # noqa: SIM115 - closed when it was sent
    try:
        for block in answer.iter_encoded():
            hashing.update(block)
            file.write(block)
    except BaseException:
        file.close()
        raise
    answer.close()
    answer.headers["Repr-Digest"] = f"{name}=:{base64.b64encode(hashing.digest()).decode()}:"
    answer.content_length = file.tell()
    file.seek(0)
    answer.response = _closing(file)
    answer.call_on_close(file.close)
    return answer


def _closing(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        yield from blocks_of(file)


def blocks_of(file: IO[bytes]) -> Iterator[bytes]:
    """What is left of a file."""
    while block := file.read(BLOCK_BYTES):
        yield block
