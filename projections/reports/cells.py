"""Values as the text of a cell, and back. The rules and their reasons: docs/decisions/0005-report-cells.md.

A value comes as msgspec reads it, numbers that are not plain integers as Raw: `str | int | bool | None | list | dict |
Raw`. What a cell says of a field that is not there is the empty cell; that is the caller's business.
"""

from __future__ import annotations

import re
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
    """How values become cells. A text that is not empty and does not begin with one of `marks` stands as it is."""

    marks: frozenset[str]
    unknown: str
    """Stands for a before-value that the producer did not know."""
    exact: bool
    escapes: bool

    def cell(self, value: Any) -> str:
        """The cell of a field's value."""
        if value.__class__ is int and value >= 0:
            return str(value)
        if value.__class__ is str:
            text = _quoted_if_needed(value) if self.exact else value
        elif value is None:
            text = "null" if self.exact else ""
        else:
            text = bytes(value).decode() if value.__class__ is Raw else encode(value).decode()
        return escape(text) if self.escapes else text

    def text_cell(self, text: str) -> str:
        """The cell of one of our own texts (message, record id, label, link); these are never quoted."""
        return "'" + text if self.escapes and text and text[0] in RISKY else text


SPREADSHEET = CellForm(RISKY, UNKNOWN_SHOWN, exact=False, escapes=True)
EXACT = CellForm(_MAY_BE_JSON, UNKNOWN_EXACT, exact=True, escapes=False)
TEXT_CELLS = CellForm(frozenset(), UNKNOWN_SHOWN, exact=False, escapes=False)
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


def _quoted_if_needed(text: str) -> str:
    """A text as it stands in an exact cell: as JSON where it is empty or could be taken for JSON."""
    return encode(text).decode() if not text or _is_json(text) else text


def _is_json(text: str) -> bool:
    return text in _WORDS or text[0] in _OPENERS or _NUMBER.fullmatch(text) is not None
