"""Reports as CSV: RFC 4180, lines end with CRLF, UTF-8."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator

from projections.reports.cells import CellForm
from projections.reports.columns import Columns

BLOCK_BYTES = 64 * 1024
"""Bytes handed on at once: row by row, a server spends its time on bookkeeping."""
BOM = b"\xef\xbb\xbf"


def write_csv(columns: Columns, rows: Iterable[list[list[str]]], form: CellForm) -> Iterator[bytes]:
    """The report in blocks: a header line, then the rows. A form that escapes begins with a byte order mark, by which
    spreadsheets know that it is UTF-8."""
    start = _encode([[form.text_cell(header) for header in columns.headers]])
    yield BOM + start if form.escapes else start
    for some in rows:
        data = _encode(some)
        for offset in range(0, len(data), BLOCK_BYTES):
            yield data[offset : offset + BLOCK_BYTES]


def _encode(rows: list[list[str]]) -> bytes:
    buffer = io.StringIO(newline="")
    csv.writer(buffer, lineterminator="\r\n").writerows(rows)
    return buffer.getvalue().encode()
