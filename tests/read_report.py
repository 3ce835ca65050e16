"""Reads reports back by the rules in docs/decisions/0004 and 0005: what the property tests compare with."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field

from projections.reports.cells import parse_exact, unescape
from projections.reports.columns import parse_headers


@dataclass
class ReadRow:
    """A row of a report. A value that is None was not known; a field that is not there has no entry."""

    own: dict[str, str] = field(default_factory=dict)
    before: dict[str, bytes | None] = field(default_factory=dict)
    after: dict[str, bytes | None] = field(default_factory=dict)
    details: dict[str, bytes | None] = field(default_factory=dict)


def csv_cells(data: bytes) -> list[list[str]]:
    """Cells of a CSV file, by the standard library."""
    return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline=""), strict=True))


def read_exact(data: bytes) -> list[ReadRow]:
    """The rows of a report in the exact dialect."""
    headers, *rows = csv_cells(data)
    columns = parse_headers(headers)
    found = []
    for cells in rows:
        row = ReadRow()
        for column, cell in zip(columns, cells, strict=True):
            if column.part == "own":
                row.own[column.name] = cell
            elif cell:
                getattr(row, column.part)[column.name] = parse_exact(cell)
        found.append(row)
    return found


def read_spreadsheet(data: bytes) -> list[list[str]]:
    """The cells of a report for spreadsheets, without the apostrophes."""
    assert data.startswith(b"\xef\xbb\xbf")
    return [[unescape(cell) for cell in row] for row in csv_cells(data)]
