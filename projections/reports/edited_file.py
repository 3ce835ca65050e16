"""A report as it comes back from a spreadsheet program, CSV or a workbook: to headers and rows of text.

Nothing here knows what the cells mean: projections.reports.edited does.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, time
from typing import Any
from zipfile import BadZipFile, ZipFile

from python_calamine import CalamineSheet, CalamineWorkbook

from ledger.errors import InputError, Problem, TooLarge
from projections.reports.columns import RECORD_ID
from projections.reports.csv_file import BOM

EDITED_BYTES_MAX = 512 * 1024 * 1024
"""Of a CSV file, or of what a workbook unfolds to."""
_WORKBOOK_STARTS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""ZIP (XLSX, XLSB, ODS) and the compound file of XLS and of workbooks with a password."""
_SEPARATORS = (",", ";", "\t")
"""Spreadsheet programs write the one of the user's country."""
_WHOLE_MAX = 10**15
"""Up to here a spreadsheet shows a whole number with all its digits."""


@dataclass(frozen=True, slots=True)
class EditedTable:
    """The cells of an edited report. `rows`: where each stands ("line 7"), and its cells, as many as there are headers.

    `may_be_raw`, `may_be_escaped`: whether a text may stand as it is, and with the apostrophe that defuses it.
    """

    headers: list[str]
    rows: Iterator[tuple[str, list[str]]]
    may_be_raw: bool
    may_be_escaped: bool


def read_table(data: bytes) -> EditedTable:
    """The table in a CSV file or a workbook; rows are read as they are asked for. Raises InputError, TooLarge."""
    if len(data) > EDITED_BYTES_MAX:
        raise TooLarge(f"The report is too large: {len(data):,} bytes. At most {EDITED_BYTES_MAX:,} are read.")
    if data.startswith(_WORKBOOK_STARTS):
        return _read_workbook(data)
    return _read_csv(data)


def bad_report(detail: str, place: str, found: str, expected: str) -> InputError:
    """What is wrong with an edited report, and where."""
    line = int(place.removeprefix("line ")) if place.startswith("line ") else None
    problem = Problem(detail, line=line, found=found, expected=expected)
    where = place[:1].upper() + place[1:]
    return InputError(f"{detail} {where}: found {found}, expected {expected}.", problems=(problem,))


# CSV.


def _read_csv(data: bytes) -> EditedTable:
    text = _decoded(data)
    csv.field_size_limit(EDITED_BYTES_MAX)  # of the process; a cell of a report may be longer than the default 128 kB
    first = text.split("\n", 1)[0]
    separator = max(_SEPARATORS, key=lambda each: (RECORD_ID in _header_names(first, each), first.count(each)))
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=separator)
    try:
        headers = next(reader)
    except (StopIteration, csv.Error):
        raise bad_report("The report is empty.", "line 1", "nothing", "the header line of a report") from None
    is_marked = data.startswith(BOM)
    return EditedTable(headers, _csv_rows(reader, len(headers)), not is_marked, True)


def _decoded(data: bytes) -> str:
    """UTF-8, or UTF-16 with its mark, which some programs call Unicode text."""
    coding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        return data.decode(coding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        expected = "UTF-8 (save it as `CSV UTF-8`, or as XLSX)"
        raise bad_report("The report is not UTF-8.", f"line {line}", f"byte {error.start + 1}", expected) from None


def _header_names(line: str, separator: str) -> list[str]:
    return [name.strip('"') for name in line.rstrip("\r\n").split(separator)]


def _csv_rows(reader: Any, width: int) -> Iterator[tuple[str, list[str]]]:
    while True:
        line = reader.line_num + 1
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise bad_report(
                "The report is not CSV (RFC 4180).", f"line {line}", str(error), "quoted cells that end"
            ) from None
        if not any(row):
            continue
        if len(row) < width or any(row[width:]):
            raise bad_report(
                "A row has another number of cells.", f"line {line}", f"{len(row)} cells", f"{width} cells"
            )
        yield f"line {line}", row[:width]


# Workbooks.


def _read_workbook(data: bytes) -> EditedTable:
    _check_unfolded_size(data)
    try:
        workbook = CalamineWorkbook.from_filelike(io.BytesIO(data))
        sheets = [workbook.get_sheet_by_name(name) for name in workbook.sheet_names]
    except BaseException as error:  # noqa: BLE001  what is not the workbook's fault is raised again
        raise _damaged(error) from None
    tables = [(sheet, rows, headers) for sheet in sheets for rows, headers in _begun(sheet)]
    if not tables:
        names = ", ".join(sheet.name for sheet in sheets[:5]) or "no sheet"
        raise bad_report("The workbook holds no report.", "its sheets", names, f"a sheet with a column {RECORD_ID!r}")
    first, _, headers = tables[0]
    for sheet, _, others in tables[1:]:
        if others != headers:
            raise bad_report(
                f"The sheets {first.name} and {sheet.name} have different columns.",
                f"sheet {sheet.name}, row 1",
                _differing(others, headers),
                f"the columns of {first.name}: remove them from both, or from neither",
            )
    return EditedTable(headers, _sheet_rows(tables, len(headers)), True, False)


def _check_unfolded_size(data: bytes) -> None:
    """A small file may unfold to more than the memory holds."""
    if not data.startswith(b"PK"):
        return
    try:
        with ZipFile(io.BytesIO(data)) as parts:
            size = sum(part.file_size for part in parts.infolist())
    except (BadZipFile, ValueError, OSError) as error:
        raise _damaged(error) from None
    if size > EDITED_BYTES_MAX:
        raise TooLarge(f"The workbook unfolds to {size:,} bytes; at most {EDITED_BYTES_MAX:,} are read.")


def _begun(sheet: CalamineSheet) -> Iterator[tuple[Iterator[list[Any]], list[str]]]:
    """The sheet's rows after its header row, and the headers; nothing for a sheet that is no table of changes."""
    rows = iter(sheet.iter_rows())
    headers = [_text(value) for value in next(rows, [])]
    while headers and not headers[-1]:
        headers.pop()
    if RECORD_ID in headers:
        yield rows, headers


def _sheet_rows(
    tables: list[tuple[CalamineSheet, Iterator[list[Any]], list[str]]], width: int
) -> Iterator[tuple[str, list[str]]]:
    for sheet, rows, _ in tables:
        first = (sheet.start or (0, 0))[0] + 2
        for number, values in enumerate(rows, first):
            cells = [_text(value) for value in values[:width]]
            if any(cells):
                yield f"sheet {sheet.name}, row {number}", [*cells, *[""] * (width - len(cells))]


def _text(value: Any) -> str:
    """A cell as the spreadsheet shows it, or nearly: what was retyped need only be told from what was not."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < _WHOLE_MAX else repr(value)
    return value.isoformat() if isinstance(value, date | time) else str(value) if value is not None else ""


def _differing(found: list[str], expected: list[str]) -> str:
    more, fewer = [name for name in found if name not in expected], [name for name in expected if name not in found]
    shown = [f"{name!r} more" for name in more[:3]] + [f"{name!r} less" for name in fewer[:3]]
    return ", ".join(shown) or "another order"


def _damaged(error: BaseException) -> InputError:
    """calamine raises errors of its own, and for some damage one that is no Exception (its Rust code panics)."""
    if isinstance(error, KeyboardInterrupt | SystemExit | MemoryError):
        raise error
    detail = "The workbook cannot be read: it is damaged, has a password, or is no workbook."
    problem = Problem(detail, found=str(error)[:200], expected="XLSX as a spreadsheet program saves it, or CSV")
    return InputError(f"{detail} Save it again as XLSX without a password, or as CSV UTF-8.", problems=(problem,))
