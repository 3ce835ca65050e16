"""Exact JSON: values kept as the text they were sent as.

A *canonical text* here is compact UTF-8 without whitespace, strings with the fewest escapes, members in the order
sent, and every number with the very digits that were sent (`1.10`, `1e400`, a 30-digit integer, `-0`). Two equal
strings therefore always have equal bytes, and no number ever passes through a float. What RFC 8259 leaves open and
would change a value silently is refused: duplicate names (section 4), NaN and infinities (section 6), lone
surrogates and invalid UTF-8 (section 8), nesting deeper than `DEPTH_MAX`.

Two paths give the same text (a property test holds them equal): msgspec where the text is canonical but for its white
space, which is checked by encoding it again; the standard library's parser with hooks where it is not, about ten times
slower.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn

import msgspec
from msgspec import Raw

from ledger.errors import InputError, Problem

DEPTH_MAX = 64
"""Levels of arrays and objects. Readers recurse once a level; PostgreSQL and browsers have limits of their own."""

_ANY = msgspec.json.Decoder(float_hook=lambda digits: Raw(digits.encode()))
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_ITEMS = msgspec.json.Decoder(list[Raw])
_ENCODER = msgspec.json.Encoder()
_ALL_BUT_OPENINGS = bytes(byte for byte in range(256) if byte not in b"[{\n")
_STRING = rb'"(?:[^"\\]++|\\.)*+"'
_SPACE = re.compile(rb"(" + _STRING + rb")|[ \t\r]+", re.DOTALL)
_LINE_ENDS = re.compile(rb"(" + _STRING + rb")|\n+", re.DOTALL)
_MARKS = re.compile(_STRING + rb"|[\[{]|[\]}]", re.DOTALL)
_NUMBER = re.compile(rb"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")


class JsonFault(InputError):
    """A text is not JSON that can be kept exactly."""

    code = "invalid_json"

    def __init__(self, detail: str, **members: Any) -> None:
        super().__init__(detail, problems=(Problem(detail, **members),))


def encode(value: Any) -> bytes:
    """Canonical text of a Python value; `Raw` members go in as they are."""
    return _ENCODER.encode(value)


def canonical(text: bytes) -> bytes:
    """Canonical text of one JSON text.

    Raises JsonFault, which names the place, what was found and what is expected.
    """
    try:
        again = _ENCODER.encode(_ANY.decode(text))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return _strict(text)
    if again != text and again != _LINE_ENDS.sub(rb"\1", _SPACE.sub(rb"\1", text)):
        return _strict(text)
    _check_depth(text)
    return again


def canonical_lines(block: bytes) -> bytes | None:
    """The canonical texts of the lines of `block`, each with its line end; None: take its lines one by one.

    One look at a whole batch; this is the way in of nearly all changes. A line with more openings than DEPTH_MAX may
    be flat all the same, but is rare enough to be looked at alone.
    """
    try:
        again = _ENCODER.encode_lines(_ANY.decode_lines(block))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    if not _are_same_lines(again, block) and not _are_same_lines(again, _SPACE.sub(rb"\1", block)):
        return None
    openings = again.translate(None, _ALL_BUT_OPENINGS).split(b"\n")
    return again if max(map(len, openings)) <= DEPTH_MAX else None


def _are_same_lines(again: bytes, block: bytes) -> bool:
    """Equal but for the last line end. Both are JSON, so taking white space away cannot have joined two tokens."""
    return len(again) - len(block) in (0, 1) and again.startswith(block)


def split_fields(text: bytes | None) -> dict[str, bytes]:
    """The members of a canonical object: name to canonical text; nothing for `None` and `null`."""
    if text is None or text == b"null":
        return {}
    return {name: bytes(value) for name, value in _FIELDS.decode(text).items()}


def split_list(text: bytes) -> list[bytes]:
    """The items of a JSON array as canonical texts. Raises JsonFault for anything else."""
    try:
        return [bytes(item) for item in _ITEMS.decode(canonical(text))]
    except msgspec.MsgspecError as error:
        raise JsonFault("Not a JSON array.", found=repr(text[:40]), expected="an array") from error


def join_fields(fields: Mapping[str, bytes]) -> bytes:
    """The inverse of split_fields."""
    return _ENCODER.encode({name: Raw(text) for name, text in fields.items()})


def plain(text: bytes) -> str:
    """A value as people read it: a string without its quotes, null as nothing, everything else as its JSON text."""
    if text[:1] == b'"':
        return str(_ANY.decode(text))
    return "" if text == b"null" else text.decode()


def _check_depth(text: bytes) -> None:
    if text.count(b"[") + text.count(b"{") <= DEPTH_MAX:
        return
    depth = 0
    for token in _MARKS.finditer(text):
        mark = token.group()[:1]
        if mark in b"[{":
            depth += 1
        elif mark in b"]}":
            depth -= 1
        if depth > DEPTH_MAX:
            raise _too_deep()


def _too_deep() -> JsonFault:
    return JsonFault(
        f"The value is nested deeper than {DEPTH_MAX} levels; send it flatter or as text.",
        found=f"more than {DEPTH_MAX} levels",
        expected=f"at most {DEPTH_MAX} levels of arrays and objects",
    )


def _strict(text: bytes) -> bytes:
    """The slow, careful way: any JSON text to canonical text, or a JsonFault."""
    try:
        source = text.decode("utf-8")
    except UnicodeDecodeError as error:
        found = text[error.start : error.start + 4].hex(" ")
        raise JsonFault(
            f"Not UTF-8 at byte {error.start + 1}.",
            found=f"bytes {found}",
            expected="UTF-8 text (RFC 8259 section 8.1)",
        ) from None
    _check_depth(text)
    try:
        value = _PARSER.decode(source)
    except json.JSONDecodeError as error:
        found = source[error.pos : error.pos + 12]
        raise JsonFault(
            f"Not JSON at character {error.pos + 1}: {error.msg}.", found=found or "the end", expected="one JSON text"
        ) from None
    except RecursionError:
        raise _too_deep() from None
    try:
        return _ENCODER.encode(value)
    except UnicodeEncodeError:
        raise JsonFault(
            "A string holds half of a surrogate pair, which no UTF-8 text can hold.",
            found="a lone \\ud800 to \\udfff escape",
            expected="whole characters (RFC 8259 section 8.2)",
        ) from None


def _number(digits: str) -> Raw:
    text = digits.encode()
    assert _NUMBER.fullmatch(text)
    return Raw(text)


def _refuse_constant(name: str) -> NoReturn:
    raise JsonFault(
        f"{name} is not a JSON value.", found=name, expected="a finite number, a string or null (RFC 8259 section 6)"
    )


def _object(members: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(members)
    if len(found) != len(members):
        names = [name for name, _ in members]
        twice = next(name for name in names if names.count(name) > 1)
        raise JsonFault(
            f"The name {twice[:80]!r} stands twice in one object; only one of the values could be kept.",
            found=f"{twice[:80]!r} twice",
            expected="each name once",
        )
    return found


_PARSER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_number, parse_int=_number, parse_constant=_refuse_constant
)
