"""What differs between two texts, word by word. Pure."""

from __future__ import annotations

import re
from difflib import SequenceMatcher
from typing import NamedTuple

COMPARED_CHARACTERS_MAX = 4_000
COMPARED_WORDS_MAX = 400
"""Longer texts are marked whole: comparing takes the square of their words."""
_WORDS = re.compile(r"\w+|\s+|[^\w\s]", re.UNICODE)


class Part(NamedTuple):
    """A stretch of a text; `differs` from the other text there."""

    text: str
    differs: bool


def marked(before: str | None, after: str | None) -> tuple[list[Part], list[Part]]:
    """Both texts in parts; joined again, they are the texts. A text that is not there has no parts."""
    if before is None or after is None or before == after or not _is_short(before, after):
        return _whole(before, differs=before != after), _whole(after, differs=before != after)
    olds, news = _WORDS.findall(before), _WORDS.findall(after)
    if max(len(olds), len(news)) > COMPARED_WORDS_MAX:
        return _whole(before, differs=True), _whole(after, differs=True)
    left: list[Part] = []
    right: list[Part] = []
    for tag, i1, i2, j1, j2 in SequenceMatcher(None, olds, news, autojunk=False).get_opcodes():
        _add(left, "".join(olds[i1:i2]), differs=tag != "equal")
        _add(right, "".join(news[j1:j2]), differs=tag != "equal")
    return left, right


def _is_short(before: str, after: str) -> bool:
    return max(len(before), len(after)) <= COMPARED_CHARACTERS_MAX


def _whole(text: str | None, *, differs: bool) -> list[Part]:
    return [Part(text, differs)] if text else []


def _add(parts: list[Part], text: str, *, differs: bool) -> None:
    if text:
        parts.append(Part(text, differs))
