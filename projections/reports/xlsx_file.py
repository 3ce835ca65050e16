"""Reports as XLSX: every cell a text cell, so that nothing is taken for a number, a date or a formula.

The workbook is written to a temporary file row by row and then read back: constant memory. What XLSX cannot hold is
not cut off: rows beyond a sheet's end go on in further sheets, texts beyond a cell's end stand in a sheet of their own
in pieces, and more columns than a sheet has are refused before the first byte.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import xlsxwriter
from xlsxwriter.worksheet import Worksheet

from ledger.errors import InputError
from projections.reports.columns import Columns

SHEET_ROWS_MAX = 1_048_576
SHEET_COLUMNS_MAX = 16_384
CELL_CHARACTERS_MAX = 32_767
"""Excel's limits ("Excel specifications and limits"); it counts UTF-16 code units."""
PIECE_CHARACTERS = 16_000
"""Of a text that is too long for a cell: at most 32,000 UTF-16 code units."""
BLOCK_BYTES = 64 * 1024

_OPTIONS = {
    "constant_memory": True,
    "strings_to_numbers": False,
    "strings_to_formulas": False,
    "strings_to_urls": False,
    "use_zip64": True,
}


def check_columns(columns: Columns) -> None:
    """Raises InputError where the report has more columns than a sheet."""
    if len(columns) > SHEET_COLUMNS_MAX:
        raise InputError(
            f"The report has {len(columns):,} columns; an XLSX sheet holds {SHEET_COLUMNS_MAX:,}. "
            "Take the report as CSV or NDJSON, which have no such limit.",
            columns=len(columns),
        )


def write_xlsx(
    columns: Columns, rows: Iterable[list[list[str]]], title: str, *, sheet_rows_max: int = SHEET_ROWS_MAX
) -> Iterator[bytes]:
    """The report in blocks."""
    with tempfile.TemporaryDirectory(prefix="ledger-report-") as folder:
        path = Path(folder) / "report.xlsx"
        with xlsxwriter.Workbook(str(path), _OPTIONS | {"tmpdir": folder}) as workbook:
            workbook.set_properties({"title": title})
            sheets = _Sheets(workbook, columns.headers, sheet_rows_max)
            for some in rows:
                for row in some:
                    sheets.write(row)
        with path.open("rb") as file:
            while block := file.read(BLOCK_BYTES):
                yield block


class _Sheets:
    """The sheet that is being filled, and the one for long texts."""

    def __init__(self, workbook: xlsxwriter.Workbook, headers: list[str], rows_max: int) -> None:
        self._workbook = workbook
        self._headers = headers
        self._rows_max = rows_max
        self._count = 0
        self._long: Worksheet | None = None
        self._long_row = 0
        self._begin()

    def write(self, row: list[str]) -> None:
        if self._row == self._rows_max:
            self._begin()
        self._write(row)

    def _begin(self) -> None:
        self._count += 1
        self._sheet = self._workbook.add_worksheet("Changes" if self._count == 1 else f"Changes {self._count}")
        self._sheet.freeze_panes(1, 0)
        self._row = 0
        self._write(self._headers)

    def _write(self, row: list[str]) -> None:
        write, number = self._sheet.write_string, self._row
        for column, text in enumerate(row):
            if text:
                long = len(text) > CELL_CHARACTERS_MAX // 2 and len(text.encode("utf-16-le")) // 2 > CELL_CHARACTERS_MAX
                write(number, column, self._keep_long(text, column) if long else text)
        self._row += 1

    def _keep_long(self, text: str, column: int) -> str:
        """Writes a text too long for a cell to the sheet of long texts. Returns what stands in its place."""
        if self._long is None:
            self._long = self._workbook.add_worksheet("Long texts")
            for number, header in enumerate(("Sheet", "Row", "Column", "Piece", "Text")):
                self._long.write_string(0, number, header)
        pieces = [text[start : start + PIECE_CHARACTERS] for start in range(0, len(text), PIECE_CHARACTERS)]
        first = self._long_row + 2
        for number, piece in enumerate(pieces, 1):
            self._long_row += 1
            cells = (self._sheet.get_name(), str(self._row + 1), str(column + 1), str(number), piece)
            for at, cell in enumerate(cells):
                self._long.write_string(self._long_row, at, cell)
        return f"({len(text):,} characters: see the sheet Long texts, rows {first} to {self._long_row + 1})"
