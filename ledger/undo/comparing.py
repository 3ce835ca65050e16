"""When two values of a field are the same. UNDO.md, "Comparing"."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ledger.connectors.port import TypeSchema
from ledger.json_text import encode, plain

NULL = b"null"


class Comparing:
    """The sameness of one object type's values in one target."""

    def __init__(self, schema: TypeSchema, *, null_is_missing: bool) -> None:
        self.schema = schema
        self._null_is_missing = null_is_missing

    def same(self, name: str, one: bytes | None, other: bytes | None) -> bool:
        """Whether two values of a field are the same; None: the field is missing."""
        if one == other:
            return True
        if one is None or other is None:
            return self._null_is_missing and (one or other) == NULL
        if name in self.schema.datetimes:
            instant = _instant(one)
            if instant is not None and instant == _instant(other):
                return True
        return one[:1] in b"{[" and one[:1] == other[:1] and _sorted(one) == _sorted(other)

    def is_nothing(self, value: bytes | None) -> bool:
        """Missing, or what this target does not tell from it."""
        return value is None or (value == NULL and self._null_is_missing)

    def is_compared(self, name: str) -> bool:
        """Whether the field is the user's: not kept by the target itself, and still there."""
        return name not in self.schema.system_fields and self.schema.has_field(name)

    def differing(self, one: Mapping[str, bytes | None], other: Mapping[str, bytes | None]) -> list[str]:
        """The compared fields that differ between two states, sorted."""
        return [
            name
            for name in sorted(one.keys() | other.keys())
            if self.is_compared(name) and not self.same(name, one.get(name), other.get(name))
        ]


def _instant(text: bytes) -> datetime | None:
    """The instant in a JSON string (RFC 3339; without a zone: UTC). None: it is none."""
    if text[:1] != b'"':
        return None
    try:
        found = datetime.fromisoformat(plain(text))
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _sorted(text: bytes) -> bytes:
    """The text with members in the order of their names: their order means nothing (RFC 8259 section 4)."""
    return encode(_in_order(json.loads(text, parse_float=_Digits, parse_int=_Digits)))


class _Digits(str):
    """A number by its digits; never equal to the string of the same characters (see _in_order)."""


def _in_order(value: Any) -> Any:
    if isinstance(value, _Digits):
        return {"": str(value)}  # an object, so that 1 and "1" stay apart
    if isinstance(value, dict):
        return [[name, _in_order(value[name])] for name in sorted(value)]
    return [0, *map(_in_order, value)] if isinstance(value, list) else value
