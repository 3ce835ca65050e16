"""Erasures, holds and retention on the wire: one definition for HTTP and the client."""

from __future__ import annotations

from typing import Any

from marshmallow import fields

from ledger.wire.fields import Choice, Text
from ledger.wire.runs import StrictSchema, load, read_document
from ledger.wire.undo import Whole

REASON_CHARACTERS_MAX = 1_000
_REASON = "Why; it stays in the log, so it must not repeat what is erased."


class ErasureRequestSchema(StrictSchema):
    """Body of `POST /v1/erasures`."""

    object_type = Text(required=True)
    record_id = Text(required=True, length_max=1_000)
    fields_ = fields.List(
        Text(length_max=1_000), data_key="fields", allow_none=True,
        metadata={"description": "Only the values of these fields; null: all that is known of the record."},
    )  # fmt: skip
    reason = Text(required=True, length_max=REASON_CHARACTERS_MAX, metadata={"description": _REASON})


class HoldRequestSchema(StrictSchema):
    """Body of `POST /v1/holds`, and the parameters of its DELETE."""

    object_type = Text(required=True)
    record_id = Text(allow_none=True, length_max=1_000, metadata={"description": "Null: all records of the type."})
    reason = Text(required=True, length_max=REASON_CHARACTERS_MAX)


class ReasonSchema(StrictSchema):
    """The parameters of a DELETE that is recorded."""

    reason = Text(required=True, length_max=REASON_CHARACTERS_MAX)


class RetentionRequestSchema(StrictSchema):
    """Body of `PUT /v1/retention/{object_type}`."""

    keep_days = Whole(required=True, metadata={"description": "Changes lose it when they were recorded so long ago."})
    what = Choice("before", "whole", metadata={"description": "before: their before-states; whole: all they hold."})
    reason = Text(required=True, length_max=REASON_CHARACTERS_MAX)


def parse_request(schema: type[StrictSchema], body: bytes) -> dict[str, Any]:
    """The members of one of these documents. Raises InputError, with a Problem for each fault."""
    return load(schema(), read_document(body, raw=frozenset()))
