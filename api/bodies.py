"""Request bodies, in blocks: any length, bounded memory, gzip or not, whole or refused."""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator
from tempfile import TemporaryFile
from typing import Any

from flask import request
from werkzeug.exceptions import ClientDisconnected, UnsupportedMediaType

from api.digests import BLOCK_BYTES, HASHES, blocks_of
from ledger.errors import InputError, Problem, TooLarge
from ledger.wire.runs import RUN_BYTES_MAX

NDJSON, JSON = "application/x-ndjson", "application/json"
COUNT_HEADER = "Ledger-Change-Count"
_DIGEST = re.compile(r"\s*([a-z0-9-]+)=:([A-Za-z0-9+/=]*):\s*")


def read_json(*, bytes_max: int = RUN_BYTES_MAX) -> bytes:
    """The whole body of a JSON request. Raises TooLarge, InputError."""
    check_media_type(JSON)
    return read_whole(bytes_max, "changes go in apart")


def read_whole(bytes_max: int, advice: str) -> bytes:
    """The whole body, which is held in memory. Raises TooLarge, InputError."""
    parts, size = [], 0
    for block in body_blocks():
        size += len(block)
        if size > bytes_max:
            raise TooLarge(f"The document is too large. Send at most {bytes_max:,} bytes; {advice}.")
        parts.append(block)
    return b"".join(parts)


def check_media_type(*known: str) -> str:
    """The body's media type. Raises UnsupportedMediaType for one that is not known; none at all is the first known."""
    found = request.mimetype or known[0]
    if found not in known:
        raise UnsupportedMediaType(f"The body is {found}. Send {' or '.join(known)}.")
    return found


def body_blocks() -> Iterator[bytes]:
    """The body's bytes, decoded. Where the sender states a digest or a count, nothing is given out before it fits.

    Raises InputError for a body that is not what its headers say, UnsupportedMediaType for an unknown coding.
    """
    encoding = request.headers.get("Content-Encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip", ""):
        raise UnsupportedMediaType(f"The body is encoded as {encoding[:40]!r}. Send it as gzip, or as it is.")
    decode = _gunzip if encoding == "gzip" else _as_it_is
    digests, count = _stated_digests(), _stated_count()
    if not digests and count is None:
        return decode(_raw_blocks())
    return _checked_blocks(digests, count, decode)


def _raw_blocks() -> Iterator[bytes]:
    try:
        while block := request.stream.read(BLOCK_BYTES):
            yield block
    except (ClientDisconnected, OSError) as error:
        raise InputError("The body broke off before its end. Send it again, from the accepted offset.") from error


def _as_it_is(blocks: Iterator[bytes]) -> Iterator[bytes]:
    return blocks


def _gunzip(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """RFC 1952, several members too; never more than a block at once, whatever it unfolds to."""
    member = None
    for block in blocks:
        rest = block
        while rest:
            member = member or zlib.decompressobj(wbits=31)
            try:
                text = member.decompress(rest, BLOCK_BYTES)
                while len(text) == BLOCK_BYTES and not member.eof:
                    yield text
                    text = member.decompress(member.unconsumed_tail, BLOCK_BYTES)
            except zlib.error as error:
                raise InputError(f"The body is not gzip as its Content-Encoding says: {error}.") from None
            if text:
                yield text
            rest = member.unused_data if member.eof else member.unconsumed_tail
            member = None if member.eof else member
    if member is not None:
        raise InputError("The gzip body ends too early. Send it again, from the accepted offset.")


def _checked_blocks(digests: dict[str, bytes], count: int | None, decode: Any) -> Iterator[bytes]:
    with TemporaryFile() as kept:
        hashes = {name: HASHES[name]() for name in digests}
        for block in _raw_blocks():
            for one in hashes.values():
                one.update(block)
            kept.write(block)
        for name, one in hashes.items():
            if one.digest() != digests[name]:
                found = base64.b64encode(one.digest()).decode()
                raise _mismatch("Content-Digest", f"{name}=:{found}:", "the digest that the header states")
        if count is not None:
            kept.seek(0)
            lines = _count_lines(decode(blocks_of(kept)))
            if lines != count:
                raise _mismatch(COUNT_HEADER, f"{lines:,} lines", f"{count:,}, as the header states")
        kept.seek(0)
        yield from decode(blocks_of(kept))


def _count_lines(blocks: Iterator[bytes]) -> int:
    """Lines that are not blank."""
    lines, open_line = 0, False
    for block in blocks:
        *ended, rest = block.split(b"\n")
        for text in ended:
            lines += open_line or bool(text.strip())
            open_line = False
        open_line = open_line or bool(rest.strip())
    return lines + open_line


def _stated_digests() -> dict[str, bytes]:
    """Content-Digest (RFC 9530): those algorithms that we know. Raises InputError for a header of another form."""
    header = request.headers.get("Content-Digest")
    if not header:
        return {}
    found = {}
    for part in header.split(","):
        match = _DIGEST.fullmatch(part)
        try:
            value = base64.b64decode(match[2], validate=True) if match else b""
        except ValueError:
            match, value = None, b""
        if match is None:
            raise _mismatch("Content-Digest", repr(header[:80]), "sha-256=:BASE64: (RFC 9530)")
        if match[1] in HASHES:
            found[match[1]] = value
    return found


def _stated_count() -> int | None:
    header = request.headers.get(COUNT_HEADER)
    if header is None:
        return None
    if request.mimetype == JSON or not re.fullmatch(r"[0-9]{1,18}", header):
        raise _mismatch(COUNT_HEADER, repr(header[:40]), "the number of lines of an NDJSON body")
    return int(header)


def _mismatch(name: str, found: str, expected: str) -> InputError:
    return InputError(
        f"The body does not fit its header {name}: found {found}, expected {expected}. "
        "Nothing of it was recorded; send it again.",
        problems=(Problem("The body and its header differ.", parameter=name, found=found, expected=expected),),
    )
