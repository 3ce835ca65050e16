"""Runs on the wire: the documents that start and end a run, and the answer that describes one.

One definition for HTTP, the command line and the Python client.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from marshmallow import RAISE, Schema, ValidationError
from marshmallow.fields import Nested
from msgspec import Raw

from ledger.domain.operation import App, Operation, Saved, User
from ledger.domain.run import Run
from ledger.errors import InputError, Problem, TooLarge
from ledger.json_text import canonical
from ledger.wire.changes import OBJECT_TYPE_BYTES_MAX
from ledger.wire.fields import (
    EMAIL_CHARACTERS_MAX,
    MESSAGE_CHARACTERS_MAX,
    URL_CHARACTERS_MAX,
    Choice,
    Instant,
    JsonObject,
    Number,
    RunId,
    Text,
    problems_of,
)

RUN_BYTES_MAX = 1024 * 1024
"""A run's own document; its changes are not part of it."""


@dataclass(frozen=True, slots=True)
class StartRun:
    """The command to start a run. None: the ledger makes the Run ID, and takes its own clock."""

    operation: Operation
    run_id: str | None = None
    started_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FinishRun:
    """The command to end a run."""

    finished_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class FailRun:
    """The command to end a run with a system error."""

    code: str
    message: str
    finished_at: datetime | None = None


class StrictSchema(Schema):
    """Unknown members are refused."""

    class Meta:
        unknown = RAISE


class AppSchema(StrictSchema):
    name = Text(required=True, metadata={"description": "The system that the run worked in, such as a CRM."})
    account = Text(allow_none=True, metadata={"description": "Which of its accounts."})


class SavedSchema(StrictSchema):
    id = Text(allow_none=True)
    name = Text(allow_none=True)
    url = Text(allow_none=True, length_max=URL_CHARACTERS_MAX)


class UserSchema(StrictSchema):
    id = Text(allow_none=True)
    name = Text(allow_none=True)
    email = Text(allow_none=True, length_max=EMAIL_CHARACTERS_MAX)


class ObjectType(Text):
    """Text of at most OBJECT_TYPE_BYTES_MAX bytes of UTF-8."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if len(text.encode()) > OBJECT_TYPE_BYTES_MAX:
            problem = Problem("Too long.", found=repr(text[:80]), expected=f"at most {OBJECT_TYPE_BYTES_MAX} bytes")
            raise ValidationError([problem])
        return text


class StartRunSchema(StrictSchema):
    """Body of `POST /v1/runs`; the import's lines add to it."""

    run_id = RunId(allow_none=True, metadata={"description": "The producer's own Run ID; made where there is none."})
    kind = Choice("run", "recipe")
    mode = Choice("preview", "update")
    trigger = Choice("manual", "automated")
    app = Nested(AppSchema, allow_none=True)
    module = Text(allow_none=True)
    object_type = ObjectType(allow_none=True, metadata={"description": "Of changes that name none themselves."})
    template = Nested(SavedSchema, allow_none=True)
    user = Nested(UserSchema, allow_none=True)
    recipe = Nested(SavedSchema, allow_none=True)
    recipe_run_id = RunId(allow_none=True, metadata={"description": "The Run ID of the recipe this run is part of."})
    target = Text(allow_none=True)
    message = Text(allow_none=True, length_min=0, length_max=MESSAGE_CHARACTERS_MAX)
    details = JsonObject(allow_none=True, metadata={"description": "The producer's other facts."})
    started_at = Instant(allow_none=True)


class FinishRunSchema(StrictSchema):
    """Body of `POST /v1/runs/{run_id}/finish`; an empty body is taken for an empty object."""

    finished_at = Instant(allow_none=True)


class FailRunSchema(StrictSchema):
    """Body of `POST /v1/runs/{run_id}/fail`."""

    code = Text(required=True, metadata={"example": "API_QUOTA_EXHAUSTED"})
    message = Text(required=True, length_min=0, length_max=MESSAGE_CHARACTERS_MAX)
    finished_at = Instant(allow_none=True)


def parse_start_run(body: bytes | Mapping[str, Any]) -> StartRun:
    """Raises InputError, with a Problem for each fault."""
    facts = load(StartRunSchema(), read_document(body))
    return StartRun(to_operation(facts), facts.get("run_id"), facts.get("started_at"))


def parse_finish(body: bytes | Mapping[str, Any]) -> FinishRun:
    """Raises InputError, with a Problem for each fault."""
    return FinishRun(**load(FinishRunSchema(), read_document(body or b"{}")))


def parse_fail(body: bytes | Mapping[str, Any]) -> FailRun:
    """Raises InputError, with a Problem for each fault."""
    return FailRun(**load(FailRunSchema(), read_document(body)))


def read_document(
    body: bytes | Mapping[str, Any], *, raw: frozenset[str] = frozenset(("details",)), bytes_max: int = RUN_BYTES_MAX
) -> dict[str, Any]:
    """The members of a JSON object; those named in `raw` stay canonical JSON text (`Raw`).

    Numbers elsewhere come out as `Number`, which no text field takes. Raises InputError, TooLarge.
    """
    text = bytes(body) if isinstance(body, bytes | bytearray) else _encoded(body)
    if len(text) > bytes_max:
        raise TooLarge(f"The document has {len(text):,} bytes. Send at most {bytes_max:,}; changes go in apart.")
    text = canonical(text)
    if text[:1] != b"{":
        problem = Problem("Wrong type.", pointer="", found=text[:40].decode(errors="replace"), expected="an object")
        raise InputError("The document is not a JSON object.", problems=(problem,))
    return {
        name: value if name in raw else json.loads(bytes(value), parse_int=Number, parse_float=Number)
        for name, value in _MEMBERS.decode(text).items()
    }


def load(schema: Schema, document: Mapping[str, Any]) -> dict[str, Any]:
    """The document as the schema reads it. Raises InputError, with a Problem for each fault."""
    try:
        facts: dict[str, Any] = schema.load(document)
    except ValidationError as error:
        problems = tuple(problems_of(error.messages, list(schema.fields)))
        raise InputError(sentence(problems[0]), problems=problems) from None
    return facts


def sentence(problem: Problem) -> str:
    """A fault in one line of text."""
    found = f" Found {problem.found}, expected {problem.expected}." if problem.expected else ""
    return f"{problem.parameter or problem.pointer or 'The document'}: {problem.detail}{found}"


def to_operation(facts: Mapping[str, Any]) -> Operation:
    """The Operation in what StartRunSchema (or a schema built on it) read. Other members are passed over."""
    return Operation(
        kind=facts.get("kind") or "run",
        mode=facts.get("mode") or "update",
        trigger=facts.get("trigger") or "manual",
        app=App(**facts["app"]) if facts.get("app") else None,
        module=facts.get("module"),
        object_type=facts.get("object_type"),
        template=_saved(facts.get("template")),
        user=_user(facts.get("user")),
        recipe=_saved(facts.get("recipe")),
        recipe_run_id=facts.get("recipe_run_id"),
        target=facts.get("target"),
        message=facts.get("message"),
        details=facts.get("details"),
    )


def run_summary(run: Run) -> dict[str, Any]:
    """A run as the aggregate knows it, JSON values (`details` as Raw): the answer to the requests that write.

    The same names and values as in the tracker's rows, of which it is a part.
    """
    operation, error = run.operation, run.error
    return {
        "run_id": run.run_id,
        "stamp_run_id": run.stamp_run_id,
        "kind": operation.kind,
        "mode": operation.mode,
        "trigger": operation.trigger,
        "status": run.status,
        "app": _members(operation.app),
        "module": operation.module,
        "object_type": operation.object_type,
        "template": _members(operation.template),
        "user": _members(operation.user),
        "recipe": _members(operation.recipe),
        "recipe_run_id": operation.recipe_run_id,
        "target": operation.target,
        "message": operation.message,
        "details": Raw(operation.details) if operation.details else None,
        "started_at": run.started_at.isoformat(),
        "finished_at": run.finished_at.isoformat() if run.finished_at else None,
        "duration_s": (run.finished_at - run.started_at).total_seconds() if run.finished_at else None,
        "tally": run.tally.as_dict(),
        "accepted": run.accepted,
        "error": {"code": error.code, "message": error.message} if error else None,
    }


def _saved(members: Mapping[str, Any] | None) -> Saved | None:
    saved = Saved(**members) if members else Saved()
    return saved if saved != Saved() else None


def _user(members: Mapping[str, Any] | None) -> User | None:
    user = User(**members) if members else User()
    return user if user != User() else None


def _members(value: App | Saved | User | None) -> dict[str, str | None] | None:
    return {name: getattr(value, name) for name in value.__dataclass_fields__} if value else None


def _encoded(document: Mapping[str, Any]) -> bytes:
    """A Python document as JSON text. Raises InputError for what JSON cannot hold."""
    try:
        return json.dumps(document, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"The document cannot be written as JSON: {error}.") from None


_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
