"""A run as notifications tell of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import quote
from uuid import UUID

from ledger.domain.operation import Operation, Saved
from ledger.domain.run import Status, SystemFault
from ledger.domain.tally import Tally


@dataclass(frozen=True, slots=True, kw_only=True)
class ToldRun:
    """A run that ended. `document`: the same as the API's JSON gives it."""

    run_id: str
    operation: Operation
    status: Status
    tally: Tally
    started_at: datetime
    finished_at: datetime
    error: SystemFault | None = None
    has_report: bool = False
    document: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """The template or recipe, else what the run was about, in one line."""
        what = self.operation
        saved = what.template or what.recipe
        return one_line((saved and (saved.name or saved.id)) or what.module or what.object_type or "")

    @property
    def ended(self) -> str:
        return "failed" if self.status == "failed" else "finished"

    def address(self, base_url: str | None) -> str | None:
        """Where its page is, if the service was told its own address."""
        return base_url and f"{base_url}/runs/{quote(self.run_id, safe='')}"


class OpenReport(Protocol):
    """A run's report: a file's name, and its bytes block by block. Close the blocks when you stop early."""

    @property
    def file_name(self) -> str: ...

    @property
    def blocks(self) -> Iterator[bytes]: ...


class RunSource(Protocol):
    """Where runs and their reports come from."""

    def run(self, account_id: UUID, run_id: str, position: int) -> ToldRun:
        """The run as of its end at this position. Raises Unavailable when that cannot be read yet."""

    def report(self, account_id: UUID, run_id: str) -> OpenReport:
        """Its report as CSV."""

    def checkpoint(self, account_id: UUID) -> str | None:
        """The newest signed checkpoint of the account's log; None: it has none."""


def one_line(text: str, characters_max: int = 200) -> str:
    """Text without line ends and other characters that do not print, cut: fit for a header.

    Encoded words (RFC 2047) are broken up: the e-mail library would decode them, and what they hold may end a line.
    """
    shown = "".join(character if character.isprintable() else " " for character in text[:characters_max])
    return " ".join(shown.replace("=?", "= ?").split())


def a_test_run() -> ToldRun:
    """What `ledger notify test` tells of."""
    now = datetime.now(UTC).replace(microsecond=0)
    operation = Operation(template=Saved(name="Test of a notification rule"))
    return ToldRun(
        run_id="TEST", operation=operation, status="finished", tally=Tally(), started_at=now, finished_at=now,
        document={"run_id": "TEST", "status": "finished", "tally": Tally().as_dict()},
    )  # fmt: skip
