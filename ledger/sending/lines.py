"""A producer's Python values as exact JSON: one change, one line.

What JSON cannot hold, or would change silently, is refused here, at the call that gave it: NaN and infinities, bytes,
names that are not text, halves of surrogate pairs. Decimals keep their digits, integers have any size.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any, NoReturn
from uuid import UUID

from msgspec import Raw

from ledger.errors import BadLine, InputError, Problem
from ledger.json_text import encode
from ledger.wire.changes import LINE_BYTES_MAX, Lines, parse_lines

Fields = Mapping[str, Any]
"""Field names and values: None, bool, int, float, Decimal, str, date, datetime, time, UUID, lists and mappings."""


def change_line(number: int, members: Mapping[str, Any], *, has_object_type: bool) -> bytes:
    """The line of change `number` (from 1) of a run; members that are None are left out, but not fields that are.

    Raises BadLine, which names the change, the place in it, what was found and what is expected.
    """
    given = {name: value for name, value in members.items() if value is not None}
    text = encode_members(given, what=f"Change {number}")
    if len(text) > LINE_BYTES_MAX:
        problem = Problem("The change is too large.", line=number, expected=f"at most {LINE_BYTES_MAX:,} bytes")
        raise BadLine(f"Change {number} has {len(text):,} bytes, more than {LINE_BYTES_MAX:,}.", problems=(problem,))
    if not has_object_type and "object_type" not in given:
        problem = Problem("The object type is missing.", pointer="/object_type", line=number, expected="a text")
        raise BadLine(f"Change {number} has no object_type, and its run names none.", problems=(problem,))
    parse_lines(Lines([text], [number]))
    return text


def encode_members(members: Mapping[str, Any], *, what: str) -> bytes:
    """Canonical JSON text of an object. Raises InputError for a value that JSON cannot hold exactly."""
    exact = _exact_object(members, "", what)
    try:
        return encode(exact)
    except UnicodeEncodeError as error:
        problem = Problem("A text holds half of a surrogate pair.", found=ascii(error.object[error.start : error.end]))
        raise InputError(
            f"{what} holds a text with half of a surrogate pair, which no UTF-8 text can hold.", problems=(problem,)
        ) from None


def _exact(value: Any, pointer: str, what: str) -> Any:
    """`value` with everything that msgspec would change put as the JSON text it must become."""
    kind = type(value)
    if kind is str or kind is bool or value is None or kind is int:
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else _refuse(value, pointer, what, "a finite number or None")
    if isinstance(value, Decimal):
        return Raw(str(value).encode()) if value.is_finite() else _refuse(value, pointer, what, "a finite number")
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Mapping):
        return _exact_object(value, pointer, what)
    if isinstance(value, list | tuple):
        return [_exact(item, f"{pointer}/{index}", what) for index, item in enumerate(value)]
    return _refuse(value, pointer, what, "None, a bool, number, text, date, time, UUID, list or mapping")


def _exact_object(members: Mapping[Any, Any], pointer: str, what: str) -> dict[str, Any]:
    exact = {}
    for name, value in members.items():
        if not isinstance(name, str):
            _refuse(name, pointer, what, "text as the name of a field")
        exact[str(name)] = _exact(value, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}", what)
    return exact


def _refuse(value: Any, pointer: str, what: str, expected: str) -> NoReturn:
    found = f"{type(value).__name__} {value!r:.80}" if isinstance(value, float | Decimal) else type(value).__name__
    problem = Problem("JSON cannot hold the value exactly.", pointer=pointer or None, found=found, expected=expected)
    raise InputError(
        f"{what} cannot be sent: found {found} at {pointer or 'its top'}, expected {expected}.", problems=(problem,)
    )
