"""Changes to rows of cells, the same for every kind of table; and what columns a report needs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from msgspec import UNSET

from projections.reports.cells import CellForm
from projections.reports.columns import ACTION, OBJECT_TYPE, RESULT, RUN_ID, Columns
from projections.reports.postgres import Payloads
from projections.reports.shape import ReportShape, decode_payloads

CELLS_MAX = 200_000
"""Cells held at once: rows of thousands of columns are made a few at a time."""
ERASED_MESSAGE = "(The content of this change was erased.)"

_ACTIONS = {
    "record-created": "create",
    "record-updated": "update",
    "record-deleted": "delete",
    "record-unmodified": "none",
}
_MESSAGE, _RECORD_ID, _LABEL, _LINK = 1, 2, 3, 4


def find_columns(pieces: Iterable[Payloads], *, with_run_id: bool) -> Columns:
    """The columns that these changes need; fields and details in the order in which they first occur."""
    fields: dict[str, None] = {}
    details: dict[str, None] = {}
    object_types: set[str] = set()
    known = fields.keys()
    for piece in pieces:
        for shape in decode_payloads(piece.block):
            if shape is None:
                continue
            object_types.add(shape.object_type)
            before, after = shape.before, shape.after
            if before and not before.keys() <= known:
                fields.update(dict.fromkeys(before))
            if after and not after.keys() <= known:
                fields.update(dict.fromkeys(after))
            if shape.details and not shape.details.keys() <= details.keys():
                details.update(dict.fromkeys(shape.details))
    return Columns(tuple(fields), tuple(details), len(object_types) > 1, with_run_id)


def make_rows(pieces: Iterable[Payloads], columns: Columns, form: CellForm) -> Iterator[list[list[str]]]:
    """The rows of these changes, some at a time."""
    rows_max = max(1, CELLS_MAX // len(columns))
    maker = _RowMaker(columns, form)
    for piece in pieces:
        changes = zip(decode_payloads(piece.block), piece.topics, strict=True)
        while rows := [maker.row(piece.run_id, shape, topic) for shape, topic in islice(changes, rows_max)]:
            yield rows


class _RowMaker:
    def __init__(self, columns: Columns, form: CellForm) -> None:
        own = columns.own
        start = len(own)
        self._at = {name: start + 2 * number for number, name in enumerate(columns.fields)}
        end = start + 2 * len(columns.fields)
        self._details_at = {name: end + number for number, name in enumerate(columns.details)}
        self._action_at = own.index(ACTION)
        self._type_at = own.index(OBJECT_TYPE) if columns.with_object_type else None
        self._run_at = own.index(RUN_ID) if columns.with_run_id else None
        self._blank = [""] * len(columns)
        self._form = form
        assert own[0] == RESULT

    def row(self, run_id: str, shape: ReportShape | None, topic: str) -> list[str]:
        row = self._blank.copy()
        row[0] = "failed" if topic == "record-failed" else "succeeded"
        text = self._form.text_cell
        if self._run_at is not None:
            row[self._run_at] = text(run_id)
        if shape is None:
            row[_MESSAGE] = ERASED_MESSAGE
            row[self._action_at] = _ACTIONS.get(topic, "")
            return row
        row[self._action_at] = shape.action or _ACTIONS.get(topic, "update")
        if shape.message:
            row[_MESSAGE] = text(shape.message)
        if shape.record_id:
            row[_RECORD_ID] = text(shape.record_id)
        if shape.label:
            row[_LABEL] = text(shape.label)
        if shape.link:
            row[_LINK] = text(shape.link)
        if self._type_at is not None:
            row[self._type_at] = text(shape.object_type)
        self._fill_values(row, shape)
        return row

    def _fill_values(self, row: list[str], shape: ReportShape) -> None:
        """The hot loop: most values are texts that stand in their cell as they are."""
        marks, cell, at = self._form.marks, self._form.cell, self._at
        before, after = shape.before, shape.after
        if before:
            for name, value in before.items():
                as_it_is = value.__class__ is str and value and value[0] not in marks
                row[at[name]] = value if as_it_is else cell(value)
        if after:
            for name, value in after.items():
                as_it_is = value.__class__ is str and value and value[0] not in marks
                row[at[name] + 1] = value if as_it_is else cell(value)
            if before is None:
                for name in after:
                    row[at[name]] = self._form.unknown
        if shape.details is not UNSET and shape.details:
            for name, value in shape.details.items():
                row[self._details_at[name]] = cell(value)
