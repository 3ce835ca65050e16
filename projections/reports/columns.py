"""The columns of a report: a header for each, and back. The rule: docs/decisions/0004-report-headers.md."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, NamedTuple

RESULT, MESSAGE, RECORD_ID, LABEL, LINK = "Result", "Message", "Record ID", "Email or Name", "Link"
ACTION, OBJECT_TYPE, RUN_ID = "Action", "Object Type", "Run ID"
OWN = (RESULT, MESSAGE, RECORD_ID, LABEL, LINK, ACTION, OBJECT_TYPE, RUN_ID)
"""Headers of columns that are the report's own. The last two are there where they differ from row to row."""
BEFORE, AFTER, DETAILS = " (Before)", " (After)", " (Details)"

Part = Literal["own", "before", "after", "details"]


class Column(NamedTuple):
    """What stands in a column: a column of ours, or a field's before- or after-value, or a detail, by name."""

    part: Part
    name: str


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns of one report, in order: our own, each field's before and after side by side, the details."""

    fields: tuple[str, ...]
    details: tuple[str, ...]
    with_object_type: bool = False
    with_run_id: bool = False

    @property
    def own(self) -> tuple[str, ...]:
        left_out = {OBJECT_TYPE} - ({OBJECT_TYPE} if self.with_object_type else set())
        left_out |= {RUN_ID} - ({RUN_ID} if self.with_run_id else set())
        return tuple(name for name in OWN if name not in left_out)

    @property
    def headers(self) -> list[str]:
        pairs = [name + part for name in self.fields for part in (BEFORE, AFTER)]
        return [*self.own, *pairs, *map(details_header, self.details)]

    def __len__(self) -> int:
        return len(self.own) + 2 * len(self.fields) + len(self.details)


def details_header(name: str) -> str:
    """The name itself, unless it could be taken for a column of another kind."""
    return name + DETAILS if not name or name in OWN or name.endswith((BEFORE, AFTER, DETAILS)) else name


def parse_header(header: str) -> Column:
    """The column that a header names: what its last words say, whatever the name before them is."""
    if header.endswith(BEFORE):
        return Column("before", header.removesuffix(BEFORE))
    if header.endswith(AFTER):
        return Column("after", header.removesuffix(AFTER))
    if header in OWN:
        return Column("own", header)
    return Column("details", header.removesuffix(DETAILS))


def parse_headers(headers: Iterable[str]) -> list[Column]:
    return [parse_header(header) for header in headers]
