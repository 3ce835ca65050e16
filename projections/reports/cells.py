"""Values as the text of a cell, and back. The rules and their reasons: docs/decisions/0005-report-cells.md.

A value comes as msgspec reads it, numbers that are not plain integers as Raw: `str | int | bool | None | list | dict |
Raw`. What a cell says of a field that is not there is the empty cell; that is the caller's business.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import Raw

from ledger.json_text import encode

RISKY = frozenset("=+-@\t\r\n\0'＝＋－＠")
"""First characters that make a spreadsheet take a cell for a formula, and the apostrophe that defuses them."""
UNKNOWN_EXACT = "?"
UNKNOWN_SHOWN = "(unknown)"

_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_WORDS = frozenset(("true", "false", "null", UNKNOWN_EXACT))
_OPENERS = frozenset('"[{')
_MAY_BE_JSON = frozenset('"[{-0123456789tfn?')


@dataclass(frozen=True, slots=True)
class CellForm:
    """How values become cells."""

    exact: bool
    escapes: bool

    @property
    def marks(self) -> frozenset[str]:
        """First characters of the texts that do not stand in their cell as they are; nor may the empty text."""
        return _MAY_BE_JSON if self.exact else self.own_marks

    @property
    def own_marks(self) -> frozenset[str]:
        """The same for our own texts (message, record id, label, link), which are never quoted as JSON."""
        return RISKY if self.escapes else frozenset()

    @property
    def unknown(self) -> str:
        """Stands for a before-value that the producer did not know."""
        return UNKNOWN_EXACT if self.exact else UNKNOWN_SHOWN

    @property
    def marked_cell(self) -> Callable[[str], str]:
        """The cell of a text with one of the `marks` as its first character, or of the empty one."""
        return _quoted_if_needed if self.exact else self.own_cell

    @property
    def own_cell(self) -> Callable[[str], str]:
        """The cell of one of our own texts."""
        return escape if self.escapes else str

    @property
    def value_cell(self) -> Callable[[Any], str]:
        """The cell of a value that is no text."""
        if self.exact:
            return _json_text
        return _escaped_value if self.escapes else _shown

    def cell(self, value: Any) -> str:
        """The cell of any value."""
        return self.marked_cell(value) if value.__class__ is str else self.value_cell(value)


SPREADSHEET = CellForm(exact=False, escapes=True)
EXACT = CellForm(exact=True, escapes=False)
TEXT_CELLS = CellForm(exact=False, escapes=False)
"""For XLSX, whose text cells are never taken for anything else."""


def escape(text: str) -> str:
    """The text with an apostrophe before it where its first character is risky. Inverse: unescape."""
    return "'" + text if text and text[0] in RISKY else text


def unescape(text: str) -> str:
    return text[1:] if text.startswith("'") else text


def parse_exact(text: str) -> bytes | None:
    """The canonical JSON text in a cell of the exact dialect that is not empty; None where it was not known."""
    if text == UNKNOWN_EXACT:
        return None
    return text.encode() if _is_json(text) else msgspec.json.encode(text)


def _json_text(value: Any) -> str:
    if value.__class__ is int:
        return str(value)
    return bytes(value).decode() if value.__class__ is Raw else encode(value).decode()


def _shown(value: Any) -> str:
    return "" if value is None else _json_text(value)


def _escaped_value(value: Any) -> str:
    """Of what is no text, negative numbers alone are risky."""
    if value is None:
        return ""
    text = str(value) if value.__class__ is int else _json_text(value)
    return "'" + text if text[0] == "-" else text


def _quoted_if_needed(text: str) -> str:
    """A text as it stands in an exact cell: as JSON where it is empty or could be taken for JSON."""
    return encode(text).decode() if not text or _is_json(text) else text


def _is_json(text: str) -> bool:
    return text in _WORDS or text[0] in _OPENERS or _NUMBER.fullmatch(text) is not None
