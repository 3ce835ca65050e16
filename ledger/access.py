"""Who may do what: accounts, API tokens, roles.

A token is shown once, when it is made; only its SHA-256 is kept. It carries its account's id, so that it can be
looked up inside its account: no statement ever looks across accounts.
"""

from __future__ import annotations

import hmac
import re
import secrets
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Literal, NamedTuple, get_args
from uuid import UUID

from ledger.domain.operation import User
from ledger.errors import Conflict, InputError, NotFound, NotPermitted, NotSignedIn, Problem
from ledger.ids import account_id_of
from ledger.store.database import Database

Role = Literal["producer", "operator", "auditor", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
Permission = Literal["record", "read_status", "read", "undo", "manage", "erase"]

PERMISSIONS: dict[Role, frozenset[Permission]] = {
    "producer": frozenset(("record", "read_status")),
    "operator": frozenset(("record", "read_status", "read", "undo")),
    "auditor": frozenset(("read_status", "read")),
    "admin": frozenset(("record", "read_status", "read", "undo", "manage", "erase")),
}
"""read_status: how far a run's recording is (status, tally, accepted); read: everything in the account."""

_DEEDS: dict[Permission, str] = {
    "record": "record runs",
    "read_status": "see how far runs are",
    "read": "read the ledger",
    "undo": "undo runs",
    "manage": "manage tokens, targets and rules",
    "erase": "erase data or say what is kept",
}

TOKEN_NAME_CHARACTERS_MAX = 255
USE_NOTED_EVERY = timedelta(minutes=1)
"""last_used_at is this exact: a busy token does not write a row with each request."""


class Account(NamedTuple):
    """A tenant. `head` is the position of its newest event, 0 where there is none."""

    account_id: UUID
    name: str
    head: int


class Token(NamedTuple):
    """An API token as it can be shown: never the secret itself. `token_id` is how the token begins."""

    token_id: str
    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    def as_dict(self) -> dict[str, Any]:
        """JSON values; instants as RFC 3339 text."""
        return {
            name: value.isoformat() if isinstance(value, datetime) else value for name, value in self._asdict().items()
        }


@dataclass(frozen=True, slots=True)
class Identity:
    """Who sends a request, as their token or session tells."""

    account_id: UUID
    role: Role
    token_id: str
    """Empty for a person who signed in."""
    name: str
    email: str | None = None
    """Of a person who signed in with OpenID Connect."""

    @property
    def user(self) -> User:
        """Who acts, as runs name their users. A person by their address alone: names can be alike, and can be changed
        between an approval and the undo that needs it of somebody else."""
        return User(email=self.email) if self.email else User(name=self.name)

    @property
    def actor(self) -> str:
        """The same as one text."""
        return self.email or self.name


def require(identity: Identity, permission: Permission) -> None:
    """Raises NotPermitted unless the identity's role has the permission."""
    if permission in PERMISSIONS[identity.role]:
        return
    able = [role for role in ROLES if permission in PERMISSIONS[role]]
    raise NotPermitted(
        f"{identity.email or f'Token {identity.token_id}'} has the role {identity.role}, "
        f"which may not {_DEEDS[permission]}. It takes the role {' or '.join(able)}.",
        role=identity.role,
        roles_needed=able,
    )


class Accounts:
    """The accounts of one database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str) -> Account:
        """Makes an account. Raises InputError for a bad name, Conflict where it is there already."""
        account_id = account_id_of(_check_account_name(name))
        with self._database.transaction(account_id) as connection:
            made = connection.execute(_ADD_ACCOUNT, {"account_id": account_id, "name": name}).rowcount
        if not made:
            raise Conflict(f"There is an account {name} already.")
        return Account(account_id, name, 0)

    def ensure(self, name: str) -> Account:
        """The account with this name, made where there is none."""
        try:
            return self.add(name)
        except Conflict:
            return self.find(name)

    def find(self, name: str) -> Account:
        """Raises NotFound, InputError for a bad name."""
        account = self._find(account_id_of(_check_account_name(name)))
        if account is None:
            raise NotFound(f"There is no account {name}. Make it with `ledger account add {name}`.")
        return account

    def get(self, account_id: UUID) -> Account:
        """The account with this id. Raises NotFound."""
        account = self._find(account_id)
        if account is None:
            raise NotFound("There is no such account.")
        return account

    def _find(self, account_id: UUID) -> Account | None:
        with self._database.transaction(account_id) as connection:
            row = connection.execute(_FIND_ACCOUNT, {"account_id": account_id}).fetchone()
        return None if row is None else Account(*row)

    def list(self) -> list[Account]:
        """All accounts, by name."""
        with self._database.connection() as connection:
            rows = connection.execute("SELECT account_id, name, head FROM ledger_heads() ORDER BY name").fetchall()
        return [Account(*row) for row in rows]


class Tokens:
    """The API tokens of one account."""

    def __init__(self, database: Database, account_id: UUID, *, clock: Callable[[], datetime] | None = None) -> None:
        self._database = database
        self._account_id = account_id
        self._clock = clock or _utc_now

    def make(self, role: str, name: str, expires_at: datetime | None = None) -> tuple[str, Token]:
        """A new token's text, to be shown once, and what is kept of it. Raises InputError, NotFound (no account)."""
        now = self._clock()
        checked = check_role(role)
        _check_token_name(name)
        if expires_at is not None and expires_at <= now:
            raise _bad(
                "/expires_at", "The token would have expired already.", expires_at.isoformat(), "a later instant"
            )
        text = format_token(self._account_id, secrets.token_bytes(_SECRET_BYTES))
        token = Token(text[:_TOKEN_ID_CHARACTERS], name, checked, now, expires_at, None, None)
        values = token._asdict() | {"account_id": self._account_id, "token_hash": _hash(text)}
        with self._database.transaction(self._account_id) as connection:
            if not connection.execute(_FIND_ACCOUNT, values).fetchone():
                raise NotFound("There is no such account. Make it with `ledger account add NAME`.")
            connection.execute(_INSERT, values)
        return text, token

    def list(self) -> list[Token]:
        """All tokens, the newest first, expired and revoked ones too."""
        with self._database.transaction(self._account_id) as connection:
            rows = connection.execute(_LIST, {"account_id": self._account_id}).fetchall()
        return [Token(*row) for row in rows]

    def revoke(self, token_id: str) -> Token:
        """Ends a token's life; again is harmless. Raises NotFound."""
        values = {"account_id": self._account_id, "token_id": token_id, "now": self._clock()}
        row = None
        if "\0" not in token_id:
            with self._database.transaction(self._account_id) as connection:
                row = connection.execute(_REVOKE, values).fetchone()
        if row is None:
            raise NotFound(f"There is no token {token_id!r} in this account. List them with `ledger token list`.")
        return Token(*row)


def authenticate(database: Database, text: str, *, clock: Callable[[], datetime] | None = None) -> Identity:
    """Whose token this is. Raises NotSignedIn: malformed, unknown, expired or revoked."""
    now = (clock or _utc_now)()
    account_id = parse_token(text)
    values = {"account_id": account_id, "token_id": text[:_TOKEN_ID_CHARACTERS], "now": now}
    with database.transaction(account_id) as connection:
        row = connection.execute(_FIND, values).fetchone()
        if row is None or not hmac.compare_digest(bytes(row[0]), _hash(text)):
            raise NotSignedIn("The API token is not known. Look whether it was copied whole.")
        _, role, name, expires_at, revoked_at, last_used_at = row
        if revoked_at is not None:
            raise NotSignedIn(f"The API token {values['token_id']} was revoked. Ask for a new one.")
        if expires_at is not None and expires_at <= now:
            raise NotSignedIn(f"The API token {values['token_id']} expired at {expires_at:%Y-%m-%d %H:%M} UTC.")
        if last_used_at is None or now - last_used_at >= USE_NOTED_EVERY:
            connection.execute(_NOTE_USE, values)
    return Identity(account_id, role, text[:_TOKEN_ID_CHARACTERS], name)


# The text of a token: `ldg_`, then 70 base-62 digits of secret (32 bytes), account (16) and checksum (CRC-32, 4). The
# secret stands first, so that the beginning tells tokens apart; the checksum tells a mistyped token without a look-up.

_PREFIX = "ldg_"
_DIGITS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_SECRET_BYTES = 32
_TOKEN_ID_CHARACTERS = len(_PREFIX) + 8
_TOKEN = re.compile(rf"{_PREFIX}[0-9A-Za-z]{{70}}")


def format_token(account_id: UUID, secret: bytes) -> str:
    """The inverse of parse_token, with the 32 secret bytes."""
    content = secret + account_id.bytes
    number = int.from_bytes(content + zlib.crc32(content).to_bytes(4))
    digits = []
    for _ in range(70):
        number, digit = divmod(number, 62)
        digits.append(_DIGITS[digit])
    return _PREFIX + "".join(reversed(digits))


def parse_token(text: str) -> UUID:
    """The account that a token names. Raises NotSignedIn for what is no token."""
    number = 0
    if _TOKEN.fullmatch(text):
        for character in text[len(_PREFIX) :]:
            number = number * 62 + _DIGITS.index(character)
        if number < 1 << 416:
            content = number.to_bytes(52)
            if zlib.crc32(content[:48]) == int.from_bytes(content[48:]):
                return UUID(bytes=content[32:48])
    raise NotSignedIn("This is no API token of the ledger, or it was not copied whole. Tokens begin with ldg_.")


def _hash(text: str) -> bytes:
    return sha256(text.encode()).digest()


def _utc_now() -> datetime:
    return datetime.now(UTC)


def _check_account_name(name: str) -> str:
    if re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", name):
        return name
    raise _bad("/name", "The account's name is not valid.", repr(name[:80]), "1 to 63 of a-z, 0-9, _ and -")


def check_role(role: str) -> Role:
    """The role of this name. Raises InputError."""
    for known in ROLES:
        if role == known:
            return known
    raise _bad("/role", "There is no such role.", repr(role[:80]), " or ".join(ROLES))


def _check_token_name(name: str) -> None:
    if not 1 <= len(name) <= TOKEN_NAME_CHARACTERS_MAX or "\0" in name:
        expected = f"1 to {TOKEN_NAME_CHARACTERS_MAX} characters that say what the token is for"
        raise _bad("/name", "The token's name is not valid.", repr(name[:80]), expected)


def _bad(pointer: str, detail: str, found: str, expected: str) -> InputError:
    problem = Problem(detail, pointer=pointer, found=found, expected=expected)
    return InputError(f"{detail} Found {found}, expected {expected}.", problems=(problem,))


_ADD_ACCOUNT = "INSERT INTO accounts (account_id, name) VALUES (%(account_id)s, %(name)s) ON CONFLICT DO NOTHING"
_FIND_ACCOUNT = "SELECT account_id, name, head FROM accounts WHERE account_id = %(account_id)s"
_INSERT = """
    INSERT INTO tokens (account_id, token_id, token_hash, name, role, created_at, expires_at)
    VALUES (%(account_id)s, %(token_id)s, %(token_hash)s, %(name)s, %(role)s, %(created_at)s, %(expires_at)s)
"""
_LIST = """
    SELECT token_id, name, role, created_at, expires_at, revoked_at, last_used_at
    FROM tokens WHERE account_id = %(account_id)s ORDER BY created_at DESC, token_id
"""
_FIND = """
    SELECT token_hash, role, name, expires_at, revoked_at, last_used_at
    FROM tokens WHERE account_id = %(account_id)s AND token_id = %(token_id)s
"""
_NOTE_USE = """
    UPDATE tokens SET last_used_at = %(now)s WHERE account_id = %(account_id)s AND token_id = %(token_id)s
"""
_REVOKE = """
    UPDATE tokens SET revoked_at = coalesce(revoked_at, %(now)s)
    WHERE account_id = %(account_id)s AND token_id = %(token_id)s
    RETURNING token_id, name, role, created_at, expires_at, revoked_at, last_used_at
"""
