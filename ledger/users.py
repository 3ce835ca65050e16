"""The users of one account: who may sign in with OpenID Connect, and as what."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID

from ledger.access import Role, check_role
from ledger.addresses import check_address
from ledger.errors import Conflict, InputError, NotFound, Problem
from ledger.store.database import Database

NAME_CHARACTERS_MAX = 255


class User(NamedTuple):
    """A user of an account. `subject` None: nobody has signed in with the address yet."""

    email: str
    name: str
    role: Role
    created_at: datetime
    last_signed_in_at: datetime | None
    issuer: str | None
    subject: str | None

    def as_dict(self) -> dict[str, Any]:
        """JSON values; not how the issuer names them."""
        return {
            "email": self.email,
            "name": self.name,
            "role": self.role,
            "created_at": self.created_at.isoformat(),
            "last_signed_in_at": self.last_signed_in_at and self.last_signed_in_at.isoformat(),
        }


class Users:
    """The users of one account."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database = database
        self._account_id = account_id

    def add(self, email: str, role: str, name: str | None = None) -> User:
        """Raises InputError, Conflict where the address is a user already, NotFound (no such account)."""
        address = check_address(email, "/email").lower()
        shown = name or address
        if len(shown) > NAME_CHARACTERS_MAX or not shown.isprintable():
            problem = Problem("Not a name.", pointer="/name", found=repr(shown[:80]), expected="printable text")
            raise InputError("The name is not valid.", problems=(problem,))
        values = self._values(address) | {"role": check_role(role), "name": shown}
        with self._database.transaction(self._account_id) as connection:
            if not connection.execute(_ACCOUNT, values).fetchone():
                raise NotFound("There is no such account. Make it with `ledger account add NAME`.")
            row = connection.execute(_ADD, values).fetchone()
        if row is None:
            raise Conflict(f"{address} is a user of this account already. Remove it first to change its role.")
        return User._make(row)

    def list(self) -> list[User]:
        """By address."""
        with self._database.transaction(self._account_id) as connection:
            return [User._make(row) for row in connection.execute(_LIST, {"account_id": self._account_id})]

    def find(self, email: str) -> User | None:
        with self._database.transaction(self._account_id) as connection:
            row = connection.execute(_FIND, self._values(email)).fetchone()
        return None if row is None else User._make(row)

    def remove(self, email: str) -> User:
        """Ends the user's access at once. The user that was there. Raises NotFound."""
        with self._database.transaction(self._account_id) as connection:
            row = connection.execute(_REMOVE, self._values(email.lower())).fetchone()
        if row is None:
            raise NotFound(f"{email[:80]!r} is no user of this account. List them with `ledger user list`.")
        return User._make(row)

    def sign_in(self, email: str, issuer: str, subject: str) -> User | None:
        """The user, bound from now on to whom the issuer calls so. None: there is none, or it is somebody else's."""
        values = self._values(email) | {"issuer": issuer, "subject": subject}
        with self._database.transaction(self._account_id) as connection:
            row = connection.execute(_SIGN_IN, values).fetchone()
        return None if row is None else User._make(row)

    def _values(self, email: str) -> dict[str, Any]:
        return {"account_id": self._account_id, "email": email.replace("\0", "\ufffd")}


def accounts_of(database: Database, email: str) -> list[tuple[UUID, str]]:
    """Id and name of each account that has a user with this address, by name."""
    with database.connection() as connection:
        rows = connection.execute("SELECT account_id, name FROM ledger_accounts_of(%(email)s)", {"email": email})
        return [(row[0], row[1]) for row in rows]


_COLUMNS = "email, name, role, created_at, last_signed_in_at, issuer, subject"
_ACCOUNT = "SELECT 1 FROM accounts WHERE account_id = %(account_id)s"
_ADD = f"""
    INSERT INTO users (account_id, email, name, role) VALUES (%(account_id)s, %(email)s, %(name)s, %(role)s)
    ON CONFLICT DO NOTHING RETURNING {_COLUMNS}
"""  # noqa: S608 - our own constant
_LIST = f"SELECT {_COLUMNS} FROM users WHERE account_id = %(account_id)s ORDER BY email"  # noqa: S608
_FIND = f"SELECT {_COLUMNS} FROM users WHERE account_id = %(account_id)s AND email = %(email)s"  # noqa: S608
_REMOVE = f"DELETE FROM users WHERE account_id = %(account_id)s AND email = %(email)s RETURNING {_COLUMNS}"  # noqa: S608
_SIGN_IN = f"""
    UPDATE users SET issuer = %(issuer)s, subject = %(subject)s, last_signed_in_at = clock_timestamp()
    WHERE account_id = %(account_id)s AND email = %(email)s
        AND (subject IS NULL OR (issuer = %(issuer)s AND subject = %(subject)s))
    RETURNING {_COLUMNS}
"""  # noqa: S608 - our own constant
