"""A whole run in one JSON object, as `ledger import` takes it: the facts of `POST /v1/runs`, how it ended, its changes.

Members that are not known are the producer's other facts: they go into the run's details, exactly as they are. The
changes stay JSON texts; one that has no `occurred_at` gets the run's finished_at, else its started_at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any

import msgspec
from marshmallow.fields import Field, Nested
from msgspec import UNSET, Raw, Struct

from ledger.domain.operation import Operation
from ledger.domain.run import SystemFault
from ledger.errors import InputError, Problem
from ledger.json_text import JsonFault, canonical, encode, plain
from ledger.wire.fields import MESSAGE_CHARACTERS_MAX, Choice, Instant, JsonObject, Text, Truth
from ledger.wire.runs import StartRunSchema, StrictSchema, UserSchema, load, read_document, to_operation


@dataclass(frozen=True, slots=True)
class RunDocument:
    """A run to be imported. `digest` is the SHA-256 of its text, in hexadecimal digits."""

    digest: str
    run_id: str | None
    operation: Operation
    started_at: datetime | None
    finished_at: datetime | None
    error: SystemFault | None
    """Why the run failed; None: it came to its end."""
    changes: Sequence[Raw]
    occurred_at: str | None
    """RFC 3339: when its changes happened that do not say it themselves."""

    def lines(self, offset: int) -> Iterator[bytes]:
        """The changes after the first `offset` as NDJSON lines, each with its end."""
        moment = None if self.occurred_at is None else b'"occurred_at":' + encode(self.occurred_at)
        for change in self.changes[offset:]:
            text = bytes(change)
            yield (text if moment is None else _with_moment(text, moment)) + b"\n"


class UserOrName(Nested):
    """A user as an object, or as a text: the name."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(value, str):
            return {"name": _NAME.deserialize(value, attr, data)}
        return super()._deserialize(value, attr, data, *args, **kwargs)


class Kept(Field[bytes]):
    """Any JSON value, kept as its canonical text; comes in as `Raw`."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bytes:  # noqa: ARG002
        return bytes(value)


class RunDocumentSchema(StartRunSchema):
    """A line of an import without its changes and the producer's other facts."""

    user = UserOrName(UserSchema, allow_none=True)
    automated = Truth(allow_none=True)
    finished_at = Instant(allow_none=True)
    status = Choice("ok", "finished", "failed", allow_none=True)
    error = Kept(allow_none=True)
    failed_files = Kept(allow_none=True)
    details = JsonObject(allow_none=True)


class ErrorSchema(StrictSchema):
    """A failed run's error as an object."""

    code = Text(allow_none=True)
    message = Text(required=True, length_min=0, length_max=MESSAGE_CHARACTERS_MAX)


def parse_run_document(text: bytes) -> RunDocument:
    """The run in one JSON text. Raises InputError with a Problem for each fault; the changes are not looked at yet."""
    try:
        members = _MEMBERS.decode(text)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        canonical(text)  # says what is wrong with it
        raise _not_an_object(text) from None
    changes = members.pop("changes", _NO_CHANGES)
    head = read_document(_without(text, changes), raw=_KEPT | (members.keys() - _KNOWN) | {"changes"})
    head.pop("changes", None)
    others = {name: head.pop(name) for name in list(head) if name not in _KNOWN}
    facts = load(RunDocumentSchema(), {name: _none_for_null(value) for name, value in head.items()})
    finished_at, started_at = facts.get("finished_at"), facts.get("started_at")
    _settle_trigger(facts)
    facts["details"] = _details(facts, others)
    moment = head.get("finished_at") or head.get("started_at")
    return RunDocument(
        sha256(text).hexdigest(),
        facts.get("run_id"),
        to_operation(facts),
        started_at,
        finished_at,
        _error(facts) if facts.get("status") == "failed" else None,
        _list_of_changes(changes),
        moment,
    )


def _without(text: bytes, changes: Raw) -> bytes:
    """The document with an empty list of changes, so that it is small; its other members stand as they were sent.

    Where the same text stands twice, the first goes: nothing is read from it but whether a name occurs twice.
    """
    return text.replace(bytes(changes), b"[]", 1) if bytes(changes) else text


def _none_for_null(value: Any) -> Any:
    return None if isinstance(value, Raw) and bytes(value) == b"null" else value


def _settle_trigger(facts: dict[str, Any]) -> None:
    automated = facts.get("automated")
    if automated is None:
        return
    trigger = "automated" if automated else "manual"
    if facts.get("trigger") not in (None, trigger):
        problem = Problem(
            "automated and trigger disagree.",
            pointer="/automated",
            found=str(automated).lower(),
            expected="one of them",
        )
        raise InputError(
            f"The run says automated {str(automated).lower()} and trigger {facts['trigger']}. Send one of them.",
            problems=(problem,),
        )
    facts["trigger"] = trigger


def _details(facts: dict[str, Any], others: dict[str, Raw]) -> bytes | None:
    """The details sent, and the members that are not ours. failed_files and error are kept here too, as they came."""
    given = dict(_MEMBERS.decode(facts["details"])) if facts.get("details") else {}
    for name in ("error", "failed_files"):
        if facts.get(name) is not None:
            others[name] = Raw(facts[name])
    twice = sorted(given.keys() & others.keys())
    if twice:
        problem = Problem("The member stands in details too.", pointer=f"/details/{twice[0]}", expected="it once")
        raise InputError(f"`{twice[0]}` stands in the run and in its details. Send it once.", problems=(problem,))
    return encode(given | others) if given or others else None


def _error(facts: dict[str, Any]) -> SystemFault:
    """What made the run fail: its error as an object or a text, else its failed files."""
    text = facts.get("error")
    if text is not None and text[:1] == b"{":
        members = load(ErrorSchema(), msgspec.json.decode(text))
        return SystemFault(members.get("code") or "failed", members["message"])
    if text is not None:
        return SystemFault("failed", plain(text)[:MESSAGE_CHARACTERS_MAX].replace("\0", "\ufffd"))
    if facts.get("failed_files") not in (None, b"[]"):
        return SystemFault("failed_files", _files_text(facts["failed_files"])[:MESSAGE_CHARACTERS_MAX])
    return SystemFault("failed", "The producer gave no reason.")


def _files_text(text: bytes) -> str:
    """`path: error` a line where the files are told so, else their JSON text."""
    try:
        files = msgspec.json.decode(text, type=list[_FailedFile])
    except msgspec.MsgspecError:
        return text.decode()
    return "\n".join(f"{file.path}: {file.error}" for file in files)


class _FailedFile(Struct, forbid_unknown_fields=True):
    path: str
    error: str


def _list_of_changes(changes: Raw) -> list[Raw]:
    try:
        return _CHANGES.decode(changes) or []
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = bytes(changes)[:40].decode(errors="replace")
        problem = Problem("Wrong type.", pointer="/changes", found=found, expected="an array of changes")
        raise InputError("The run's changes are not a JSON array.", problems=(problem,)) from None


def _with_moment(text: bytes, moment: bytes) -> bytes:
    """A change with the moment put in front, unless it names one; what is no object stays, to be refused as it is."""
    if b'"occurred_at"' in text or b"\\u" in text:  # there, or perhaps there in other letters, or deeper inside
        try:
            named = _MOMENT.decode(text).occurred_at
            if named is not UNSET and named is not None:
                return text
            if named is None:
                members = {
                    name: value for name, value in _MEMBERS.decode(canonical(text)).items() if name != "occurred_at"
                }
                text = encode(members)
        except (msgspec.MsgspecError, UnicodeDecodeError, JsonFault, RecursionError):
            return text
    body = text.lstrip(_BLANKS)
    if body[:1] != b"{":
        return text
    rest = body[1:].lstrip(_BLANKS)
    return b"{" + moment + (b"" if rest[:1] == b"}" else b",") + rest


class _Moment(Struct):
    occurred_at: Any = UNSET


def _not_an_object(text: bytes) -> InputError:
    found = text[:40].decode(errors="replace")
    problem = Problem("Wrong type.", pointer="", found=found, expected="one run as a JSON object")
    return InputError("The line is not a JSON object.", problems=(problem,))


_BLANKS = b" \t\r\n"
_NAME = Text()
_NO_CHANGES = Raw(b"[]")
_KEPT = frozenset(("details", "error", "failed_files"))
_KNOWN = frozenset(RunDocumentSchema().fields) | {"changes"}
_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_CHANGES = msgspec.json.Decoder(list[Raw] | None)
_MOMENT = msgspec.json.Decoder(_Moment)
