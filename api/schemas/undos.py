"""The shapes of undos, for OpenAPI."""

from __future__ import annotations

from marshmallow import INCLUDE, Schema
from marshmallow.fields import Boolean, Dict, Integer, List, Nested, String

from api.schemas.answers import described
from ledger.wire.undo import ApprovalSchema, OptionsSchema, UndoRequestSchema

__all__ = ["ApprovalSchema", "EditedReportSchema", "OptionsSchema", "UndoSchema", "UndoabilitySchema"]


class AppliedSchema(Schema):
    op = String(**described("create, update or delete."))
    object_type = String()
    record_id = String()
    fields_ = Dict(keys=String(), data_key="fields")
    old_id = String(**described("The id before, where the target gave a new one."))


class ItemSchema(Schema):
    class Meta:
        unknown = INCLUDE

    object_type = String()
    record_id = String()
    field = String(allow_none=True, **described("Null: the record as a whole."))
    reason = String()
    message = String(allow_none=True)


class UndoSchema(Schema):
    """A plan, or an undo as far as it is. Lists are cut at 10,000 items, which `truncated` says; counts are whole."""

    class Meta:
        unknown = INCLUDE

    undo_id = String(allow_none=True)
    status = String(
        **described("completed, partial, nothing_applied, nothing_to_do, aborted, interrupted; running while it runs.")
    )
    runs = List(String())
    applied = List(Nested(AppliedSchema))
    skipped = List(Nested(ItemSchema))
    noop = List(Nested(ItemSchema))
    failed = List(Nested(ItemSchema))
    counts = Dict(keys=String(), values=Integer())
    cascaded_runs = List(String())
    truncated = Boolean()
    digest = String(allow_none=True)
    position = Integer(allow_none=True)
    replayed = Boolean()


class DifferingCellSchema(Schema):
    place = String(**described("Where it stands: line 7, or sheet Changes, row 7."))
    object_type = String()
    record_id = String()
    column = String()
    found = String(**described("What the cell says."))
    expected = String(**described("What the ledger says: this is what an undo takes."))


class UnknownRowSchema(Schema):
    place = String()
    object_type = String(allow_none=True)
    record_id = String()


class EditedReportSchema(Schema):
    """What an edited report selects. Lists are cut at 100; counts are whole."""

    rows = Integer(**described("Rows left that name a record of the run."))
    columns = List(String(), **described("Fields whose Before column is left."))
    differing_cells = List(Nested(DifferingCellSchema))
    unknown_rows = List(Nested(UnknownRowSchema), **described("They name no record of the run, and select nothing."))
    unknown_columns = List(String())
    counts = Dict(keys=String(), values=Integer())
    undo = Nested(UndoRequestSchema, **described("The body for `POST /v1/undo-plans` and `POST /v1/undos`."))


class OverwrittenSchema(Schema):
    run_id = String()
    fields_ = Integer(data_key="fields")


class UndoabilitySchema(Schema):
    run_id = String(required=True)
    refusal = String(allow_none=True, **described("Why an undo would be refused; null: it would not."))
    message = String()
    records_restorable = Integer()
    fields_restorable = Integer()
    overwritten_since = Integer()
    overwritten_by = List(Nested(OverwrittenSchema))
    impossible = Integer()
    already_restored = Integer()
    truncated = Boolean()
