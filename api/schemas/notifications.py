"""Notification rules and jobs over HTTP."""

from __future__ import annotations

from marshmallow import Schema
from marshmallow.fields import Integer, List, Nested, String

from ledger.jobs.queue import JOB_STATES
from ledger.notifications.rules import NAME_CHARACTERS_MAX, OCCASIONS, RECIPIENTS_MAX, URL_CHARACTERS_MAX
from ledger.wire.fields import Choice, Text
from ledger.wire.runs import StrictSchema


class MakeRuleSchema(StrictSchema):
    """Body of `POST /v1/notification-rules`."""

    channel = Choice("email", "webhook", required=True)
    occasion = Choice(*OCCASIONS)
    template = Text(length_max=NAME_CHARACTERS_MAX, allow_none=True)
    user = Text(length_max=NAME_CHARACTERS_MAX, allow_none=True)
    recipients = List(Text(length_max=254), metadata={"minItems": 1, "maxItems": RECIPIENTS_MAX})
    url = Text(length_max=URL_CHARACTERS_MAX)


class RuleSchema(Schema):
    rule_id = String()
    channel = String()
    occasion = String()
    template = String(allow_none=True)
    user = String(allow_none=True)
    recipients = List(String())
    url = String(allow_none=True)
    created_by = String()
    created_at = String()
    disabled_why = String(allow_none=True)


class MadeRuleSchema(RuleSchema):
    secret = String(
        allow_none=True, metadata={"description": "Of a webhook: the secret of its signatures, shown only now."}
    )


class RulesSchema(Schema):
    rules = List(Nested(RuleSchema))


class JobsQuery(StrictSchema):
    state = Choice(*JOB_STATES)


class JobSchema(Schema):
    job_id = String()
    kind = String()
    about = String(metadata={"description": "A Run ID."})
    recipient = String(allow_none=True)
    rule_id = String(allow_none=True)
    state = String()
    attempts = Integer()
    due_at = String(allow_none=True)
    created_at = String()
    ended_at = String(allow_none=True)
    outcome = String(allow_none=True)


class JobsSchema(Schema):
    jobs = List(Nested(JobSchema))
