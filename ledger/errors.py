"""The one tree of errors, ordered by what the caller can do about them.

Every error has a stable `code` (part of the public API) and a message that says what, which, found, expected and what
next. `api/errors` and `cli/errors` map the tree once to HTTP statuses and exit codes; nothing here knows of either.
Trouble with one record is never an exception but a value (a failed change, a conflict, a finding).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault in an input.

    `pointer` is an RFC 6901 JSON pointer into the document (or into the line), `line` the 1-based line of an NDJSON
    body, `parameter` the name of a query parameter, header or command-line option.
    """

    detail: str
    pointer: str | None = None
    line: int | None = None
    parameter: str | None = None
    found: str | None = None
    expected: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The members that are set, in the order of the fields."""
        return {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}


class LedgerError(Exception):
    """Something the ledger refuses or cannot do."""

    code = "error"
    title = "The request could not be carried out"

    def __init__(self, message: str | None = None, *, problems: tuple[Problem, ...] = (), **details: Any) -> None:
        super().__init__(message or (self.__doc__ or self.title).splitlines()[0])
        self.problems = problems
        self.details = details
        """Facts for programs, JSON values only: for example accepted=5000."""

    @property
    def message(self) -> str:
        return str(self.args[0])


# Fix the input.


class InputError(LedgerError):
    """The input is not what it must be."""

    code = "invalid_input"
    title = "The input is not valid"


class BadLine(InputError):
    """A line of the changes is not what it must be; the batches before it were recorded."""

    code = "invalid_change"
    title = "A change is not valid"


class SignInForged(InputError):
    """The answer belongs to no sign-in that was begun in this browser."""

    code = "sign_in_forged"
    title = "Not a sign-in that was begun here"


class TooLarge(InputError):
    """The input is larger than a named limit allows."""

    code = "too_large"
    title = "The input is too large"


# Look again: the world is not as the caller thought.


class NotFound(LedgerError):
    """There is no such thing in this account."""

    code = "not_found"
    title = "Not found"


class Conflict(LedgerError):
    """The request does not fit the present state."""

    code = "conflict"
    title = "The request conflicts with the present state"


class RunExists(Conflict):
    """A run with this Run ID is there already, with other facts."""

    code = "run_exists"
    title = "The Run ID is taken"


class RunEnded(Conflict):
    """The run has ended; it takes no more changes."""

    code = "run_ended"
    title = "The run has ended"


class OffsetTooHigh(Conflict):
    """The offset is above the number of accepted changes; changes in between would be lost."""

    code = "offset_too_high"
    title = "Changes are missing before this offset"


class StreamMoved(Conflict):
    """A stream has newer events than the append allows."""

    code = "stream_moved"
    title = "The stream has moved on"


class KeyReused(LedgerError):
    """The idempotency key was used for another request."""

    code = "idempotency_key_reused"
    title = "The idempotency key was used for another request"


class NoReport(Conflict):
    """The run has no report."""

    code = "no_report"
    title = "The run has no report"


# Ask somebody else.


class NotSignedIn(LedgerError):
    """No valid API token was given."""

    code = "not_signed_in"
    title = "An API token is needed"


class NotPermitted(LedgerError):
    """The token's role does not allow this."""

    code = "not_permitted"
    title = "Not permitted"


# Try again later.


class Unavailable(LedgerError):
    """The ledger cannot answer now; the same request can be sent again."""

    code = "unavailable"
    title = "Temporarily unavailable"


class NotCaughtUp(Unavailable):
    """The view has not reached the position that was asked for in time."""

    code = "not_caught_up"
    title = "The view has not caught up"


# Stop.


class IntegrityFailed(LedgerError):
    """Stored data is not what it must be. Nothing was changed; an operator must look."""

    code = "integrity_failed"
    title = "Stored data is damaged or of an unknown kind"
