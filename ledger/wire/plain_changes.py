"""Blocks of plain changes: many lines of one kind, looked at together instead of one by one.

Nearly all lines of a bulk run are alike: one action, succeeded, of the run's own object type, with the record's id and
its fields, nothing that calls for a closer look. Of such lines the canonical text is the payload already, but for the
action, which the topic tells. Whatever is not plain for sure is left to `ledger.wire.changes`, whose rules these are; a
property test holds the two ways equal.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NamedTuple

import msgspec
from msgspec import Meta, Struct

from ledger.wire.changes import (
    LABEL_CHARACTERS_MAX,
    LINK_CHARACTERS_MAX,
    MESSAGE_CHARACTERS_MAX,
    RECORD_ID_BYTES_MAX,
)


class PlainBlock(NamedTuple):
    """Changes that all have one action, succeeded, and name neither object type, instant nor details."""

    action: str
    record_ids: list[str]
    members: list[tuple[bytes, bytes, bytes]]
    """Each line's canonical text without its outer braces: what stands before its action, the action, what after."""


class _Fields(Struct, gc=False):
    """Any object: its members are passed over."""


class _Plain(Struct, forbid_unknown_fields=True, gc=False):
    record_id: Annotated[str, Meta(min_length=1, max_length=RECORD_ID_BYTES_MAX)]
    message: Annotated[str, Meta(max_length=MESSAGE_CHARACTERS_MAX)] | None = None
    label: Annotated[str, Meta(max_length=LABEL_CHARACTERS_MAX)] | None = None
    link: Annotated[str, Meta(max_length=LINK_CHARACTERS_MAX)] | None = None


class _Update(_Plain, forbid_unknown_fields=True, gc=False, kw_only=True):
    action: Literal["update"]
    before: _Fields
    after: _Fields


class _Create(_Plain, forbid_unknown_fields=True, gc=False, kw_only=True):
    action: Literal["create"]
    after: _Fields


class _Delete(_Plain, forbid_unknown_fields=True, gc=False, kw_only=True):
    action: Literal["delete"]
    before: _Fields


_DECODERS: dict[str, msgspec.json.Decoder[Any]] = {
    "update": msgspec.json.Decoder(_Update),
    "create": msgspec.json.Decoder(_Create),
    "delete": msgspec.json.Decoder(_Delete),
}


def find_plain_block(text: bytes, number: int) -> PlainBlock | None:
    """The `number` lines of canonical text, each with its line end, as a plain block; None where they may be none."""
    first = text[: text.find(b"\n")]
    action = next((action for action in _DECODERS if b'"action":"%b",' % action.encode() in first), None)
    if action is None or (b"\\" in text and b"\\u0000" in text):  # a single byte is found much quicker
        return None
    try:
        record_ids = [line.record_id for line in _DECODERS[action].decode_lines(text)]
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return None
    mark = b'"action":"%b",' % action.encode()
    members = [line.partition(mark) for line in text[1:-2].split(b"}\n{")]
    # Inside a string the mark's quotes would be escaped, so it is a member; with no brace before it, one at the top.
    if b"{" in b"".join([before for before, _, _ in members]) or not "".join(record_ids).isascii():
        return None
    assert len(members) == len(record_ids) == number
    return PlainBlock(action, record_ids, members)
