"""Reports as CSV: RFC 4180, lines end with CRLF, UTF-8."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from projections.reports.cells import CellForm
from projections.reports.columns import Columns

BLOCK_BYTES = 64 * 1024
"""Bytes handed on at once: row by row, a server spends its time on bookkeeping."""
BOM = b"\xef\xbb\xbf"


def write_csv(columns: Columns, rows: Iterable[list[list[str]]], form: CellForm) -> Iterator[bytes]:
    """The report in blocks: a header line, then the rows. A form that escapes begins with a byte order mark, by which
    spreadsheets know that it is UTF-8."""
    start = encode_rows([[form.own_cell(header) for header in columns.headers]])
    yield BOM + start if form.escapes else start
    for some in rows:
        data = encode_rows(some)
        for offset in range(0, len(data), BLOCK_BYTES):
            yield data[offset : offset + BLOCK_BYTES]


def encode_rows(rows: list[list[str]]) -> bytes:
    """Rows of one width as CSV, just as the standard library writes them (a property test holds them equal).

    Most rows have nothing to quote: joined, they hold as many commas as they have gaps, and no quote or line end.
    """
    lines = []
    for row in rows:
        line = ",".join(row)
        if line.count(",") != len(row) - 1 or '"' in line or "\n" in line or "\r" in line:
            line = ",".join([_quoted(cell) for cell in row])
        lines.append(line)
    lines.append("")
    return "\r\n".join(lines).encode()


def _quoted(cell: str) -> str:
    """RFC 4180 section 2, rules 5 to 7."""
    if '"' in cell:
        return '"' + cell.replace('"', '""') + '"'
    return f'"{cell}"' if "," in cell or "\n" in cell or "\r" in cell else cell
