"""The way to a ledger, as the client needs it: over HTTP (ledger.sending.http), or straight into one (local)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Started:
    """The ledger's answer to a run's start."""

    run_id: str
    stamp_run_id: str
    accepted: int
    """How many of its changes the ledger has already: more than 0 where a producer was interrupted before."""


class Channel(Protocol):
    """What a client asks of a ledger. Every call may be repeated harmlessly, and implementations do, after any failure
    that may pass; they raise Unavailable once they give up, and the ledger's other errors as they come.
    """

    def start_run(self, facts: bytes) -> Started:
        """Starts the run of these facts: a JSON object with the members of `POST /v1/runs`, run_id among them."""
        ...

    def send_changes(self, run_id: str, offset: int, lines: bytes) -> int:
        """Sends NDJSON lines, the first of them change `offset` + 1. Returns how many changes are accepted then."""
        ...

    def finish_run(self, run_id: str) -> Mapping[str, Any]:
        """Ends a run; returns its facts."""
        ...

    def fail_run(self, run_id: str, code: str, message: str) -> Mapping[str, Any]:
        """Ends a run with a system error; returns its facts."""
        ...

    def close(self) -> None:
        """Lets connections go."""
        ...
