"""An edited report as a selection: the manual procedure that users know. Rows and columns that were removed are left
alone; values always come from the ledger, so retyped ones change nothing (and are told).
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import NamedTuple

from ledger.errors import InputError, Problem
from projections.reports.cells import unescape
from projections.reports.columns import OBJECT_TYPE, RECORD_ID, Column, parse_headers

EDITED_BYTES_MAX = 512 * 1024 * 1024


class Edited(NamedTuple):
    """What an edited report selects: (object type, record id, field); field None stands for the record as a whole.
    `rows`: how many it has left."""

    cells: frozenset[tuple[str, str, str | None]]
    rows: int


def read_edited(data: bytes, object_type: str | None) -> Edited:
    """The selection in an edited CSV report. `object_type`: of reports without a column for it.

    Raises InputError for what is no report of ours, with line numbers.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _bad("The report is not UTF-8.", 1, f"byte {error.start + 1}", "a CSV file in UTF-8") from None
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    try:
        headers = next(rows)
    except (StopIteration, csv.Error):
        raise _bad("The report is empty.", 1, "nothing", "the header line of a report") from None
    columns = parse_headers(headers)
    record_at = _place(columns, RECORD_ID)
    if record_at is None:
        raise _bad("The report has no column for the record.", 1, ", ".join(headers[:5]), f"a column {RECORD_ID!r}")
    type_at = _place(columns, OBJECT_TYPE)
    if type_at is None and object_type is None:
        raise _bad("The report names no object type.", 1, "no such column", f"a column {OBJECT_TYPE!r}")
    fields = [column.name for column in columns if column.part == "before"]
    cells: set[tuple[str, str, str | None]] = set()
    number = 0
    for line, row in _numbered(rows):
        if not any(row):
            continue
        if len(row) != len(columns):
            raise _bad("A row has another number of cells.", line, f"{len(row)} cells", f"{len(columns)} cells")
        record_id = unescape(row[record_at])
        kind = object_type if type_at is None else unescape(row[type_at])
        if record_id and kind:
            number += 1
            cells.add((kind, record_id, None))
            cells.update((kind, record_id, name) for name in fields)
    return Edited(frozenset(cells), number)


def _numbered(rows: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    line = 1
    while True:
        line += 1
        try:
            yield line, next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise _bad("The report is not CSV (RFC 4180).", line, str(error), "quoted cells that end") from None


def _place(columns: list[Column], name: str) -> int | None:
    return next((at for at, column in enumerate(columns) if column == Column("own", name)), None)


def _bad(detail: str, line: int, found: str, expected: str) -> InputError:
    problem = Problem(detail, line=line, found=found, expected=expected)
    return InputError(f"{detail} Line {line}: found {found}, expected {expected}.", problems=(problem,))
