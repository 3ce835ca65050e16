"""Reports as CSV: RFC 4180, lines end with CRLF, UTF-8."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from tempfile import TemporaryFile
from typing import IO

from projections.reports.cells import CellForm
from projections.reports.columns import Columns
from projections.reports.postgres import Payloads
from projections.reports.rows import Names, make_rows, rows_of
from projections.reports.shape import decode_payloads

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


def write_csv_in_one_pass(
    pieces: Callable[[], Iterator[Payloads]], form: CellForm, *, with_run_id: bool
) -> Iterator[bytes]:
    """The report in blocks, when its columns are not known yet.

    Most runs name all their fields in their first few thousand changes. So the rows are made with the columns of the
    first piece, into a temporary file, while the names of all pieces are gathered; where they turn out to be right,
    nothing is read twice. Where a later piece has more names, a second pass makes the rows. `pieces` begins anew with
    each call.
    """
    names = Names(with_run_id=with_run_id)
    columns: Columns | None = None
    file = TemporaryFile(prefix="ledger-report-")  # noqa: SIM115  closed by the block's reader, or when it turns out wrong
    for piece in pieces():
        shapes = decode_payloads(piece.block)
        names.take(shapes)
        columns = columns or names.columns
        if not file.closed and names.columns != columns:
            file.close()
        if not file.closed:
            file.writelines(map(encode_rows, rows_of(piece, shapes, columns, form)))
    if file.closed:
        return write_csv(names.columns, make_rows(pieces(), names.columns, form), form)
    return _read_back(names.columns, file, form)


def _read_back(columns: Columns, file: IO[bytes], form: CellForm) -> Iterator[bytes]:
    with file:
        yield from write_csv(columns, (), form)
        file.seek(0)
        while block := file.read(BLOCK_BYTES):
            yield block


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
