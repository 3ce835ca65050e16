"""Cursors of the tracker: opaque texts that say after which run a page begins, and for which question."""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from binascii import Error as Base64Error
from hashlib import sha256
from typing import NamedTuple

import msgspec

from ledger.errors import InputError, Problem
from projections.tracker.view import RunQuery

_CHECK_CHARACTERS = 12


class Place(NamedTuple):
    """After which row a page begins, and what was counted on the first page."""

    key: tuple[str, ...]
    """The row's sort key, as PostgreSQL writes it."""
    total: int
    total_is_capped: bool


def format_cursor(query: RunQuery, place: Place) -> str:
    """A cursor that parse_cursor takes for the same filters and order only."""
    text = msgspec.json.encode(place)
    return urlsafe_b64encode(_check(query, text) + text).decode().rstrip("=")


def parse_cursor(query: RunQuery) -> Place | None:
    """The place in the query's cursor, None where it has none. Raises InputError for a foreign one."""
    if query.cursor is None:
        return None
    try:
        data = urlsafe_b64decode(query.cursor.encode("ascii") + b"=" * (-len(query.cursor) % 4))
        check, text = data[:_CHECK_CHARACTERS], data[_CHECK_CHARACTERS:]
        if check == _check(query, text):
            return msgspec.json.decode(text, type=Place)
    except (Base64Error, UnicodeEncodeError, msgspec.MsgspecError, ValueError):
        pass
    raise bad_cursor(query.cursor)


def bad_cursor(cursor: str) -> InputError:
    problem = Problem(
        "The cursor was not made for these filters and this order.",
        parameter="cursor",
        found=repr(cursor[:80]),
        expected="next_cursor of a page of the same list, unchanged",
    )
    return InputError(
        "The cursor does not belong to this list. Follow next_cursor as given, or leave the cursor out to begin.",
        problems=(problem,),
    )


def _check(query: RunQuery, text: bytes) -> bytes:
    asked = {name: getattr(query, name) for name in query.__slots__ if name not in ("cursor", "page_size")}
    digest = sha256(msgspec.json.encode(asked, order="sorted") + b"\n" + text).hexdigest()
    return digest[:_CHECK_CHARACTERS].encode()
