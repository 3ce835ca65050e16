"""Reports as files: what goes in comes out, whatever the fields are called and hold."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.json import encode
from python_calamine import CalamineWorkbook

from ledger.errors import InputError
from ledger.json_text import canonical, join_fields, plain
from ledger.store.shapes import NOTHING, RecordShape
from projections.reports.cells import EXACT, RISKY, SPREADSHEET, TEXT_CELLS, escape, unescape
from projections.reports.columns import OWN, Column, Columns, parse_header
from projections.reports.csv_file import encode_rows, write_csv, write_csv_in_one_pass
from projections.reports.postgres import Payloads
from projections.reports.rows import ERASED_MESSAGE, find_columns, make_rows
from projections.reports.shape import decode_payloads
from projections.reports.xlsx_file import SHEET_COLUMNS_MAX, check_columns, write_xlsx
from tests.read_report import ReadRow, csv_cells, read_exact, read_spreadsheet

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ["", " ", "?", "null", "true", "1", "-1", "007", "1.10", '"x"', "[]", "{", "=1+1", "+1", "-x", "@a", "\tx", "\rx",
     "'", "''", "\nx", "a\r\nb", 'a"b', "a,b", "\0", "(unknown)"]
)  # fmt: skip
NUMBERS = st.sampled_from([b"0", b"-0", b"-0.0", b"1.10", b"1e400", b"1E5", b"1" * 30, b"9" * 5000, b"-7", b"0.1"])
SCALARS = TEXTS.map(encode) | NUMBERS | st.sampled_from([b"null", b"true", b"false"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: b"[" + b",".join(items) + b"]")
        | st.dictionaries(TEXTS, inner, max_size=3).map(join_fields)
    ),
    max_leaves=5,
)
NAMES = TEXTS | st.sampled_from([*OWN, "Phone", "Job Title (After)", "x (Before)", "x (Details)", "Message (Details)"])
FIELDS = st.dictionaries(NAMES, VALUES, max_size=5)


@st.composite
def shapes(draw: st.DrawFn) -> RecordShape:
    before = draw(FIELDS | st.none() | st.just("unknown"))
    after = draw(FIELDS | st.none())
    details = draw(FIELDS | st.none())
    return RecordShape(
        "contact",
        draw(TEXTS.filter(bool)),
        None,
        NOTHING if before is None else Raw(b"null" if isinstance(before, str) else join_fields(before)),
        NOTHING if after is None else Raw(join_fields(after)),
        draw(TEXTS | st.none()),
        draw(TEXTS | st.none()),
        draw(TEXTS | st.none()),
        NOTHING if details is None else Raw(join_fields(details)),
    )


def pieces(changes: Iterable[RecordShape | None], topic: str = "record-updated") -> list[Payloads]:
    lines = [b"null" if change is None else encode(change) for change in changes]
    return [Payloads("R1", b"\n".join(lines), [topic] * len(lines))] if lines else []


def csv_of(changes: list[RecordShape], form: Any) -> bytes:
    columns = find_columns(pieces(changes), with_run_id=False)
    return b"".join(write_csv(columns, make_rows(pieces(changes), columns, form), form))


def fields_of(raw: Raw) -> dict[str, bytes]:
    if bytes(raw) in (b"", b"null"):
        return {}
    return {name: canonical(encode(value)) for name, value in _loads(bytes(raw)).items()}


def _loads(text: bytes) -> dict[str, Any]:
    """The standard library's reading of an object, numbers as they were written."""
    number = Raw
    found = json.loads(text, parse_int=lambda t: number(t.encode()), parse_float=lambda t: number(t.encode()))
    assert isinstance(found, dict)
    return found


def expected_row(shape: RecordShape) -> ReadRow:
    row = ReadRow(after=dict(fields_of(shape.after)), details=dict(fields_of(shape.details)))
    row.before = dict(fields_of(shape.before)) if bytes(shape.before) != b"null" else dict.fromkeys(row.after)
    row.own = {
        "Result": "succeeded", "Message": shape.message or "", "Record ID": shape.record_id or "",
        "Email or Name": shape.label or "", "Link": shape.link or "", "Action": "update",
    }  # fmt: skip
    return row


@settings(max_examples=300, deadline=None)
@given(st.lists(shapes(), min_size=1, max_size=6))
def test_exact_report_read_back_gives_the_same_fields_and_values(changes: list[RecordShape]) -> None:
    assert read_exact(csv_of(changes, EXACT)) == [expected_row(change) for change in changes]


@settings(max_examples=200, deadline=None)
@given(st.lists(shapes(), min_size=1, max_size=6))
def test_spreadsheet_report_without_apostrophes_holds_the_texts_that_people_read(changes: list[RecordShape]) -> None:
    data = csv_of(changes, SPREADSHEET)
    headers, *rows = read_spreadsheet(data)
    for cells, change in zip(rows, changes, strict=True):
        for header, cell in zip(headers, cells, strict=True):
            part, name = parse_header(header)
            if part == "after":
                value = fields_of(change.after).get(name)
                assert cell == ("" if value is None else plain(value))


@settings(max_examples=200, deadline=None)
@given(st.lists(shapes(), min_size=1, max_size=4))
def test_no_cell_of_a_spreadsheet_report_begins_like_a_formula(changes: list[RecordShape]) -> None:
    for row in csv_cells(csv_of(changes, SPREADSHEET)):
        assert all(cell[0] not in RISKY or cell[0] == "'" for cell in row if cell)


@given(TEXTS)
def test_apostrophes_are_taken_away_again(text: str) -> None:
    assert unescape(escape(text)) == text


@given(st.lists(NAMES, unique=True, max_size=6), st.lists(NAMES, unique=True, max_size=6))
def test_headers_are_unambiguous(fields: list[str], details: list[str]) -> None:
    columns = Columns(tuple(fields), tuple(details), with_object_type=True, with_run_id=True)
    pairs = [Column(part, name) for name in fields for part in ("before", "after")]
    expected = [Column("own", name) for name in OWN] + pairs + [Column("details", name) for name in details]
    assert [parse_header(header) for header in columns.headers] == expected
    assert len(set(columns.headers)) == len(columns)


@settings(max_examples=200, deadline=None)
@given(st.lists(shapes(), min_size=1, max_size=4))
def test_fast_and_careful_reading_give_the_same_cells(changes: list[RecordShape]) -> None:
    block = pieces(changes)[0].block
    careful = block + b'\n{"object_type":"x","after":{"n":-0}}'  # -0 sends the whole block the careful way
    columns = find_columns(pieces(changes), with_run_id=False)
    fast_rows = next(iter(make_rows(pieces(changes), columns, EXACT)))
    slow = decode_payloads(careful)[:-1]
    assert [shape and shape.record_id for shape in slow] == [change.record_id for change in changes]
    slow_columns = find_columns([Payloads("R1", careful, [])], with_run_id=False)
    assert slow_columns.fields[: len(columns.fields)] == columns.fields
    slow_rows = list(make_rows([Payloads("R1", careful, ["record-updated"] * (len(changes) + 1))], slow_columns, EXACT))
    again = [row for some in slow_rows for row in some][:-1]
    headers = slow_columns.headers
    for fast, careful_row in zip(fast_rows, again, strict=True):
        by_header = dict(zip(headers, careful_row, strict=True))
        assert {header: by_header[header] for header in columns.headers} == dict(
            zip(columns.headers, fast, strict=True)
        )


@settings(max_examples=300, deadline=None)
@given(st.integers(2, 5).flatmap(lambda width: st.lists(st.lists(TEXTS, min_size=width, max_size=width), max_size=4)))
def test_csv_is_the_standard_librarys(rows: list[list[str]]) -> None:
    expected = io.StringIO(newline="")
    csv.writer(expected, lineterminator="\r\n").writerows(rows)
    assert encode_rows(rows) == expected.getvalue().encode()


@settings(max_examples=100, deadline=None)
@given(st.lists(shapes(), min_size=1, max_size=8), st.integers(1, 4))
def test_one_pass_gives_the_report_that_two_give(changes: list[RecordShape], size: int) -> None:
    some = [pieces(changes[start : start + size])[0] for start in range(0, len(changes), size)]
    columns = find_columns(some, with_run_id=False)
    expected = b"".join(write_csv(columns, make_rows(some, columns, EXACT), EXACT))
    assert b"".join(write_csv_in_one_pass(lambda: iter(some), EXACT, with_run_id=False)) == expected


def test_erased_change_has_a_row_that_says_so() -> None:
    change = RecordShape("contact", "r-1", after=Raw(b'{"a":"1"}'))
    columns = find_columns(pieces([change, None]), with_run_id=False)
    rows = [row for some in make_rows(pieces([change, None]), columns, EXACT) for row in some]
    assert rows[1][:3] == ["succeeded", ERASED_MESSAGE, ""]


def test_lines_end_with_crlf_and_cells_with_special_characters_are_quoted() -> None:
    change = RecordShape("contact", "r,1", message='say "hi"\r\nthere', after=Raw(b'{"a":"1"}'))
    data = csv_of([change], SPREADSHEET)
    assert (
        data
        == (
            "\ufeffResult,Message,Record ID,Email or Name,Link,Action,a (Before),a (After)\r\n"
            'succeeded,"say ""hi""\r\nthere","r,1",,,update,,1\r\n'
        ).encode()
    )


def xlsx_sheets(columns: Columns, rows: list[list[list[str]]], **options: Any) -> dict[str, list[list[Any]]]:
    book = CalamineWorkbook.from_filelike(io.BytesIO(b"".join(write_xlsx(columns, rows, "Run R1", **options))))
    return {name: book.get_sheet_by_name(name).to_python(skip_empty_area=False) for name in book.sheet_names}


@settings(max_examples=60, deadline=None)
@given(st.lists(shapes(), min_size=1, max_size=4))
def test_workbook_holds_every_cell_as_text(changes: list[RecordShape]) -> None:
    columns = find_columns(pieces(changes), with_run_id=False)
    rows = list(make_rows(pieces(changes), columns, TEXT_CELLS))
    sheet = xlsx_sheets(columns, rows)["Changes"]
    expected = [columns.headers, *(row for some in rows for row in some)]
    padded = [list(row) + [""] * (len(columns) - len(row)) for row in sheet]
    assert padded == expected


def test_text_longer_than_a_cell_stands_whole_in_its_own_sheet() -> None:
    long = "x😀" * 30_000
    columns = Columns(("bio",), ())
    row = ["succeeded", "", "r-1", "", "", "create", "", long]
    sheets = xlsx_sheets(columns, [[row]])
    pieces_found = sheets["Long texts"][1:]
    assert "".join(piece[4] for piece in pieces_found) == long
    assert {tuple(piece[:3]) for piece in pieces_found} == {("Changes", "2", "8")}
    assert sheets["Changes"][1][7] == "(60,000 characters: see the sheet Long texts, rows 2 to 5)"


def test_rows_beyond_the_end_of_a_sheet_go_on_in_the_next() -> None:
    columns = Columns((), ())
    rows = [["succeeded", "", f"r-{number}", "", "", "none"] for number in range(5)]
    sheets = xlsx_sheets(columns, [rows], sheet_rows_max=3)
    assert {name: [row[2] for row in sheet] for name, sheet in sheets.items()} == {
        "Changes": ["Record ID", "r-0", "r-1"],
        "Changes 2": ["Record ID", "r-2", "r-3"],
        "Changes 3": ["Record ID", "r-4"],
    }


def test_more_columns_than_a_sheet_has_are_refused() -> None:
    with pytest.raises(InputError, match="20,006 columns"):
        check_columns(Columns(tuple(str(number) for number in range(10_000)), ()))
    assert SHEET_COLUMNS_MAX == 16_384
