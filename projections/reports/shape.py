"""Record events as reports read them: many payloads at once, straight into the values of cells."""

from __future__ import annotations

import re
from typing import Any

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from ledger.errors import IntegrityFailed
from ledger.store.mapper import decode_shape
from ledger.store.shapes import RecordShape

Values = dict[str, Any]


class ReportShape(Struct, forbid_unknown_fields=True, gc=False):
    """RecordShape with its objects opened: field names to the values that ledger's cells take."""

    object_type: str
    record_id: str | None = None
    action: str | None = None
    before: Values | UnsetType | None = UNSET
    after: Values | UnsetType = UNSET
    message: str | None = None
    label: str | None = None
    link: str | None = None
    details: Values | UnsetType = UNSET
    actor: str | None = None
    preview: bool = False
    erased: str | None = None
    erased_fields: tuple[str, ...] = ()

    @property
    def before_is_unknown(self) -> bool:
        return self.before is None


_FAST = msgspec.json.Decoder(ReportShape | None, float_hook=lambda digits: Raw(digits.encode()))
_VALUES = msgspec.json.Decoder(dict[str, Raw])
_ANY = msgspec.json.Decoder()
_MINUS_ZERO = re.compile(rb"[:\[,]-0[,}\]]")
_MINUS_ZERO_ENDS = (b"-0,", b"-0}", b"-0]")
"""The one number that msgspec reads as another (`-0` as 0). May be found inside a text too: then it only costs time.
Looking for the ends first spares the slower look at nearly all blocks."""


def decode_payloads(block: bytes) -> list[ReportShape | None]:
    """The payloads of record events, one a line, `null` for one that was erased.

    Raises IntegrityFailed for a payload that no version of the stored shape explains.
    """
    if not (any(end in block for end in _MINUS_ZERO_ENDS) and _MINUS_ZERO.search(block)):
        try:
            return _FAST.decode_lines(block)
        except (msgspec.MsgspecError, UnicodeDecodeError, ValueError):
            pass  # an older shape, a number of thousands of digits, or damage: the careful way tells
    return [_decode_carefully(line) for line in block.split(b"\n")]


def _decode_carefully(payload: bytes) -> ReportShape | None:
    if payload == b"null":
        return None
    shape = decode_shape("record-updated", payload)
    if not isinstance(shape, RecordShape):
        raise IntegrityFailed("A record event holds the payload of another kind of event.")
    before = bytes(shape.before)
    return ReportShape(
        shape.object_type,
        shape.record_id,
        shape.action,
        None if before == b"null" else _values(before),
        _values(bytes(shape.after)),
        shape.message,
        shape.label,
        shape.link,
        _values(bytes(shape.details)),
        shape.actor,
        shape.preview,
        shape.erased,
        shape.erased_fields,
    )


def _values(text: bytes) -> Values | UnsetType:
    if not text:
        return UNSET
    return {name: _value(bytes(value)) for name, value in _VALUES.decode(text).items()}


def _value(text: bytes) -> Any:
    """A text as itself, null as None, everything else as the JSON text that it is."""
    if text[:1] == b'"' or text == b"null":
        return _ANY.decode(text)
    return Raw(text)
