"""What readers of the daily activity get. No SQL here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

from ledger.domain.tally import Tally


@dataclass(frozen=True, slots=True)
class ActivityDay:
    """The runs that started on one day (UTC) by one user from one template, and what they did.

    A run counts on the day it started, however long it took; recipes count through their children only.
    """

    day: date
    user: str | None
    template: str | None
    runs: int
    failed_runs: int
    """Those of them that a system error ended."""
    tally: Tally

    def as_dict(self) -> dict[str, Any]:
        return {
            "day": self.day.isoformat(),
            "user": self.user,
            "template": self.template,
            "runs": self.runs,
            "failed_runs": self.failed_runs,
            "tally": self.tally.as_dict(),
        }
