"""The signed log over HTTP, at the paths of c2sp.org/tlog-tiles: for its account, or for all."""

from __future__ import annotations

import gzip

from flask import Response, current_app, request
from flask_smorest import Blueprint

from api.answers import json_answer
from api.auth import identify, services
from api.documenting import endpoint
from api.queries import read_query
from api.schemas.verdicts import VerificationSchema
from ledger.access import Account
from ledger.errors import InputError, NotFound
from ledger.ids import account_id_of
from ledger.integrity.continuous import AccountVerification
from ledger.integrity.policy import Policy
from ledger.integrity.signed_heads import open_signing
from ledger.integrity.signed_log import SignedLog
from ledger.integrity.tiles import parse_tile_path
from ledger.integrity.tlog_proof import format_proof
from ledger.integrity.witnessing import open_policy
from ledger.wire.runs import StrictSchema

signed_log = Blueprint(
    "signed_log", __name__, url_prefix="/v1", description="The signed log: checkpoint, tiles, proofs"
)

CHECKPOINT_FRESH_S = 1
IMMUTABLE_S = 365 * 24 * 3600
OCTETS = "application/octet-stream"
TEXT = "text/plain"


@endpoint(signed_log, "GET", "/log/checkpoint", "Newest checkpoint", answers={200: TEXT}, problems=(404,))
def get_checkpoint() -> Response:
    """The signed note of the log's size and root hash (c2sp.org/tlog-checkpoint)."""
    return _checkpoint(_own(), "private")


@endpoint(
    signed_log, "GET", "/log/witnessed-checkpoint", "Newest checkpoint with enough cosignatures", answers={200: TEXT},
    problems=(404,),
)  # fmt: skip
def get_witnessed_checkpoint() -> Response:
    """The newest whose cosignatures meet the service's witness policy, with them; older than the newest by seconds."""
    return _witnessed(_own(), "private")


@endpoint(signed_log, "GET", "/log/tile/<path:tile>", "Tile or bundle", answers={200: OCTETS}, problems=(404,))
def get_tile(tile: str) -> Response:
    """A tile of hashes, LEVEL/NUMBER[.p/WIDTH], or a bundle of entries, entries/NUMBER[.p/WIDTH]. Never changes."""
    return _tile(_own(), tile, "private")


@endpoint(
    signed_log, "GET", "/log/entry/<int(max=9223372036854775807):position>", "Entry of an event", answers={200: OCTETS},
    problems=(404,),
)  # fmt: skip
def get_entry(position: int) -> Response:
    """What the leaf of the event at a position holds: canonical JSON, the bytes that are hashed."""
    return Response(_own().entry(position), content_type=OCTETS)


@endpoint(
    signed_log, "GET", "/log/proof/<int(max=9223372036854775807):position>", "Proof of an event", answers={200: TEXT},
    problems=(404,),
)  # fmt: skip
def get_proof(position: int) -> Response:
    """That the event at a position is in the log, with the newest checkpoint (c2sp.org/tlog-proof)."""
    answer = _text(format_proof(_own().proof(position)))
    answer.headers.set("Content-Disposition", "attachment", filename=f"{position}.tlog-proof")
    return answer


@endpoint(
    signed_log, "GET", "/verify", "What verifying the log found", answers={200: VerificationSchema}, problems=(404,)
)
def get_verification() -> Response:
    """What the service found when it last recomputed the account's log and views and compared them with what was
    signed. An auditor who must not trust this service runs `ledger verify`, or tools of others."""
    return json_answer(_verification().last()._asdict())


@endpoint(signed_log, "POST", "/verify", "Verify the log", answers={202: VerificationSchema}, problems=(404,))
def ask_for_verification() -> Response:
    """Has the account's log verified in the background, at once and at full speed; GET tells what came of it."""
    return json_answer(_verification().ask()._asdict(), 202)


def _verification() -> AccountVerification:
    """Raises NotFound where no process of this service could verify."""
    identity = identify("read")
    read_query(StrictSchema)
    if open_signing(current_app.extensions["settings"]) is None:
        raise NotFound("The logs are not signed here: there is no signing key.")
    return services().account_verification(identity.account_id)


@endpoint(
    signed_log, "GET", "/logs/<text:account>/checkpoint", "Newest checkpoint of a public log", answers={200: TEXT},
    problems=(404,),
)  # fmt: skip
def get_public_checkpoint(account: str) -> Response:
    """Needs no token where the operator made the account's log public (LEDGER_PUBLIC_LOGS)."""
    return _checkpoint(_public(account), "public")


@endpoint(
    signed_log, "GET", "/logs/<text:account>/witnessed-checkpoint", "Public checkpoint with enough cosignatures",
    answers={200: TEXT}, problems=(404,),
)  # fmt: skip
def get_public_witnessed_checkpoint(account: str) -> Response:
    """Needs no token where the operator made the account's log public (LEDGER_PUBLIC_LOGS)."""
    return _witnessed(_public(account), "public")


@endpoint(
    signed_log, "GET", "/logs/<text:account>/tile/<path:tile>", "Tile or bundle of a public log", answers={200: OCTETS},
    problems=(404,),
)  # fmt: skip
def get_public_tile(account: str, tile: str) -> Response:
    """Needs no token where the operator made the account's log public (LEDGER_PUBLIC_LOGS)."""
    return _tile(_public(account), tile, "public")


def _own() -> SignedLog:
    identity = identify("read")
    read_query(StrictSchema)
    return services().signed_log(Account(identity.account_id, "", 0))


def _public(account: str) -> SignedLog:
    """Raises NotFound for a log that is not public, whether there is one or not."""
    read_query(StrictSchema)
    if account not in current_app.extensions["settings"].public_logs:
        raise NotFound(f"There is no public log of {account[:63]!r}. Its own auditors read it at /v1/log with a token.")
    return services().signed_log(Account(account_id_of(account), account, 0))


def _witnessed(log: SignedLog, whose: str) -> Response:
    policy = open_policy(current_app.extensions["settings"])
    if policy is None:
        raise NotFound("The service has no witness policy: LEDGER_WITNESS_POLICY is not set.")
    return _checkpoint(log, whose, policy)


def _checkpoint(log: SignedLog, whose: str, policy: Policy | None = None) -> Response:
    answer = _text((log.witnessed_checkpoint(policy) if policy else log.checkpoint()).note)
    answer.headers["Cache-Control"] = f"{whose}, max-age={CHECKPOINT_FRESH_S}"
    return answer


def _tile(log: SignedLog, path: str, whose: str) -> Response:
    try:
        tile = parse_tile_path(f"tile/{path}")
    except InputError as error:
        raise NotFound(error.message) from error
    data = log.tile(tile)
    answer = Response(data, content_type=OCTETS)
    if (
        tile.level is None and request.accept_encodings["gzip"] > 0
    ):  # entries are text and repeat themselves; hashes do not
        answer.set_data(gzip.compress(data, compresslevel=6, mtime=0))
        answer.headers["Content-Encoding"] = "gzip"
        answer.headers["Vary"] = "Accept-Encoding"
    answer.headers["Cache-Control"] = f"{whose}, max-age={IMMUTABLE_S}, immutable"
    return answer


def _text(text: str) -> Response:
    return Response(text, content_type="text/plain; charset=utf-8")
