"""Bodies of requests that are not runs (those are in ledger.wire.runs)."""

from __future__ import annotations

from ledger.access import ROLES, TOKEN_NAME_CHARACTERS_MAX
from ledger.addresses import ADDRESS_CHARACTERS_MAX
from ledger.wire.fields import Choice, Instant, Text
from ledger.wire.runs import StrictSchema


class AddUserSchema(StrictSchema):
    """Body of `POST /v1/users`."""

    email = Text(required=True, length_max=ADDRESS_CHARACTERS_MAX)
    role = Choice(*ROLES, required=True)
    name = Text(allow_none=True)


class MakeTokenSchema(StrictSchema):
    """Body of `POST /v1/tokens`."""

    role = Choice(*ROLES, required=True)
    name = Text(required=True, length_max=TOKEN_NAME_CHARACTERS_MAX)
    expires_at = Instant(allow_none=True)
