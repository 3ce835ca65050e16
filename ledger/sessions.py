"""Sessions of persons who signed in, sign-ins under way, and how often a sign-in may fail.

A person may have several accounts, so none of this belongs to one: it stands under REALM, an account_id that no account
has. What a session may do is looked up in the account that was chosen, on each request: removing a user ends their
access at once. Cookies hold random bytes, the tables their SHA-256.
"""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import NamedTuple
from uuid import UUID

from ledger.access import PERMISSIONS, Identity
from ledger.errors import NotFound, NotPermitted, NotSignedIn, Unavailable
from ledger.ids import account_id_of
from ledger.jobs.buckets import Bucket, seconds_to_wait, take_token
from ledger.store.database import Database
from ledger.users import Users, accounts_of

REALM = account_id_of("(sign-in)")
"""No account can have this name."""
SESSION_HOURS = 12
FLOW_MINUTES = 10
FAILURES_MAX, FAILURES_PER_S = 10, 1 / 60
"""Failed sign-ins of one address before it must wait, and how soon it may fail again."""
FLOWS_MAX, FLOWS_PER_S = 30, 1 / 10
"""Sign-ins that one address may begin."""
SECRET_BYTES = 32


class Person(NamedTuple):
    """Somebody, as the provider vouches for them. `email` in lower case, verified."""

    issuer: str
    subject: str
    email: str
    name: str


class Flow(NamedTuple):
    """A sign-in that was sent to the provider: what its answer is checked with, and where it leads."""

    nonce: str
    code_verifier: str
    target: str


class NewFlow(NamedTuple):
    """A sign-in to be sent: `state` goes to the provider, `browser` into a cookie; who answers must have both."""

    state: str
    browser: str
    flow: Flow


class OtherAccount(NamedTuple):
    """An account that a person may change to."""

    name: str
    role: str
    is_chosen: bool


class Sessions:
    """All sessions of the service."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # Signing in.

    def begin_flow(self, target: str, address: str) -> NewFlow:
        """A sign-in is sent to the provider. `address`: the client's. Raises Unavailable after too many."""
        new = NewFlow(_secret(), _secret(), Flow(_secret(), secrets.token_urlsafe(48), target))
        values = new.flow._asdict() | {
            "realm": REALM, "state": _hash(new.state), "browser": _hash(new.browser), "minutes": FLOW_MINUTES
        }  # fmt: skip
        with self._database.transaction(REALM) as connection:
            _refuse_too_many(take_token(connection, REALM, Bucket(f"flow/{address}", FLOWS_MAX, FLOWS_PER_S)))
            for sweep in (_SWEEP_FLOWS, _SWEEP_SESSIONS, _SWEEP_BUCKETS):
                connection.execute(sweep, {"realm": REALM})
            connection.execute(_BEGIN_FLOW, values)
        return new

    def take_flow(self, state: str, browser: str) -> Flow | None:
        """The sign-in that this answers, once. None: none was sent from this browser, or it is too old."""
        values = {"realm": REALM, "state": _hash(state), "browser": _hash(browser)}
        with self._database.transaction(REALM) as connection:
            row = connection.execute(_TAKE_FLOW, values).fetchone()
        return None if row is None else Flow._make(row)

    def begin(self, person: Person) -> str:
        """A new session's secret, in the first of the person's accounts. Raises NotPermitted where there is none."""
        for account_id, _ in accounts_of(self._database, person.email):
            user = Users(self._database, account_id).sign_in(person.email, person.issuer, person.subject)
            if user is not None and "read" in PERMISSIONS[user.role]:
                return self._add(person, account_id)
        raise NotPermitted(
            f"{person.email} is signed in there, but is no user here that may read. "
            "Ask an administrator: `ledger user add EMAIL --role ROLE`."
        )

    def _add(self, person: Person, account_id: UUID) -> str:
        secret = _secret()
        values = person._asdict() | {
            "realm": REALM, "hash": _hash(secret), "chosen": account_id, "hours": SESSION_HOURS
        }  # fmt: skip
        with self._database.transaction(REALM) as connection:
            connection.execute(_BEGIN, values)
        return secret

    # Being signed in.

    def identify(self, secret: str) -> Identity:
        """Who has this session, with the role of this moment. Raises NotSignedIn."""
        person, chosen = self._find(secret)
        user = Users(self._database, chosen).find(person.email)
        if user is None or (user.issuer, user.subject) != (person.issuer, person.subject):
            raise NotSignedIn("You are no user of this account any more. Sign in again.")
        return Identity(chosen, user.role, "", user.name if user.name != user.email else person.name, person.email)

    def accounts(self, secret: str) -> list[OtherAccount]:
        """The person's accounts that they may read, by name. Raises NotSignedIn."""
        person, chosen = self._find(secret)
        return [
            OtherAccount(name, user.role, account_id == chosen)
            for account_id, name in accounts_of(self._database, person.email)
            if (user := Users(self._database, account_id).find(person.email)) is not None
            and user.subject in (None, person.subject)
            and "read" in PERMISSIONS[user.role]
        ]

    def choose(self, secret: str, account: str) -> None:
        """Changes to another of the person's accounts. Raises NotFound, NotSignedIn."""
        person, _ = self._find(secret)
        account_id = next((one for one, name in accounts_of(self._database, person.email) if name == account), None)
        user = account_id and Users(self._database, account_id).sign_in(person.email, person.issuer, person.subject)
        if not user or "read" not in PERMISSIONS[user.role]:
            raise NotFound(f"You have no account {account[:80]!r}.")
        with self._database.transaction(REALM) as connection:
            connection.execute(_CHOOSE, {"realm": REALM, "hash": _hash(secret), "chosen": account_id})

    def end(self, secret: str) -> None:
        """Signs out; again is harmless."""
        with self._database.transaction(REALM) as connection:
            connection.execute(_END, {"realm": REALM, "hash": _hash(secret)})

    def end_all(self, secret: str) -> None:
        """Signs the person out everywhere. Raises NotSignedIn."""
        person, _ = self._find(secret)
        with self._database.transaction(REALM) as connection:
            connection.execute(_END_ALL, person._asdict() | {"realm": REALM})

    def _find(self, secret: str) -> tuple[Person, UUID]:
        with self._database.transaction(REALM) as connection:
            row = connection.execute(_FIND, {"realm": REALM, "hash": _hash(secret)}).fetchone()
        if row is None:
            raise NotSignedIn("The session has ended. Sign in again.")
        return Person(*row[:4]), row[4]

    # Failing.

    def check_failures(self, address: str) -> None:
        """Raises Unavailable for an address that failed to sign in too often just now."""
        with self._database.transaction(REALM) as connection:
            _refuse_too_many(seconds_to_wait(connection, REALM, _failures_of(address)))

    def add_failure(self, address: str) -> None:
        with self._database.transaction(REALM) as connection:
            take_token(connection, REALM, _failures_of(address))


def _failures_of(address: str) -> Bucket:
    return Bucket(f"failure/{address}", FAILURES_MAX, FAILURES_PER_S)


def _refuse_too_many(wait_s: float) -> None:
    if wait_s:
        shown = int(wait_s) + 1
        raise Unavailable(f"Too many sign-ins from this address. Try again in {shown} s.", retry_after_s=shown)


def _secret() -> str:
    return secrets.token_urlsafe(SECRET_BYTES)


def _hash(secret: str) -> bytes:
    return sha256(secret.encode(errors="replace")).digest()


_SWEEP_FLOWS = "DELETE FROM sign_in_flows WHERE account_id = %(realm)s AND expires_at < clock_timestamp()"
_SWEEP_SESSIONS = "DELETE FROM sessions WHERE account_id = %(realm)s AND expires_at < clock_timestamp()"
_SWEEP_BUCKETS = """
    DELETE FROM token_buckets WHERE account_id = %(realm)s AND filled_at < clock_timestamp() - interval '1 day'
"""
_BEGIN_FLOW = """
    INSERT INTO sign_in_flows (account_id, state_hash, browser_hash, nonce, code_verifier, target, expires_at)
    VALUES (%(realm)s, %(state)s, %(browser)s, %(nonce)s, %(code_verifier)s, %(target)s,
        clock_timestamp() + make_interval(mins => %(minutes)s))
"""
_TAKE_FLOW = """
    DELETE FROM sign_in_flows WHERE account_id = %(realm)s AND state_hash = %(state)s AND browser_hash = %(browser)s
        AND expires_at > clock_timestamp()
    RETURNING nonce, code_verifier, target
"""
_BEGIN = """
    INSERT INTO sessions (account_id, session_hash, email, name, issuer, subject, chosen_account, expires_at)
    VALUES (%(realm)s, %(hash)s, %(email)s, %(name)s, %(issuer)s, %(subject)s, %(chosen)s,
        clock_timestamp() + make_interval(hours => %(hours)s))
"""
_FIND = """
    SELECT issuer, subject, email, name, chosen_account FROM sessions
    WHERE account_id = %(realm)s AND session_hash = %(hash)s AND expires_at > clock_timestamp()
"""
_CHOOSE = "UPDATE sessions SET chosen_account = %(chosen)s WHERE account_id = %(realm)s AND session_hash = %(hash)s"
_END = "DELETE FROM sessions WHERE account_id = %(realm)s AND session_hash = %(hash)s"
_END_ALL = "DELETE FROM sessions WHERE account_id = %(realm)s AND issuer = %(issuer)s AND subject = %(subject)s"
