"""Changes to rows of cells, the same for every kind of table; and what columns a report needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from projections.reports.cells import CellForm
from projections.reports.columns import ACTION, OBJECT_TYPE, RUN_ID, Columns
from projections.reports.postgres import Payloads
from projections.reports.shape import ReportShape, decode_payloads

CELLS_MAX = 6_000
"""Cells made at once. Few, so that the same memory is used again: with 200,000 a report took 1.7 times as long."""
ERASED_MESSAGE = "(The content of this change was erased.)"

_OUTCOMES = {
    "record-created": ("succeeded", "create"),
    "record-updated": ("succeeded", "update"),
    "record-deleted": ("succeeded", "delete"),
    "record-unmodified": ("succeeded", "none"),
    "record-erased": ("succeeded", "erase"),
    "record-failed": ("failed", ""),
}
"""Topic to result and action; a failed change, and one of another action, holds its action itself."""
_MESSAGE, _RECORD_ID, _LABEL, _LINK = 1, 2, 3, 4


class Names:
    """The names that columns are made of, gathered piece by piece, in the order in which they first occur."""

    def __init__(self, *, with_run_id: bool) -> None:
        self._fields: dict[str, None] = {}
        self._details: dict[str, None] = {}
        self._object_types: set[str] = set()
        self._with_run_id = with_run_id

    def take(self, shapes: Iterable[ReportShape | None]) -> None:
        fields, details, known = self._fields, self._details, self._fields.keys()
        for shape in shapes:
            if shape is None:
                continue
            self._object_types.add(shape.object_type)
            before, after = shape.before, shape.after
            if before and not before.keys() <= known:
                fields.update(dict.fromkeys(before))
            if after and not after.keys() <= known:
                fields.update(dict.fromkeys(after))
            if shape.details and not shape.details.keys() <= details.keys():
                details.update(dict.fromkeys(shape.details))

    @property
    def columns(self) -> Columns:
        return Columns(tuple(self._fields), tuple(self._details), len(self._object_types) > 1, self._with_run_id)


def find_columns(pieces: Iterable[Payloads], *, with_run_id: bool) -> Columns:
    """The columns that these changes need."""
    names = Names(with_run_id=with_run_id)
    for piece in pieces:
        names.take(decode_payloads(piece.block))
    return names.columns


def make_rows(pieces: Iterable[Payloads], columns: Columns, form: CellForm) -> Iterator[list[list[str]]]:
    """The rows of these changes, some at a time."""
    for piece in pieces:
        yield from rows_of(piece, decode_payloads(piece.block), columns, form)


def rows_of(
    piece: Payloads, shapes: list[ReportShape | None], columns: Columns, form: CellForm
) -> Iterator[list[list[str]]]:
    """The rows of one piece, whose payloads are decoded already, some at a time."""
    rows_max = max(1, CELLS_MAX // len(columns))
    make_row = _row_maker(columns, form, piece.run_id)
    assert len(shapes) == len(piece.topics)
    for start in range(0, len(shapes), rows_max):
        stop = start + rows_max
        yield list(map(make_row, shapes[start:stop], piece.topics[start:stop]))


def _row_maker(  # noqa: C901  one closure without calls: here a report of a million changes spends its time
    columns: Columns, form: CellForm, run_id: str
) -> Callable[[ReportShape | None, str], list[str]]:
    """The function from a change and its topic to its row."""
    own, marks, own_marks = columns.own, form.marks, form.own_marks
    cell, marked, own_cell = form.value_cell, form.marked_cell, form.own_cell
    at = {name: len(own) + 2 * number for number, name in enumerate(columns.fields)}
    details_start = len(own) + 2 * len(columns.fields)
    details_at = {name: details_start + number for number, name in enumerate(columns.details)}
    action_at = own.index(ACTION)
    type_at = own.index(OBJECT_TYPE) if columns.with_object_type else None
    blank = [""] * len(columns)
    if columns.with_run_id:
        blank[own.index(RUN_ID)] = own_cell(run_id)

    def make_row(shape: ReportShape | None, topic: str) -> list[str]:  # noqa: C901
        row = blank.copy()
        row[0], row[action_at] = _OUTCOMES[topic]
        if shape is None:
            row[_MESSAGE] = ERASED_MESSAGE
            return row
        if shape.erased:
            row[_MESSAGE] = own_cell(_erased_message(shape))
        if shape.action:
            row[action_at] = shape.action
        text = shape.record_id
        if text:
            row[_RECORD_ID] = text if text[0] not in own_marks else own_cell(text)
        text = shape.label
        if text:
            row[_LABEL] = text if text[0] not in own_marks else own_cell(text)
        if shape.message:
            row[_MESSAGE] = own_cell(shape.message)
        if shape.link:
            row[_LINK] = own_cell(shape.link)
        if type_at is not None:
            row[type_at] = own_cell(shape.object_type)
        before, after = shape.before, shape.after
        if before:
            for name, value in before.items():
                if value.__class__ is str:
                    row[at[name]] = value if value and value[0] not in marks else marked(value)
                else:
                    row[at[name]] = cell(value)
        if after:
            for name, value in after.items():
                if value.__class__ is str:
                    row[at[name] + 1] = value if value and value[0] not in marks else marked(value)
                else:
                    row[at[name] + 1] = cell(value)
            if before is None:
                for name in after:
                    row[at[name]] = form.unknown
        if shape.details:
            for name, value in shape.details.items():
                row[details_at[name]] = form.cell(value)
        return row

    return make_row


def _erased_message(shape: ReportShape) -> str:
    if shape.erased == "whole":
        return ERASED_MESSAGE
    return f"(Erased: {', '.join(shape.erased_fields) or 'the before-state'}.)"
