"""PostgreSQL's binary forms: fields as COPY takes them ("COPY", Binary Format), and arrays as parameters.

Made by hand because thousands of rows go over at a time: the driver's own lists cost several times more.
"""

from __future__ import annotations

from collections.abc import Sequence
from struct import Struct

HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
NULL = b"\xff\xff\xff\xff"

LENGTH_BYTES = 4
"""Before each field."""

TEXT_OID, BIGINT_OID, UUID_OID, BOOLEAN_OID = 25, 20, 2950, 16

_LENGTH = Struct(">i").pack
_ARRAY = Struct(">iiiii").pack
_EMPTY_ARRAY = Struct(">iii").pack
_BIGINT = Struct(">iq").pack


def text(value: str | None) -> bytes:
    """A text field: its length and its bytes."""
    if value is None:
        return NULL
    data = value.encode()
    return _LENGTH(len(data)) + data


def bigint(value: int | None) -> bytes:
    return NULL if value is None else _BIGINT(8, value)


def uuid(value: bytes) -> bytes:
    return b"\0\0\0\x10" + value


def boolean(value: bool | None) -> bytes:
    return NULL if value is None else b"\0\0\0\1\1" if value else b"\0\0\0\1\0"


def array(element_oid: int, elements: Sequence[bytes], *, may_hold_nulls: bool = True) -> bytes:
    """An array of one dimension, as array_recv reads it: dimensions, has nulls, element type, length, lower bound."""
    if not elements:
        return _EMPTY_ARRAY(0, 0, element_oid)
    return _ARRAY(1, may_hold_nulls, element_oid, len(elements), 1) + b"".join(elements)


def text_array(values: Sequence[str]) -> bytes:
    """A text[] field, the same bytes as array_send gives."""
    data = array(TEXT_OID, [text(value) for value in values], may_hold_nulls=False)
    return _LENGTH(len(data)) + data
