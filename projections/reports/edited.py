"""An edited report as a selection: the manual procedure that users know. Rows and columns that were removed are left
alone; values always come from the ledger. A cell that differs from the ledger changes nothing, and is told.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, NamedTuple

from ledger.errors import InputError, Problem
from ledger.undo.request import Selection
from projections.reports.cells import EXACT, SPREADSHEET, TEXT_CELLS, UNKNOWN_EXACT, UNKNOWN_SHOWN, escape, unescape
from projections.reports.columns import OBJECT_TYPE, RECORD_ID, RUN_ID, Column, parse_header
from projections.reports.edited_file import EditedTable, bad_report, read_table
from projections.reports.postgres import Payloads
from projections.reports.shape import ReportShape, decode_payloads

LISTED_MAX = 100
"""Differing cells, and rows that the run does not know, that are listed; the counts are whole."""
SHOWN_CHARACTERS_MAX = 200

_LONG = re.compile(r"\(([0-9,]+) characters: see the sheet Long texts, rows [0-9]+ to [0-9]+\)")
Key = tuple[str | None, str | None, str]
"""Run ID and object type, where the report has columns for them, and record id."""


class DifferingCell(NamedTuple):
    """A cell that says something else than the ledger. The ledger's value is what an undo takes."""

    place: str
    object_type: str
    record_id: str
    column: str
    found: str
    expected: str

    def as_dict(self) -> dict[str, Any]:
        return self._asdict()


class UnknownRow(NamedTuple):
    """A row that names no record that the run changed: an id that was retyped, or a row of another report."""

    place: str
    object_type: str | None
    record_id: str

    def as_dict(self) -> dict[str, Any]:
        return self._asdict()


@dataclass(frozen=True, slots=True)
class EditedReport:
    """What an edited report selects, and where it differs from the ledger."""

    run_id: str
    selection: Selection
    rows: int
    """Rows left that name a record of the run."""
    differing: list[DifferingCell] = field(default_factory=list)
    differing_count: int = 0
    unknown: list[UnknownRow] = field(default_factory=list)
    unknown_count: int = 0
    unknown_columns: tuple[str, ...] = ()
    """Before and After columns of fields that the run does not know."""

    @property
    def is_as_the_ledger_says(self) -> bool:
        return not (self.differing_count or self.unknown_count or self.unknown_columns)

    def as_dict(self) -> dict[str, Any]:
        """JSON values, the same for HTTP and the command line."""
        return {
            "rows": self.rows,
            "columns": sorted(self.selection.columns or ()),
            "differing_cells": [cell.as_dict() for cell in self.differing],
            "unknown_rows": [row.as_dict() for row in self.unknown],
            "unknown_columns": list(self.unknown_columns),
            "counts": {"differing_cells": self.differing_count, "unknown_rows": self.unknown_count},
        }


def read_edited(data: bytes, run_id: str, pieces: Iterable[Payloads]) -> EditedReport:
    """The selection in an edited report of a run (of a recipe's: `pieces` are the changes of all its children).

    Raises InputError for what is no report, or none of this run, with the place; TooLarge.
    """
    reading = _Reading(read_table(data))
    for piece in pieces:
        for shape, topic in zip(decode_payloads(piece.block), piece.topics, strict=True):
            if shape is not None:
                reading.compare(piece.run_id, shape, has_failed=topic == "record-failed")
    return reading.result(run_id)


@dataclass(slots=True)
class _Row:
    place: str
    key: Key
    cells: tuple[str, ...]
    """Of the Before and After columns."""
    record: tuple[str, str] | None = None
    """What it was found to name."""
    also: tuple[str, str] | None = None
    """Another record that it may name as well."""
    differing: list[tuple[int, str]] | None = None
    """Column and the ledger's text, where it differs from the change most like it."""


class _Reading:
    """The rows of the file, met by the changes of the ledger one by one."""

    def __init__(self, table: EditedTable) -> None:
        self._table = table
        columns = [self._column(header) for header in table.headers]
        record_at = _place(columns, RECORD_ID)
        if record_at is None:
            found = ", ".join(table.headers[:5]) or "nothing"
            raise bad_report("The report has no column for the record.", "line 1", found, f"a column {RECORD_ID!r}")
        self._type_at, self._run_at = _place(columns, OBJECT_TYPE), _place(columns, RUN_ID)
        self._values_at = [at for at, column in enumerate(columns) if column.part in ("before", "after")]
        self._columns = [columns[at] for at in self._values_at]
        self._rows: dict[Key, list[_Row]] = {}
        self._in_order: list[_Row] = []
        self._known_fields: set[str] = set()
        self._types: set[str] = set()
        self._runs: set[str] = set()
        self._unmet: set[tuple[str, str, str]] = set()
        for place, cells in table.rows:
            self._add(place, cells, record_at)

    def _column(self, header: str) -> Column:
        return parse_header(header if self._table.may_be_raw else unescape(header))

    def _add(self, place: str, cells: list[str], record_at: int) -> None:
        if not cells[record_at]:
            return  # a failed change without a record, or an erased one: nothing to undo
        key = (
            None if self._run_at is None else cells[self._run_at],
            None if self._type_at is None else cells[self._type_at],
            cells[record_at],
        )
        row = _Row(place, key, tuple([cells[at] for at in self._values_at]))
        self._rows.setdefault(key, []).append(row)
        self._in_order.append(row)

    def compare(self, run_id: str, shape: ReportShape, *, has_failed: bool) -> None:
        """Looks at the rows of one change."""
        for values in (shape.before, shape.after):
            if values:
                self._known_fields.update(values)
        if not shape.record_id:
            return
        self._types.add(shape.object_type)
        self._runs.add(run_id)
        record = shape.object_type, shape.record_id
        rows = [row for key in self._keys(run_id, *record) for row in self._rows.get(key, ())]
        for row in rows:
            row.also = row.also or (record if row.record not in (None, record) else None)
            row.record = row.record or record
            if row.differing is None or row.differing:
                self._compare(row, shape)
        if not rows and not has_failed and self._run_at is not None:
            self._unmet.add((run_id, *record))

    def _keys(self, run_id: str, object_type: str, record_id: str) -> Iterator[Key]:
        names = (run_id, object_type, record_id)
        forms = [names] if self._table.may_be_raw else []
        if self._table.may_be_escaped and (escaped := tuple(map(escape, names))) not in forms:
            forms.append(escaped)  # type: ignore[arg-type]  # three of them
        for run, kind, record in forms:
            yield None if self._run_at is None else run, None if self._type_at is None else kind, record

    def _compare(self, row: _Row, shape: ReportShape) -> None:
        found = [
            (at, expected)
            for at, (column, cell) in enumerate(zip(self._columns, row.cells, strict=True))
            if (expected := _expected(cell, column, shape)) is not None
        ]
        if row.differing is None or len(found) < len(row.differing):
            row.differing = found

    def result(self, run_id: str) -> EditedReport:
        """What all of the run's changes made of it."""
        known = [row for row in self._in_order if row.record is not None]
        if not known:
            self._refuse(run_id)
        if self._type_at is None and len(self._types) > 1:
            self._refuse_without(OBJECT_TYPE, "object types", self._types)
        if self._run_at is None and len(self._runs) > 1:
            self._refuse_without(RUN_ID, "runs", self._runs)
        for row in known:
            if row.also is not None:
                _refuse_ambiguous(row)
        records = frozenset(row.record for row in known if row.record is not None)
        names = {name for column in self._columns if column.part == "before" for name in _names(column)}
        differing = (self._cell(row, *each) for row in known for each in (row.differing or ()))
        unknown = [UnknownRow(row.place, row.key[1], row.key[2]) for row in self._in_order if row.record is None]
        foreign = [column for column in self._columns if not self._known_fields.intersection(_names(column))]
        return EditedReport(
            run_id,
            Selection(
                records=records,
                columns=frozenset(names & self._known_fields),
                except_changes=frozenset(each for each in self._unmet if each[1:] in records),
            ),
            len(known),
            list(islice(differing, LISTED_MAX)),
            sum(len(row.differing or ()) for row in known),
            unknown[:LISTED_MAX],
            len(unknown),
            tuple(dict.fromkeys(f"{column.name} ({column.part.title()})" for column in foreign))[:LISTED_MAX],
        )

    def _cell(self, row: _Row, at: int, expected: str) -> DifferingCell:
        assert row.record is not None
        header = self._table.headers[self._values_at[at]]
        return DifferingCell(row.place, *row.record, header, _cut(row.cells[at]), _cut(expected))

    def _refuse(self, run_id: str) -> None:
        if not self._in_order:
            raise bad_report(
                "The report has no rows left, so it selects nothing.", "after its header", "no row with a record",
                "the rows of the records to undo",
            )  # fmt: skip
        first = self._in_order[0]
        raise bad_report(
            f"The report is not one of run {run_id}: none of its rows names a record that the run changed.",
            first.place, repr(_cut(first.key[2])), f"a record of run {run_id}. Give the report of the run to undo",
        )  # fmt: skip

    def _refuse_without(self, column: str, what: str, found: set[str]) -> None:
        shown = ", ".join(sorted(found)[:3]) + (" …" if len(found) > 3 else "")
        detail = f"The report's column {column!r} was removed, but its rows are of several {what}."
        raise bad_report(detail, "line 1", f"no such column, and {shown}", f"the column {column!r}")


def _expected(cell: str, column: Column, shape: ReportShape) -> str | None:
    """What the ledger says where the cell says something else; None where it says the same, in any dialect."""
    values = shape.before if column.part == "before" else shape.after
    names = _names(column)
    if values:
        for name in names:
            if name in values:
                value = values[name]
                return None if value == cell and value.__class__ is str else _expected_of(cell, value)
    if column.part == "before" and shape.before is None and shape.after and not names.isdisjoint(shape.after):
        return None if cell in (UNKNOWN_SHOWN, UNKNOWN_EXACT) else UNKNOWN_SHOWN
    return "" if cell else None


def _expected_of(cell: str, value: Any) -> str | None:
    shown = TEXT_CELLS.cell(value)
    if cell in (shown, SPREADSHEET.cell(value), EXACT.cell(value)):
        return None
    if "\r" in shown and cell.replace("\r\n", "\n") == shown.replace("\r\n", "\n"):
        return None  # spreadsheets have one kind of line end
    long = _LONG.fullmatch(cell)
    return None if long and int(long[1].replace(",", "")) == len(shown) else shown


def _names(column: Column) -> set[str]:
    """The field that a column may stand for: a header too may have the apostrophe that defuses it."""
    return {column.name, unescape(column.name)}


def _place(columns: list[Column], name: str) -> int | None:
    return next((at for at, column in enumerate(columns) if column == Column("own", name)), None)


def _cut(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS_MAX else text[: SHOWN_CHARACTERS_MAX - 1] + "…"


def _refuse_ambiguous(row: _Row) -> None:
    """Only a CSV file that lost its mark, of a run with both records, comes to this."""
    assert row.record is not None
    assert row.also is not None
    detail = f"The row may name two records of the run, {'/'.join(row.record)} and {'/'.join(row.also)}."
    problem = Problem(detail, found=repr(row.key[2]), expected="one record; take the report as XLSX")
    raise InputError(f"{row.place[:1].upper() + row.place[1:]}: {detail} Edit the XLSX report.", problems=(problem,))
