"""The shapes of erasures, holds and retention, for OpenAPI."""

from __future__ import annotations

from marshmallow import Schema
from marshmallow.fields import Integer, List, Nested, String

from api.schemas.answers import described


class ErasureSchema(Schema):
    run_id = String(**described("The erasure's own run."))
    object_type = String()
    record_id = String()
    fields_ = List(String(), data_key="fields", allow_none=True)
    reason = String()
    user = String()
    erased_at = String()
    position = Integer()
    events = Integer(**described("How many events lost something."))
    repeats = String(allow_none=True, **described("The erasure that this one repeats on a restored log."))


class ErasuresSchema(Schema):
    erasures = List(Nested(ErasureSchema))


class HoldSchema(Schema):
    object_type = String()
    record_id = String(allow_none=True)
    reason = String()
    user = String()
    placed_at = String()


class HoldsSchema(Schema):
    holds = List(Nested(HoldSchema))


class PolicySchema(Schema):
    object_type = String()
    keep_days = Integer()
    what = String()
    reason = String()
    user = String()
    set_at = String()
    applied_upto = Integer(**described("Up to which position it was applied."))


class RetentionSchema(Schema):
    retention = List(Nested(PolicySchema))


class AppliedPolicySchema(Schema):
    object_type = String()
    upto = Integer()
    erased = Integer()
    stopped = String(allow_none=True, **described("Why it did not reach all that is old enough."))


class AppliedPoliciesSchema(Schema):
    applied = List(Nested(AppliedPolicySchema))
