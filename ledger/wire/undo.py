"""Undos on the wire: the request document, one definition for HTTP and the command line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marshmallow import ValidationError, fields

from ledger.errors import Problem
from ledger.undo.request import POLICIES, RESTORE_POLICIES, Restoring, Selection, UndoRequest
from ledger.wire.fields import Choice, Instant, Number, RunId, Text, shown
from ledger.wire.runs import StrictSchema, load, read_document

RUNS_MAX = 1_000
REQUEST_BYTES_MAX = 64 * 1024 * 1024
"""A selection may name some hundred thousand records."""


class RecordField(fields.Field[tuple[str, ...]]):
    """[object type, record id]."""

    parts: tuple[str, ...] = ("object type", "record id")

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> tuple[str, ...]:  # noqa: ARG002
        parts = self.parts
        if not (isinstance(value, list) and len(value) == len(parts) and all(isinstance(part, str) for part in value)):
            expected = f"[{', '.join(parts)}]"
            raise ValidationError([Problem(f"Not {expected}.", found=repr(value)[:80], expected=expected)])
        return tuple(value)


class ChangeField(RecordField):
    """[Run ID, object type, record id]."""

    parts = ("Run ID", "object type", "record id")


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
    columns = fields.List(
        Text(length_min=0, length_max=REQUEST_BYTES_MAX),
        metadata={"description": "Only these fields of updates, and created and deleted records. Of an edited report."},
    )
    except_changes = fields.List(
        ChangeField(metadata={"type": "array", "items": {"type": "string"}, "minItems": 3, "maxItems": 3}),
        metadata={"description": "Not these: [Run ID, object type, record id] each. Of a recipe's edited report."},
    )
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
            _set(facts.get("columns")),
            frozenset(facts.get("except_changes", ())),
        ),
        facts.get("target"),
        facts.get("plan_digest"),
        idempotency_key,
    )


def _set(values: list[Any] | None) -> frozenset[Any] | None:
    return None if values is None else frozenset(values)


def undo_document(runs: Sequence[str], selection: Selection) -> dict[str, Any]:
    """The body of `POST /v1/undos` that asks for a selection: the inverse of parse_undo."""
    found: dict[str, Any] = {"runs": list(runs)}
    for name in ("fields", "records", "object_types", "columns", "except_changes"):
        values = getattr(selection, name)
        if values or (values is not None and name != "except_changes"):
            found[name] = sorted(values)
    return found


class RestoreSchema(StrictSchema):
    """Body of `POST /v1/restore-plans` and `POST /v1/restores`."""

    object_type = Text(required=True)
    as_of = Instant(required=True, metadata={"description": "What happened after this instant goes."})
    records = fields.List(Text(), metadata={"description": "Only these record ids."})
    on_conflict = Choice(*RESTORE_POLICIES, metadata={"description": "What is done where a value was changed since."})
    target = Text(metadata={"description": "Where to write; default: the target that the runs name."})
    plan_digest = Text(metadata={"description": "Apply only if the plan still has this digest."})


def parse_restore(body: bytes, *, idempotency_key: str | None = None) -> Restoring:
    """Raises InputError, with a Problem for each fault."""
    facts = load(RestoreSchema(), read_document(body, bytes_max=REQUEST_BYTES_MAX))
    return Restoring(
        facts["object_type"],
        facts["as_of"],
        _set(facts.get("records")),
        facts.get("on_conflict", "skip"),
        facts.get("target"),
        facts.get("plan_digest"),
        idempotency_key,
    )


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
