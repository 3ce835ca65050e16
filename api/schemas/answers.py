"""The shapes of answers, for OpenAPI. They describe; nothing is read or written through them."""

from __future__ import annotations

from typing import Any

from marshmallow import INCLUDE, Schema
from marshmallow.fields import Boolean, Dict, Float, Integer, List, Nested, String

from ledger.wire.runs import AppSchema, SavedSchema, UserSchema


def described(text: str, **more: Any) -> dict[str, Any]:
    return {"metadata": {"description": text}, **more}


class FaultSchema(Schema):
    detail = String(required=True)
    pointer = String(**described("RFC 6901 pointer into the document or the line."))
    line = Integer(**described("Line of an NDJSON body, from 1."))
    parameter = String()
    found = String()
    expected = String()


class ProblemSchema(Schema):
    """A problem document (RFC 9457). Facts such as `accepted` stand beside these members."""

    class Meta:
        unknown = INCLUDE

    type = String(required=True)
    title = String(required=True)
    status = Integer(required=True)
    detail = String(required=True)
    code = String(required=True)
    request_id = String(allow_none=True)
    errors = List(Nested(FaultSchema))
    accepted = Integer(**described("How many changes of the run are recorded: the offset to go on from."))


class TallySchema(Schema):
    updated = Integer()
    created = Integer()
    deleted = Integer()
    unmodified = Integer()
    other = Integer()
    failed = Integer()
    succeeded = Integer()
    processed = Integer()


class SystemFaultSchema(Schema):
    code = String()
    message = String()


class StatusSchema(Schema):
    """How far a run is: all that a producer may read back."""

    run_id = String(required=True)
    status = String(required=True)
    accepted = Integer(**described("How many changes are recorded; not in lists."))
    tally = Nested(TallySchema, allow_none=True)


class RunSchema(StatusSchema):
    """One run."""

    stamp_run_id = String(**described("The Run ID to write on each record."))
    kind = String()
    mode = String()
    trigger = String()
    app = Nested(AppSchema, allow_none=True)
    module = String(allow_none=True)
    object_type = String(allow_none=True)
    template = Nested(SavedSchema, allow_none=True)
    user = Nested(UserSchema, allow_none=True)
    recipe = Nested(SavedSchema, allow_none=True)
    recipe_run_id = String(allow_none=True)
    target = String(allow_none=True)
    message = String(allow_none=True)
    details = Dict(allow_none=True)
    started_at = String()
    finished_at = String(allow_none=True)
    duration_s = Float(allow_none=True)
    error = Nested(SystemFaultSchema, allow_none=True)
    has_report = Boolean()
    undoes = List(String())
    undone_by = List(String())
    is_interrupted = Boolean(**described("An undo that runs no more and waits to be resumed."))
    undo_state = String(**described("none, under_way or undone."))
    undo_under_way = String(allow_none=True, **described("The undo of this run that is under way."))
    position = Integer(allow_none=True)
    links = Dict(keys=String(), values=String())


class RunPageSchema(Schema):
    runs = List(Nested(RunSchema))
    total = Integer()
    total_is_capped = Boolean()
    next_cursor = String(allow_none=True)


class AcceptedSchema(Schema):
    run_id = String(required=True)
    accepted = Integer(required=True)
    position = Integer(allow_none=True)


class RecordedChangeSchema(Schema):
    position = Integer()
    run_id = String()
    sequence = Integer()
    object_type = String()
    record_id = String(allow_none=True)
    action = String()
    result = String()
    message = String(allow_none=True)
    before = Dict(allow_none=True)
    after = Dict(allow_none=True)
    label = String(allow_none=True)
    link = String(allow_none=True)
    details = Dict(allow_none=True)
    actor = String(allow_none=True)
    preview = Boolean()
    occurred_at = String()
    recorded_at = String()
    erased = Boolean()
    erased_fields = List(String())


class ChangePageSchema(Schema):
    changes = List(Nested(RecordedChangeSchema))
    searched_to = Integer(allow_none=True)
    next_cursor = String(allow_none=True)


class RecordSchema(Schema):
    object_type = String()
    record_id = String()
    presence = String(**described("present, deleted, unknown or never_seen"))
    message = String()
    fields_ = Dict(allow_none=True, data_key="fields")
    position = Integer(allow_none=True)
    run_id = String(allow_none=True)
    user = String(allow_none=True)
    occurred_at = String(allow_none=True)
    recorded_at = String(allow_none=True)
    label = String(allow_none=True)
    erased = Boolean()


class HistorySchema(Schema):
    object_type = String()
    record_id = String()
    presence = String()
    changes = List(Nested(RecordedChangeSchema))
    next_cursor = String(allow_none=True)


class BlamedFieldSchema(Schema):
    field = String()
    value = String(metadata={"type": ["string", "number", "boolean", "object", "array", "null"]})
    run_id = String()
    user = String(allow_none=True)
    occurred_at = String()
    recorded_at = String()
    position = Integer()
    sequence = Integer()


class BlameSchema(RecordSchema):
    fields_ = List(Nested(BlamedFieldSchema), data_key="fields")  # type: ignore[assignment]


class ActivityDaySchema(Schema):
    day = String()
    user = String(allow_none=True)
    template = String(allow_none=True)
    runs = Integer()
    failed_runs = Integer()
    tally = Nested(TallySchema)


class ActivitySchema(Schema):
    days = List(Nested(ActivityDaySchema))


class TokenSchema(Schema):
    token_id = String(**described("How the token begins."))
    name = String()
    role = String()
    created_at = String()
    expires_at = String(allow_none=True)
    revoked_at = String(allow_none=True)
    last_used_at = String(allow_none=True)


class MadeTokenSchema(TokenSchema):
    token = String(**described("The token itself, shown only now."))


class TokensSchema(Schema):
    tokens = List(Nested(TokenSchema))


class AccountUserSchema(Schema):
    email = String()
    name = String()
    role = String()
    created_at = String()
    last_signed_in_at = String(allow_none=True)


class AccountUsersSchema(Schema):
    users = List(Nested(AccountUserSchema))
