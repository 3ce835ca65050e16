"""Strict marshmallow fields: what comes in is kept exactly or refused, never coerced.

marshmallow's own take 0 and "yes" for booleans, turn 1.5 into 1 and pass NUL and lone surrogates, which no index of
PostgreSQL can hold. A fault is raised as a Problem inside the ValidationError; `problems_of` gives them with their
JSON pointers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any, NoReturn

from marshmallow import ValidationError, fields
from msgspec import Raw

from ledger.errors import InputError, Problem
from ledger.ids import RUN_ID_LENGTH_MAX, check_run_id
from ledger.wire.changes import parse_instant

NAME_CHARACTERS_MAX = 255
"""Names and ids that the tracker filters and sorts by: short enough for an index, in any script."""
EMAIL_CHARACTERS_MAX = 320
URL_CHARACTERS_MAX = 4_096
MESSAGE_CHARACTERS_MAX = 16_384
INTEGER_MAX = 2**63 - 1
"""PostgreSQL's bigint."""

_SURROGATE = re.compile("[\ud800-\udfff]")


class Number:
    """A JSON number where none may stand: neither text nor a Python number, so no field takes it by mistake."""

    def __init__(self, digits: str) -> None:
        self.digits = digits

    def __repr__(self) -> str:
        return self.digits


class Text(fields.String):
    """A string without NUL and lone surrogates, of `length_min` to `length_max` characters."""

    def __init__(self, *, length_min: int = 1, length_max: int = NAME_CHARACTERS_MAX, **kwargs: Any) -> None:
        metadata = {"minLength": length_min, "maxLength": length_max, "pattern": r"^[^\u0000]*$"}
        super().__init__(metadata=metadata | kwargs.pop("metadata", {}), **kwargs)
        self.length_min, self.length_max = length_min, length_max

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:  # noqa: ARG002
        if not isinstance(value, str):
            refuse("Wrong type.", value, "a string")
        if not self.length_min <= len(value) <= self.length_max:
            refuse("Wrong length.", value, f"{self.length_min} to {self.length_max:,} characters")
        if "\0" in value:
            refuse("The text holds a NUL character.", value, "text without NUL, which no index can hold")
        if _SURROGATE.search(value):
            refuse("The text holds half of a surrogate pair.", value, "whole characters (RFC 8259 section 8.2)")
        return value


class Choice(fields.String):
    """One of a few words."""

    def __init__(self, *words: str, **kwargs: Any) -> None:
        super().__init__(metadata={"enum": list(words)} | kwargs.pop("metadata", {}), **kwargs)
        self.words = words

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:  # noqa: ARG002
        if not isinstance(value, str) or value not in self.words:
            refuse("Unknown value.", value, " or ".join(self.words))
        return value


class RunId(fields.String):
    """A Run ID, see ledger.ids.check_run_id."""

    def __init__(self, **kwargs: Any) -> None:
        pattern = rf"^(?!\.+$)[A-Za-z0-9\-_.~:]{{1,{RUN_ID_LENGTH_MAX}}}$"
        super().__init__(metadata={"pattern": pattern} | kwargs.pop("metadata", {}), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:  # noqa: ARG002
        if not isinstance(value, str):
            refuse("Wrong type.", value, "a string")
        try:
            return check_run_id(value)
        except InputError as error:
            raise ValidationError(list(error.problems)) from None


class Instant(fields.Field[datetime]):
    """An RFC 3339 instant with its offset, see ledger.wire.changes.parse_instant."""

    def __init__(self, **kwargs: Any) -> None:
        described = {"type": "string", "format": "date-time", "example": "2026-11-23T10:00:00Z"}
        super().__init__(metadata=described | kwargs.pop("metadata", {}), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> datetime:  # noqa: ARG002
        instant = parse_instant(value) if isinstance(value, str) else None
        if instant is None:
            refuse("Not an instant.", value, "an RFC 3339 instant with its offset, such as 2026-11-23T10:00:00Z")
        return instant

    def _serialize(self, value: datetime | None, attr: str | None, obj: Any, **kwargs: Any) -> Any:  # noqa: ARG002
        return None if value is None else value.isoformat()


class Truth(fields.Field[bool]):
    """true or false, in a JSON document."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(metadata={"type": "boolean"} | kwargs.pop("metadata", {}), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:  # noqa: ARG002
        if not isinstance(value, bool):
            refuse("Wrong type.", value, "true or false")
        return value


class JsonObject(fields.Field[bytes | None]):
    """An object of any members, kept as its canonical JSON text (see ledger.json_text); comes in as `Raw`."""

    def __init__(self, **kwargs: Any) -> None:
        described = {"type": "object", "additionalProperties": True}
        super().__init__(metadata=described | kwargs.pop("metadata", {}), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bytes | None:  # noqa: ARG002
        text = bytes(value) if isinstance(value, Raw) else b""
        if text == b"null":
            return None
        if text[:1] != b"{":
            refuse("Wrong type.", text.decode() if text else value, "an object, or null")
        return text


def refuse(detail: str, found: Any, expected: str) -> NoReturn:
    """Raises marshmallow's error with a whole Problem in it."""
    raise ValidationError([Problem(detail, found=shown(found), expected=expected)])


def shown(value: Any) -> str:
    """A value as a message names it: short."""
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list | tuple):
        return "an array"
    text = {None: "null", True: "true", False: "false"}.get(value) if value is None or isinstance(value, bool) else None
    text = text or repr(value)
    return text if len(text) <= 80 else text[:80] + "…"


def problems_of(messages: Any, known: Iterable[str], pointer: str = "") -> Iterator[Problem]:
    """The faults that marshmallow collected, each with its RFC 6901 pointer. `known`: names the schema takes."""
    if isinstance(messages, Mapping):
        for name, inner in messages.items():
            token = "" if name == "_schema" else "/" + str(name).replace("~", "~0").replace("/", "~1")
            yield from problems_of(inner, known, pointer + token)
        return
    for message in messages if isinstance(messages, list) else [messages]:
        yield _placed(message, known, pointer)


def _placed(message: Any, known: Iterable[str], pointer: str) -> Problem:
    if isinstance(message, Problem):
        return Problem(message.detail, pointer=pointer, found=message.found, expected=message.expected)
    name = pointer.rpartition("/")[2]
    if message == "Unknown field.":
        return Problem("Unknown member.", pointer=pointer, found=shown(name), expected=f"one of {', '.join(known)}")
    if message == "Missing data for required field.":
        return Problem("A member is missing.", pointer=pointer, found="nothing", expected=f"`{name}`")
    if message == "Field may not be null.":
        return Problem("Wrong type.", pointer=pointer, found="null", expected="a value")
    return Problem(str(message), pointer=pointer)
