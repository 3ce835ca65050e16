"""The tracker's query as text, for HTTP, the page and the command line alike: names and values in, RunQuery out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from ledger.errors import InputError, Problem
from ledger.wire.changes import parse_instant
from projections.tracker.view import PAGE_SIZE_MAX, SORTS, UNDO_STATES, RunQuery

TEXT_CHARACTERS_MAX = 1_024


def parse_run_query(parameters: Mapping[str, Sequence[str]]) -> RunQuery:
    """The query. `parameters`: each name with all its values; one that is empty does not filter.

    Raises InputError with a problem for each parameter that is unknown, repeated or not of its form.
    """
    problems: list[Problem] = []
    chosen: dict[str, Any] = {}
    for name, values in parameters.items():
        reader = _READERS.get(name)
        if reader is None:
            known = ", ".join(sorted(_READERS))
            problems.append(Problem("Unknown parameter.", parameter=name, found=name, expected=f"one of {known}"))
        elif len(values) > 1:
            problems.append(Problem("Given twice.", parameter=name, found=f"{len(values)} values", expected="one"))
        elif values[0] != "":
            try:
                field, value = reader(values[0])
                chosen[field] = value
            except ValueError as error:
                found = repr(values[0][:80])
                problems.append(Problem("Not valid.", parameter=name, found=found, expected=str(error)))
    if problems:
        listed = "; ".join(f"{fault.parameter}: found {fault.found}, expected {fault.expected}" for fault in problems)
        raise InputError(f"The query is not valid. {listed}.", problems=tuple(problems))
    return RunQuery(**chosen)


Reader = Callable[[str], tuple[str, Any]]


def _text(field: str) -> Reader:
    def read(text: str) -> tuple[str, Any]:
        if len(text) > TEXT_CHARACTERS_MAX or "\0" in text:
            raise ValueError(f"at most {TEXT_CHARACTERS_MAX:,} characters without NUL")
        return field, text

    return read


def _choice(field: str, *choices: str) -> Reader:
    def read(text: str) -> tuple[str, Any]:
        if text not in choices:
            raise ValueError(f"one of {', '.join(choices)}")
        return field, text

    return read


def _flag(field: str) -> Reader:
    def read(text: str) -> tuple[str, Any]:
        if text not in ("true", "false"):
            raise ValueError("true or false")
        return field, text == "true"

    return read


def _instant(field: str, *, day_offset: int = 0) -> Reader:
    """An instant, or a day (UTC): its beginning, with day_offset=1 its end."""

    def read(text: str) -> tuple[str, Any]:
        instant = parse_instant(text)
        if instant is None:
            try:
                day = date.fromisoformat(text) + timedelta(days=day_offset)
            except (ValueError, OverflowError):
                raise ValueError("a day such as 2026-11-23 or an RFC 3339 instant") from None
            instant = datetime.combine(day, time(), UTC)
        return field, instant

    return read


def _page_size(text: str) -> tuple[str, Any]:
    if not text.isascii() or not text.isdecimal() or not 1 <= int(text[:9]) <= PAGE_SIZE_MAX:
        raise ValueError(f"a number from 1 to {PAGE_SIZE_MAX}")
    return "page_size", int(text)


def _order(text: str) -> tuple[str, Any]:
    if text not in ("asc", "desc"):
        raise ValueError("asc or desc")
    return "descending", text == "desc"


_READERS: dict[str, Reader] = {
    "text": _text("text"),
    "object_type": _text("object_type"),
    "template": _text("template"),
    "module": _text("module"),
    "app": _text("app"),
    "user": _text("user"),
    "recipe_run_id": _text("recipe_run_id"),
    "cursor": _text("cursor"),
    "mode": _choice("mode", "update", "preview", "all"),
    "kind": _choice("kind", "run", "recipe"),
    "trigger": _choice("trigger", "manual", "automated"),
    "status": _choice("status", "running", "finished", "failed"),
    "has_failures": _flag("has_failures"),
    "zero_succeeded": _flag("zero_succeeded"),
    "undo_state": _choice("undo_state", *UNDO_STATES),
    "from": _instant("started_from"),
    "to": _instant("started_to", day_offset=1),
    "sort": _choice("sort", *SORTS),
    "order": _order,
    "page_size": _page_size,
}
RUN_QUERY_PARAMETERS = tuple(_READERS)
