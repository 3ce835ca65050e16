"""Undos on the wire: the request document, one definition for HTTP and the command line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields

from ledger.errors import Problem
from ledger.undo.request import POLICIES, Selection, UndoRequest
from ledger.wire.fields import Choice, Number, RunId, Text, shown
from ledger.wire.runs import StrictSchema, load, read_document

RUNS_MAX = 1_000
REQUEST_BYTES_MAX = 64 * 1024 * 1024
"""A selection may name some hundred thousand records."""


class RecordField(fields.Field[tuple[str, str]]):
    """[object type, record id]."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[str, str]:  # noqa: ARG002
        if not (isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)):
            raise ValidationError(
                [Problem("Not a record.", found=repr(value)[:80], expected="[object type, record id]")]
            )
        return value[0], value[1]


class Whole(fields.Integer):
    """A whole number of 0 or more, by its digits."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:  # noqa: ARG002
        digits = value.digits if isinstance(value, Number) else ""
        if not digits.isdecimal() or len(digits) > 18:
            raise ValidationError([Problem("Not a number of records.", found=shown(value), expected="0 or more")])
        return int(digits)


class UndoRequestSchema(StrictSchema):
    """Body of `POST /v1/undo-plans` and `POST /v1/undos`."""

    runs = fields.List(RunId(), required=True, metadata={"description": "Run IDs; a recipe's stands for its children."})
    on_conflict = Choice(*POLICIES, metadata={"description": "What is done where a value was changed since."})
    fields_ = fields.List(Text(), data_key="fields", metadata={"description": "Only these fields of updates."})
    records = fields.List(
        RecordField(metadata={"type": "array", "items": {"type": "string"}, "minItems": 2, "maxItems": 2}),
        metadata={"description": "Only these records: [object type, record id] each."},
    )
    object_types = fields.List(Text(), metadata={"description": "Only records of these types."})
    target = Text(metadata={"description": "Where to write; default: the target that the runs name."})
    plan_digest = Text(metadata={"description": "Apply only if the plan still has this digest."})


def parse_undo(body: bytes | Mapping[str, Any], *, idempotency_key: str | None = None) -> UndoRequest:
    """Raises InputError, with a Problem for each fault."""
    facts = load(UndoRequestSchema(), read_document(body, bytes_max=REQUEST_BYTES_MAX))
    return UndoRequest(
        tuple(dict.fromkeys(facts["runs"])),
        facts.get("on_conflict", "skip"),
        Selection(
            _set(facts.get("fields_")),
            _set(facts.get("records")),
            _set(facts.get("object_types")),
        ),
        facts.get("target"),
        facts.get("plan_digest"),
        idempotency_key,
    )


def _set(values: list[Any] | None) -> frozenset[Any] | None:
    return None if values is None else frozenset(values)


class ApprovalSchema(StrictSchema):
    """Body of `POST /v1/undo-approvals`."""

    plan_digest = Text(required=True, length_max=128)


class OptionsSchema(StrictSchema):
    """Body of `PUT /v1/undo-options`."""

    approval_above = Whole(required=True, allow_none=True, metadata={"description": "Records; null: no such rule."})


def parse_approval(body: bytes) -> str:
    """The digest of the plan that is approved. Raises InputError."""
    digest: str = load(ApprovalSchema(), read_document(body))["plan_digest"]
    return digest


def parse_options(body: bytes) -> int | None:
    """Above how many records an undo needs a second person. Raises InputError."""
    above: int | None = load(OptionsSchema(), read_document(body))["approval_above"]
    return above
