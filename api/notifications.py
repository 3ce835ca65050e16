"""Notification rules and jobs over HTTP, for administrators."""

from __future__ import annotations

from flask import Response
from flask_smorest import Blueprint

from api.answers import json_answer, refuse_idempotency_key
from api.auth import identify, services
from api.bodies import read_json
from api.documenting import endpoint
from api.queries import read_query
from api.schemas.notifications import (
    JobSchema,
    JobsQuery,
    JobsSchema,
    MadeRuleSchema,
    MakeRuleSchema,
    RuleSchema,
    RulesSchema,
)
from ledger.errors import InputError, Problem
from ledger.wire.runs import StrictSchema, load, read_document

notifications = Blueprint("notifications", __name__, url_prefix="/v1", description="Who is told when runs end")


@endpoint(
    notifications, "GET", "/notification-rules", "List notification rules", answers={200: RulesSchema}
)  # fmt: skip
def list_rules() -> Response:
    """The oldest first; never the secrets."""
    identity = identify("manage")
    read_query(StrictSchema)
    rules = services().notification_rules(identity.account_id).list()
    return json_answer({"rules": [rule.as_dict() for rule in rules]})


@endpoint(
    notifications, "POST", "/notification-rules", "Make a notification rule", body=MakeRuleSchema,
    answers={201: MadeRuleSchema}, problems=(413, 415),
)  # fmt: skip
def make_rule() -> Response:
    """`recipients` for an e-mail, `url` for a webhook, whose secret is shown only in this answer."""
    identity = identify("manage")
    read_query(StrictSchema)
    refuse_idempotency_key()
    facts = load(MakeRuleSchema(), read_document(read_json(), raw=frozenset()))
    channel, recipients, url = facts.pop("channel"), facts.pop("recipients", None), facts.pop("url", None)
    expected = "recipients" if channel == "email" else "url"
    if (recipients is None) == (channel == "email") or (url is None) == (channel == "webhook"):
        problem = Problem("Not what the channel needs.", pointer=f"/{expected}", expected=f"{expected}, and it alone")
        raise InputError(
            f"A rule for {channel} has {expected}, and of recipients and url only that.", problems=(problem,)
        )
    rules = services().notification_rules(identity.account_id)
    if channel == "email":
        rule, secret = rules.add_email(tuple(recipients or ()), **facts, created_by=identity.actor), None
    else:
        rule, secret = rules.add_webhook(url or "", **facts, created_by=identity.actor)
    answer = json_answer(rule.as_dict() | {"secret": secret}, 201)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@endpoint(
    notifications, "DELETE", "/notification-rules/<text:rule_id>", "Remove a notification rule",
    answers={200: RuleSchema}, problems=(404,),
)  # fmt: skip
def remove_rule(rule_id: str) -> Response:
    """What waits to be sent for it is not sent."""
    identity = identify("manage")
    read_query(StrictSchema)
    return json_answer(services().notification_rules(identity.account_id).remove(rule_id).as_dict())


@endpoint(notifications, "GET", "/jobs", "List background jobs", query=JobsQuery, answers={200: JobsSchema})
def list_jobs() -> Response:
    """What was sent, waits or is dead and why; the newest first, at most 500."""
    identity = identify("manage")
    found = read_query(JobsQuery)
    jobs = services().jobs(identity.account_id).list(found.get("state"))
    return json_answer({"jobs": [job.as_dict() for job in jobs]})


@endpoint(
    notifications, "POST", "/jobs/<text:job_id>/retry", "Try a job again", answers={200: JobSchema},
    problems=(404, 409),
)  # fmt: skip
def retry_job(job_id: str) -> Response:
    """A dead one, or one that waits for its next attempt: now."""
    identity = identify("manage")
    read_query(StrictSchema)
    return json_answer(services().jobs(identity.account_id).revive(job_id).as_dict())
