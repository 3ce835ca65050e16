"""The counts of a run, a batch or a day."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, fields

_COUNT_OF_ACTION = {"create": "created", "update": "updated", "delete": "deleted", "none": "unmodified"}


@dataclass(frozen=True, slots=True)
class Tally:
    """succeeded = updated + created + deleted + unmodified + other; processed = succeeded + failed."""

    updated: int = 0
    created: int = 0
    deleted: int = 0
    unmodified: int = 0
    other: int = 0
    failed: int = 0

    @property
    def succeeded(self) -> int:
        return self.updated + self.created + self.deleted + self.unmodified + self.other

    @property
    def processed(self) -> int:
        return self.succeeded + self.failed

    def __add__(self, other: Tally) -> Tally:
        return Tally(*(getattr(self, name) + getattr(other, name) for name in TALLY_COUNTS))

    def as_dict(self) -> dict[str, int]:
        """All counts, the two sums included."""
        counts = {name: getattr(self, name) for name in TALLY_COUNTS}
        return counts | {"succeeded": self.succeeded, "processed": self.processed}


TALLY_COUNTS = tuple(field.name for field in fields(Tally))


def tally_of(outcomes: Mapping[tuple[str, str], int]) -> Tally:
    """Tally of (action, result) pairs and how often each occurred."""
    counts: Counter[str] = Counter()
    for (action, result), number in outcomes.items():
        counts["failed" if result == "failed" else _COUNT_OF_ACTION.get(action, "other")] += number
    return Tally(**counts)
