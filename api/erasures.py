"""Erasure, legal holds and retention over HTTP: for administrators; what is in force, for all who may read."""

from __future__ import annotations

from flask import Response
from flask_smorest import Blueprint

from api.answers import json_answer, once
from api.auth import identify, services
from api.bodies import read_json
from api.documenting import endpoint
from api.queries import read_query
from api.schemas.erasures import (
    AppliedPoliciesSchema,
    ErasureSchema,
    ErasuresSchema,
    HoldsSchema,
    RetentionSchema,
)
from ledger.erasure.keeping import shown_rules
from ledger.wire.erasures import (
    ErasureRequestSchema,
    HoldRequestSchema,
    ReasonSchema,
    RetentionRequestSchema,
    parse_request,
)
from ledger.wire.runs import StrictSchema

erasures = Blueprint("erasures", __name__, url_prefix="/v1", description="What is kept, and what is erased")


@endpoint(
    erasures, "POST", "/erasures", "Erase a record's data", body=ErasureRequestSchema, answers={201: ErasureSchema},
    problems=(404, 409, 413, 415), with_key=True,
)  # fmt: skip
def erase() -> Response:
    """All that the ledger knows of the record, or the values of some fields, for good, wherever they stand. Refused
    with `held` under a legal hold."""
    identity = identify("erase")
    read_query(StrictSchema)
    body = read_json()

    def act() -> Response:
        asked = parse_request(ErasureRequestSchema, body)
        erasure = services().erasure(identity.account_id).erase(
            asked["object_type"], asked["record_id"], fields=asked.get("fields_"), reason=asked["reason"],
            user=identity.name,
        )  # fmt: skip
        return json_answer(erasure.as_dict(), 201, position=erasure.position)

    return once(identity, body, act)


@endpoint(erasures, "GET", "/erasures", "The erasure list", answers={200: ErasuresSchema})
def list_erasures() -> Response:
    """Every erasure of the account: what, when, who and why; in order."""
    identity = identify("read")
    read_query(StrictSchema)
    return json_answer({"erasures": [each.as_dict() for each in services().erasure(identity.account_id).erasures()]})


@endpoint(erasures, "GET", "/holds", "Legal holds", answers={200: HoldsSchema})
def list_holds() -> Response:
    """Those in force."""
    identity = identify("read")
    read_query(StrictSchema)
    return json_answer({"holds": shown_rules(services().keeping(identity.account_id).load())["holds"]})


@endpoint(
    erasures, "POST", "/holds", "Place a legal hold", body=HoldRequestSchema, answers={200: HoldsSchema},
    problems=(409, 413, 415),
)  # fmt: skip
def place_hold() -> Response:
    """Nothing of the record, or of any record of the type, is erased while it stands. Again is harmless."""
    identity = identify("erase")
    read_query(StrictSchema)
    asked = parse_request(HoldRequestSchema, read_json())
    keeping = services().keeping(identity.account_id)
    position = keeping.place_hold(
        asked["object_type"], asked.get("record_id"), reason=asked["reason"], user=identity.name
    )
    return json_answer({"holds": shown_rules(keeping.load())["holds"]}, position=position)


@endpoint(
    erasures, "DELETE", "/holds", "Lift a legal hold", query=HoldRequestSchema, answers={200: HoldsSchema},
    problems=(404, 409),
)  # fmt: skip
def lift_hold() -> Response:
    """What became old while it stood is erased when retention is applied next."""
    identity = identify("erase")
    asked = read_query(HoldRequestSchema)
    keeping = services().keeping(identity.account_id)
    position = keeping.lift_hold(
        asked["object_type"], asked.get("record_id"), reason=asked["reason"], user=identity.name
    )
    return json_answer({"holds": shown_rules(keeping.load())["holds"]}, position=position)


@endpoint(erasures, "GET", "/retention", "Retention policies", answers={200: RetentionSchema})
def list_retention() -> Response:
    """Those in force, and how far each was applied."""
    identity = identify("read")
    read_query(StrictSchema)
    return json_answer({"retention": shown_rules(services().keeping(identity.account_id).load())["retention"]})


@endpoint(
    erasures, "PUT", "/retention/<text:object_type>", "Set a retention policy", body=RetentionRequestSchema,
    answers={200: RetentionSchema}, problems=(409, 413, 415),
)  # fmt: skip
def set_retention(object_type: str) -> Response:
    """Applied every day, and by `POST /v1/retention/apply`. Runs that lost before-states cannot be undone any more."""
    identity = identify("erase")
    read_query(StrictSchema)
    asked = parse_request(RetentionRequestSchema, read_json())
    keeping = services().keeping(identity.account_id)
    position = keeping.set_retention(
        object_type, asked["keep_days"], what=asked.get("what", "before"), reason=asked["reason"], user=identity.name
    )
    return json_answer({"retention": shown_rules(keeping.load())["retention"]}, position=position)


@endpoint(
    erasures, "DELETE", "/retention/<text:object_type>", "Lift a retention policy", query=ReasonSchema,
    answers={200: RetentionSchema}, problems=(404, 409),
)  # fmt: skip
def lift_retention(object_type: str) -> Response:
    """What it erased stays erased."""
    identity = identify("erase")
    asked = read_query(ReasonSchema)
    keeping = services().keeping(identity.account_id)
    position = keeping.lift_retention(object_type, reason=asked["reason"], user=identity.name)
    return json_answer({"retention": shown_rules(keeping.load())["retention"]}, position=position)


@endpoint(
    erasures, "POST", "/retention/apply", "Apply the retention policies now", answers={200: AppliedPoliciesSchema},
    problems=(409,),
)  # fmt: skip
def apply_retention() -> Response:
    """To all changes that are old enough by now; again is harmless."""
    identity = identify("erase")
    read_query(StrictSchema)
    return json_answer({"applied": [each.as_dict() for each in services().retention(identity.account_id).apply()]})
