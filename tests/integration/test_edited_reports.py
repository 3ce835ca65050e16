"""Reports that come back from a spreadsheet: rows and columns removed, values retyped, saved as XLSX or CSV of any
kind. They select; values come from the ledger, and what differs is told.
"""

from __future__ import annotations

import csv
import io
import random
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest
import xlsxwriter
from python_calamine import CalamineWorkbook

from ledger.errors import InputError
from ledger.undo.request import UndoRequest
from projections.reports.edited import EditedReport
from tests.integration.conftest import web as web
from tests.web import Web, problem

Cells = list[list[Any]]
CONTACTS = [
    {"record_id": "1", "action": "update", "before": {"name": "ann", "city": "paris"}, "after": {"name": "Ann"}},
    {"record_id": "007", "action": "update", "before": {"name": "bob", "city": "rome"},
     "after": {"name": "Bob", "city": "Rome"}},
    {"record_id": "+3", "action": "update", "before": {"name": "=1+1", "city": None}, "after": {"name": 1.10}},
    {"record_id": "4", "action": "create", "after": {"name": "dan", "city": "oslo"}},
    {"record_id": "5", "action": "delete", "before": {"name": "eve", "city": "bern"}},
]  # fmt: skip


def cells_of(web: Web, run_id: str, form: str = "xlsx") -> Cells:
    """The report as a spreadsheet program opens it."""
    data = b"".join(web.services.reports(web.account_id).open(run_id, form).blocks)  # type: ignore[arg-type]
    if form == "csv":
        return list(csv.reader(io.StringIO(data.decode("utf-8-sig"), newline="")))
    return CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_index(0).to_python()


def as_xlsx(*sheets: Cells) -> bytes:
    """A workbook as a spreadsheet program saves it: texts as texts, numbers as numbers, dates as dates."""
    file = io.BytesIO()
    with xlsxwriter.Workbook(file, {"in_memory": True}) as workbook:
        as_date = workbook.add_format({"num_format": "yyyy-mm-dd"})
        for cells in sheets:
            sheet = workbook.add_worksheet()
            for row, values in enumerate(cells):
                for column, value in enumerate(values):
                    if isinstance(value, str):
                        sheet.write_string(row, column, value)
                    elif isinstance(value, date):
                        sheet.write_datetime(row, column, value, as_date)
                    else:
                        sheet.write(row, column, value)
    return file.getvalue()


def as_csv(cells: Cells, *, separator: str = ",", coding: str = "utf-8-sig") -> bytes:
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=separator).writerows(cells)
    return file.getvalue().encode(coding)


def without_columns(cells: Cells, *endings: str) -> Cells:
    kept = [at for at, header in enumerate(cells[0]) if not str(header).endswith(endings)]
    return [[row[at] for at in kept] for row in cells]


def without_rows(cells: Cells, *record_ids: str) -> Cells:
    at = cells[0].index("Record ID")
    return [row for row in cells if row[at] not in record_ids]


def read(web: Web, run_id: str, data: bytes) -> EditedReport:
    return web.services.edited_report(web.account_id, run_id, data)


def applied(web: Web, run_id: str, data: bytes) -> list[tuple[str, str, str, list[str]]]:
    """What the undo of the edited report would write: operation, type, record, fields."""
    plan = web.services.undo(web.account_id).preview(
        UndoRequest((run_id,), selection=read(web, run_id, data).selection)
    )
    return sorted((one.op, one.object_type, one.record_id, sorted(one.fields)) for one in plan.applied.items)


SAVED: dict[str, Callable[[Web, str], tuple[Cells, Callable[[Cells], bytes]]]] = {
    "xlsx": lambda web, run_id: (cells_of(web, run_id), as_xlsx),
    "csv": lambda web, run_id: (cells_of(web, run_id, "csv"), as_csv),
    "semicolons": lambda web, run_id: (cells_of(web, run_id, "csv"), lambda cells: as_csv(cells, separator=";")),
    "no mark": lambda web, run_id: (cells_of(web, run_id, "csv"), lambda cells: as_csv(cells, coding="utf-8")),
    "unicode text": lambda web, run_id: (
        cells_of(web, run_id, "csv"), lambda cells: as_csv(cells, separator="\t", coding="utf-16")
    ),
}  # fmt: skip


@pytest.mark.parametrize("saved", SAVED)
def test_removed_rows_and_columns_are_left_alone(web: Web, saved: str) -> None:
    run_id = web.record(CONTACTS)
    cells, save = SAVED[saved](web, run_id)
    edited = save(without_columns(without_rows(cells, "007", "5"), "(After)", "city (Before)", "Action"))
    assert read(web, run_id, edited).is_as_the_ledger_says
    assert applied(web, run_id, edited) == [
        ("delete", "contact", "4", []), ("update", "contact", "+3", ["name"]), ("update", "contact", "1", ["name"])
    ]  # fmt: skip


@pytest.mark.parametrize("saved", SAVED)
def test_a_report_saved_as_it_was_selects_everything(web: Web, saved: str) -> None:
    run_id = web.record(CONTACTS)
    cells, save = SAVED[saved](web, run_id)
    found = read(web, run_id, save(cells))
    assert (found.is_as_the_ledger_says, found.rows) == (True, len(CONTACTS))
    whole = web.services.undo(web.account_id).preview(UndoRequest((run_id,)))
    assert applied(web, run_id, save(cells)) == sorted(
        (one.op, one.object_type, one.record_id, sorted(one.fields)) for one in whole.applied.items
    )


def test_the_exact_dialect_and_other_orders_of_rows_and_columns_are_read_too(web: Web) -> None:
    more: dict[str, Any] = {"record_id": "6", "action": "update", "before": {"n": 1}, "after": {"n": "1"}}
    run_id = web.record([*CONTACTS, more])
    data = b"".join(web.services.reports(web.account_id).open(run_id, dialect="exact").blocks)
    assert read(web, run_id, data).is_as_the_ledger_says
    cells = cells_of(web, run_id)
    shuffled = [cells[0], *reversed(cells[1:])]
    assert read(web, run_id, as_xlsx([list(reversed(row)) for row in shuffled])).is_as_the_ledger_says


def test_retyped_values_are_told_and_change_nothing(web: Web) -> None:
    run_id = web.record(CONTACTS)
    cells = cells_of(web, run_id)
    name, city = cells[0].index("name (Before)"), cells[0].index("city (After)")
    cells[1][name], cells[2][name], cells[2][city] = "Hand", 7.0, date(2026, 1, 2)
    found = read(web, run_id, as_xlsx(cells))
    assert [tuple(cell) for cell in found.differing] == [
        ("sheet Sheet1, row 2", "contact", "1", "name (Before)", "Hand", "ann"),
        ("sheet Sheet1, row 3", "contact", "007", "name (Before)", "7", "bob"),
        ("sheet Sheet1, row 3", "contact", "007", "city (After)", "2026-01-02", "Rome"),
    ]
    assert found.differing_count == 3
    result = web.services.undo(web.account_id).undo(UndoRequest((run_id,), selection=found.selection))
    assert {one.record_id: one.fields.get("name") for one in result.applied.items}["1"] == b'"ann"'


def test_differing_cells_are_counted_all_and_listed_in_part(web: Web) -> None:
    run_id = web.record(
        [{"record_id": str(n), "action": "update", "before": {"n": n}, "after": {"n": n + 1}} for n in range(150)]
    )
    cells = cells_of(web, run_id)
    at = cells[0].index("n (Before)")
    found = read(web, run_id, as_xlsx([cells[0], *([*row[:at], "x", *row[at + 1 :]] for row in cells[1:])]))
    assert (found.differing_count, len(found.differing)) == (150, 100)


def test_an_id_that_the_spreadsheet_changed_selects_nothing_and_is_told(web: Web) -> None:
    run_id = web.record(CONTACTS)
    cells = cells_of(web, run_id)
    cells[2][cells[0].index("Record ID")] = 7.0
    found = read(web, run_id, as_xlsx(cells))
    assert (found.unknown_count, [tuple(row) for row in found.unknown]) == (1, [("sheet Sheet1, row 3", None, "7")])
    assert ("contact", "007") not in (found.selection.records or ())


def test_a_renamed_column_is_told(web: Web) -> None:
    run_id = web.record(CONTACTS)
    cells = cells_of(web, run_id)
    cells[0][cells[0].index("name (Before)")] = "title (Before)"
    assert read(web, run_id, as_xlsx(cells)).unknown_columns == ("title (Before)",)


def test_fields_named_like_our_columns_come_back(web: Web) -> None:
    fields = {"Message": "a", "Job Title (After)": "b", "Record ID": "c", "": "d", "=x": "e", "'y": "f"}
    run_id = web.record([{"record_id": "1", "action": "update", "before": fields, "after": dict.fromkeys(fields, "z")}])
    for saved in SAVED.values():
        cells, save = saved(web, run_id)
        found = read(web, run_id, save(cells))
        assert (found.is_as_the_ledger_says, found.selection.columns) == (True, frozenset(fields))


def test_a_record_changed_twice_is_compared_with_both_changes(web: Web) -> None:
    lines = [
        {"record_id": "1", "action": "update", "before": {"n": "a"}, "after": {"n": "b"}},
        {"record_id": "1", "action": "update", "before": {"n": "b"}, "after": {"n": "c"}},
    ]
    run_id = web.record(lines)
    cells = cells_of(web, run_id)
    assert read(web, run_id, as_xlsx(cells)).is_as_the_ledger_says
    cells[2][cells[0].index("n (After)")] = "d"
    assert read(web, run_id, as_xlsx(cells)).differing_count == 1


def test_a_failed_changes_row_is_known_and_one_without_a_record_is_passed_over(web: Web) -> None:
    failed = {"action": "update", "result": "failed", "message": "no", "before": {"n": 1}, "after": {"n": 2}}
    lines: list[dict[str, Any]] = [*CONTACTS, failed | {"record_id": "9"}, failed]
    run_id = web.record(lines)
    found = read(web, run_id, as_xlsx(cells_of(web, run_id)))
    assert (found.is_as_the_ledger_says, found.rows) == (True, len(CONTACTS) + 1)


def test_unknown_before_values_and_long_texts_are_no_difference(web: Web) -> None:
    lines: list[dict[str, Any]] = [
        {"record_id": "1", "action": "update", "before": None, "after": {"n": "b"}},
        {"record_id": "2", "action": "update", "before": {"n": "x" * 40_000}, "after": {"n": "l1\r\nl2"}},
    ]
    run_id = web.record(lines)
    cells = [[str(cell).replace("\r\n", "\n") for cell in row] for row in cells_of(web, run_id)]
    assert read(web, run_id, as_xlsx(cells)).is_as_the_ledger_says


# Several object types, several runs.

MIXED = [
    {"object_type": "contact", "record_id": "1", "action": "update", "before": {"n": "a"}, "after": {"n": "b"}},
    {"object_type": "company", "record_id": "1", "action": "update", "before": {"n": "c"}, "after": {"n": "d"}},
]


def test_rows_of_several_object_types_are_told_apart(web: Web) -> None:
    run_id = web.record(MIXED)
    cells = cells_of(web, run_id)
    kind = cells[0].index("Object Type")
    contacts = as_xlsx([row for row in cells if row[kind] != "company"])
    assert applied(web, run_id, contacts) == [("update", "contact", "1", ["n"])]
    with pytest.raises(InputError, match="'Object Type' was removed"):
        read(web, run_id, as_xlsx(without_columns(cells, "Object Type")))


def recipe(web: Web) -> None:
    """Two runs of one recipe: both change contact 1, one field each and one field both."""
    web.start(run_id="weekly", kind="recipe")
    first = {"record_id": "1", "action": "update", "before": {"a": 1, "n": 1}, "after": {"a": 2, "n": 2}}
    second = {"record_id": "1", "action": "update", "before": {"b": 1, "n": 2}, "after": {"b": 2, "n": 3}}
    web.record([first, {"record_id": "2", "action": "create", "after": {"n": 1}}], run_id="m", recipe_run_id="weekly")
    web.record([second], run_id="k", recipe_run_id="weekly")


def test_of_a_recipe_the_rows_of_each_run_are_chosen_by_themselves(web: Web) -> None:
    recipe(web)
    cells = cells_of(web, "weekly")
    run_at = cells[0].index("Run ID")
    assert applied(web, "weekly", as_xlsx(cells)) == [
        ("delete", "contact", "2", []), ("update", "contact", "1", ["a", "b", "n"])
    ]  # fmt: skip
    later = as_xlsx([row for row in cells if row[run_at] != "m"])
    assert applied(web, "weekly", later) == [("update", "contact", "1", ["b", "n"])]
    result = web.services.undo(web.account_id).undo(
        UndoRequest(("weekly",), selection=read(web, "weekly", later).selection)
    )
    assert {name: text for one in result.applied.items for name, text in one.fields.items()} == {"b": b"1", "n": b"2"}
    with pytest.raises(InputError, match="'Run ID' was removed"):
        read(web, "weekly", as_xlsx(without_columns(cells, "Run ID")))


def test_of_a_recipe_an_earlier_runs_row_alone_conflicts_where_the_later_run_wrote(web: Web) -> None:
    recipe(web)
    cells = cells_of(web, "weekly")
    earlier = as_xlsx([row for row in cells if row[cells[0].index("Run ID")] != "k"])
    selection = read(web, "weekly", earlier).selection
    assert selection.except_changes == frozenset({("k", "contact", "1")})
    plan = web.services.undo(web.account_id).preview(UndoRequest(("weekly",), selection=selection))
    assert [(item.record_id, item.field, item.reason) for item in plan.skipped.items] == [("1", "n", "modified_since")]


def test_sheets_that_go_on_are_one_report(web: Web) -> None:
    run_id = web.record(CONTACTS)
    cells = cells_of(web, run_id)
    note = [["Rows to keep"], ["ask Ann"]]
    assert read(web, run_id, as_xlsx(note, cells[:3], [cells[0], *cells[3:]])).rows == len(CONTACTS)
    with pytest.raises(InputError, match="different columns"):
        read(web, run_id, as_xlsx(cells[:3], without_columns([cells[0], *cells[3:]], "city (Before)")))


def test_an_id_that_may_be_two_is_refused(web: Web) -> None:
    run_id = web.record([{"record_id": name, "action": "create", "after": {"n": 1}} for name in ("+1", "'+1")])
    cells = cells_of(web, run_id, "csv")
    assert read(web, run_id, as_csv(cells)).rows == 2
    with pytest.raises(InputError, match="may name two records"):
        read(web, run_id, as_csv(cells, coding="utf-8"))


# Files that are none.


def test_files_that_are_no_report_of_the_run_say_why(web: Web) -> None:
    run_id = web.record(CONTACTS)
    other = web.record([{"record_id": "x", "action": "create", "after": {"n": 1}}])
    whole = as_xlsx(cells_of(web, run_id))
    at = whole.index(b"xl/worksheets/sheet1.xml")
    header = as_csv(cells_of(web, run_id, "csv")[:1])
    for data, says in (
        (b"", "empty"),
        (b"a,b\r\n1,2\r\n", "no column for the record. Line 1: found a, b"),
        (b"\x00\x01\x02", "no column for the record"),
        ("Record ID,Ort (Before)\r\n1,K\xf6ln\r\n".encode("latin-1"), "Line 2.*UTF-8"),
        (b'Record ID,n (Before)\r\n1,"open\r\n', "not CSV"),
        (b"Record ID,n (Before)\r\n1\r\n", "Line 2: found 1 cells, expected 2 cells"),
        (header, "no rows left"),
        (as_csv(cells_of(web, other, "csv")), f"not one of run {run_id}"),
        (whole[: len(whole) // 2], "cannot be read"),
        (whole[: at + 60] + b"\xff" * 40 + whole[at + 100 :], "cannot be read"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(2_000), "cannot be read"),
        (as_xlsx([["a", "b"], [1, 2]]), "holds no report"),
    ):
        with pytest.raises(InputError, match=says):
            read(web, run_id, data)


def test_damage_anywhere_is_an_error_or_does_no_harm(web: Web, seed: int) -> None:
    chance = random.Random(seed)
    run_id = web.record(CONTACTS)
    whole = bytearray(as_xlsx(cells_of(web, run_id)))
    for _ in range(100):
        data = bytearray(whole)
        for _ in range(chance.randrange(1, 4)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        try:
            found = read(web, run_id, bytes(data))
        except InputError:
            continue
        assert (found.selection.records or frozenset()) <= {("contact", str(line["record_id"])) for line in CONTACTS}


# Over HTTP.

XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"


def test_over_http_the_answer_is_the_body_of_the_undo(web: Web) -> None:
    run_id = web.record(CONTACTS)
    cells = without_rows(cells_of(web, run_id), "4", "5")
    cells[1][cells[0].index("name (Before)")] = "Hand"
    path = f"/v1/runs/{run_id}/edited-reports"
    answer = web.post(path, as_xlsx(without_columns(cells, "city (Before)")), role="auditor", content_type=XLSX)
    assert answer.status_code == 200, answer.text
    told = answer.get_json()
    assert (told["rows"], told["columns"], told["counts"]) == (3, ["name"], {"differing_cells": 1, "unknown_rows": 0})
    assert told["differing_cells"] == [
        {"place": "sheet Sheet1, row 2", "object_type": "contact", "record_id": "1", "column": "name (Before)",
         "found": "Hand", "expected": "ann"}
    ]  # fmt: skip
    plan = web.post("/v1/undo-plans", told["undo"], role="auditor").get_json()
    assert [one["fields"] for one in plan["applied"]] == [{"name": "ann"}, {"name": "bob"}, {"name": "=1+1"}]
    web.app.testing = True
    done = web.post("/v1/undos", told["undo"], role="operator")
    assert (done.status_code, done.get_json()["applied"]) == (202, plan["applied"])


def test_over_http_a_recipes_report_is_chosen_by_run(web: Web) -> None:
    recipe(web)
    cells = cells_of(web, "weekly")
    earlier = as_csv([row for row in cells if row[cells[0].index("Run ID")] != "k"])
    told = web.post("/v1/runs/weekly/edited-reports", earlier, role="operator", content_type="text/csv").get_json()
    assert told["undo"]["except_changes"] == [["k", "contact", "1"]]
    plan = web.post("/v1/undo-plans", told["undo"], role="operator").get_json()
    assert plan["skipped"][0]["field"] == "n"


def test_over_http_bad_uploads_are_problems(web: Web) -> None:
    run_id = web.record(CONTACTS)
    path = f"/v1/runs/{run_id}/edited-reports"
    assert problem(web.post(path, b"a,b\r\n", role="auditor", content_type="text/csv"))["status"] == 422
    assert problem(web.post(path, b"x", role="auditor", content_type="application/pdf"))["status"] == 415
    assert problem(web.post(path, b"x", role="producer", content_type="text/csv"))["status"] == 403
    assert problem(web.post("/v1/runs/none/edited-reports", b"x", role="auditor", content_type=XLSX))["status"] == 404
    preview = web.record(CONTACTS, mode="preview")
    path = f"/v1/runs/{preview}/edited-reports"
    assert problem(web.post(path, b"x", role="auditor", content_type=XLSX))["code"] == "no_report"


def test_a_body_of_many_records_is_taken(web: Web) -> None:
    run_id = web.record(CONTACTS)
    records = [["contact", f"{number:060}"] for number in range(30_000)]
    answer = web.post("/v1/undo-plans", {"runs": [run_id], "records": [*records, ["contact", "1"]]}, role="auditor")
    assert (answer.status_code, answer.get_json()["counts"]["applied"]) == (200, 1)
