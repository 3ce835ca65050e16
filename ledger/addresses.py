"""E-mail addresses: what is taken as one."""

from __future__ import annotations

import re

from ledger.errors import InputError, Problem

ADDRESS_CHARACTERS_MAX = 254
_ADDRESS = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)*"
                      r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")  # fmt: skip
"""An address as HTML's e-mail fields take it (WHATWG HTML, 4.10.5.1.5): no quotes, no comments, no line ends."""


def check_address(text: str, pointer: str = "") -> str:
    """The e-mail address itself. Raises InputError for what is none; so no address can carry a header with it."""
    if len(text) <= ADDRESS_CHARACTERS_MAX and _ADDRESS.fullmatch(text) and "=?" not in text:  # begins an encoded word
        return text
    expected = "name@host, in ASCII"
    problem = Problem("Not an e-mail address.", pointer=pointer, found=repr(text[:80]), expected=expected)
    raise InputError(f"Not an e-mail address. Found {text[:80]!r}, expected {expected}.", problems=(problem,))
