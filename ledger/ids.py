"""Names of runs and of streams."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable, Sequence
from hashlib import sha1
from struct import unpack
from typing import Any
from uuid import UUID, uuid5

from ledger.errors import InputError, Problem

RUN_ID_LENGTH_MAX = 128
_RUN_ID = re.compile(rf"[A-Za-z0-9\-_.~:]{{1,{RUN_ID_LENGTH_MAX}}}")
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
"""Crockford's base 32 in lower case: no i, l, o, u, and no two names that a file system could take for one."""

_FIXED_BITS = 5 << 76 | 2 << 62
_FREE_BITS = (1 << 128) - 1 ^ (15 << 76 | 3 << 62)
"""Version and variant of a UUIDv5, and all other bits."""
_UUID_SIZE = 16
_BITS = (_FREE_BITS.to_bytes(_UUID_SIZE, "big"), _FIXED_BITS.to_bytes(_UUID_SIZE, "big"))

ACCOUNT_NAMESPACE = UUID("6f3cd3a1-6b0e-5b8e-9a1b-3a6c2d6f0b11")


def account_id_of(name: str) -> UUID:
    """The account's id, a UUIDv5 (RFC 9562 section 5.5) of its name: one name, one account, in every database."""
    return uuid5(ACCOUNT_NAMESPACE, name)


def make_run_id(now_ms: int | None = None) -> str:
    """A new Run ID of 18 characters: 48 bits of Unix milliseconds, then 42 random bits; sorts by time.

    The order is that of UUIDv7 (RFC 9562 section 5.7) in half its length; safe in file names and e-mail subjects.
    """
    value = ((now_ms if now_ms is not None else time.time_ns() // 1_000_000) << 42) | secrets.randbits(42)
    return "".join(_ALPHABET[(value >> shift) & 31] for shift in range(85, -1, -5))


def check_run_id(run_id: str, pointer: str = "/run_id") -> str:
    """The Run ID itself. Raises InputError unless it is 1 to 128 of letters, digits and `-_.~:`."""
    if _RUN_ID.fullmatch(run_id) and run_id.strip("."):
        return run_id
    raise InputError(
        "The Run ID is not valid.",
        problems=(
            Problem(
                "A Run ID names files, links and e-mail subjects, so only safe characters are taken.",
                pointer=pointer,
                found=repr(run_id[:140]),
                expected=f"1 to {RUN_ID_LENGTH_MAX} of letters, digits and -_.~: (not only dots)",
            ),
        ),
    )


def run_stream_id(account_id: UUID, run_id: str) -> UUID:
    """Stream of one run's own events."""
    return UUID(bytes=_name_based(account_id.bytes, b"run/" + run_id.encode()))


def outcome_stream_id(account_id: UUID, run_id: str) -> UUID:
    """Stream of a run's changes that reached no record: previews, and failures without a record id."""
    return UUID(bytes=_name_based(account_id.bytes, b"run-outcomes/" + run_id.encode()))


def keeping_stream_id(account_id: UUID) -> UUID:
    """Stream of what the account decided about keeping: holds, retention, erasures."""
    return UUID(bytes=_name_based(account_id.bytes, b"keeping"))


def record_stream_id(account_id: UUID, object_type: str, record_id: str) -> UUID:
    """Stream of one record. The length keeps ("a/b", "c") and ("a", "b/c") apart."""
    return UUID(bytes=record_stream_bytes(account_id.bytes, object_type, record_id))


def record_stream_bytes(account: bytes, object_type: str, record_id: str) -> bytes:
    """record_stream_id as its 16 bytes."""
    return record_streams(account, object_type)(record_id)


def record_streams(account: bytes, object_type: str) -> Callable[[str], bytes]:
    """record_stream_bytes for many records of one type: what is the same of their names is hashed once."""
    begun = _begun(account, object_type)

    def stream_bytes(record_id: str, begin: Callable[[], Any] = begun.copy) -> bytes:
        hashing = begin()
        hashing.update(record_id.encode())
        bits = int.from_bytes(hashing.digest()[:16], "big") & _FREE_BITS | _FIXED_BITS  # _versioned, without its call
        return bits.to_bytes(16, "big")

    return stream_bytes


def record_stream_block(account: bytes, object_type: str, record_ids: Sequence[str]) -> Sequence[bytes]:
    """record_stream_bytes of many records of one type, their bits set in one go."""
    begin = _begun(account, object_type).copy
    digests: list[bytes] = []
    for record_id in record_ids:
        hashing = begin()
        hashing.update(record_id.encode())
        digests.append(hashing.digest()[:_UUID_SIZE])
    number = len(digests)
    free, fixed = (int.from_bytes(bits * number, "big") for bits in _BITS)
    together = int.from_bytes(b"".join(digests), "big") & free | fixed
    return unpack(f"{_UUID_SIZE}s" * number, together.to_bytes(_UUID_SIZE * number, "big"))


def _begun(account: bytes, object_type: str) -> Any:
    return sha1(account + b"record/%d/%b/" % (len(object_type), object_type.encode()))  # noqa: S324 - as in _name_based


def _name_based(namespace: bytes, name: bytes) -> bytes:
    """A UUIDv5 (RFC 9562 section 5.5): SHA-1 of namespace and name with version and variant set."""
    return _versioned(sha1(namespace + name).digest())  # noqa: S324 - the RFC names it; no secret rests on it


def _versioned(digest: bytes) -> bytes:
    return (int.from_bytes(digest[:16], "big") & _FREE_BITS | _FIXED_BITS).to_bytes(16, "big")
