"""The shape of a verdict, for OpenAPI."""

from __future__ import annotations

from marshmallow import Schema
from marshmallow.fields import AwareDateTime, Boolean, Integer, List, Nested, String

from api.schemas.answers import described


class FindingSchema(Schema):
    kind = String(required=True)
    detail = String(required=True)
    position = Integer(required=True, allow_none=True)


class VerdictSchema(Schema):
    verified = Boolean(required=True)
    events = Integer(required=True)
    signed = Integer(required=True, **described("How many of them are under a signed head."))
    checkpoints = Integer(required=True)
    root = String(required=True, **described("The root hash that the events give, in hexadecimal."))
    first_position = Integer(required=True, allow_none=True, **described("The first position that is wrong."))
    findings = List(Nested(FindingSchema), required=True)


class VerificationSchema(Schema):
    began_at = AwareDateTime(required=True, allow_none=True)
    ended_at = AwareDateTime(required=True, allow_none=True)
    verdict = Nested(VerdictSchema, required=True, allow_none=True, **described("Null: it was never verified here."))
    asked_at = AwareDateTime(
        required=True, allow_none=True, **described("When one was asked for that has not begun since.")
    )
