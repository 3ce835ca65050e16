"""The tracker's pages beside a model of them in plain Python, over random runs, filters, orders and pages."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import psycopg
import pytest

import migrations
from api.runs import undone_by
from bootstrap import Services
from ledger.domain.operation import Operation
from ledger.embedded import DatabaseUrls
from ledger.errors import InputError, NotFound
from ledger.service import AccountLedger
from ledger.store.mapper import decode_record, is_record_topic
from ledger.undo.request import Selection, UndoRequest
from projections.activity.postgres import Activity
from projections.tracker.postgres import Tracker
from projections.tracker.view import SORTS, TOTAL_MAX, UNDO_STATES, Limits, RunQuery, TrackerRow
from tests.examples import a_change, a_ledger, an_operation, changes, record
from tests.projected import BEGAN, project, record_history, rows_of

QUESTIONS = 300
Rows = list[TrackerRow]


@pytest.fixture
def ledger(database: DatabaseUrls) -> Iterator[AccountLedger]:
    with a_ledger(database.service_url) as ledger:
        yield ledger


def tracker_of(ledger: AccountLedger, limits: Limits | None = None) -> Tracker:
    return Tracker(ledger.store.recorder.database, ledger.account_id, limits=limits or Limits())


def test_pages_are_what_a_plain_list_of_all_runs_gives(ledger: AccountLedger) -> None:
    record_history(ledger, runs=80, with_undos=True)
    project(ledger)
    tracker, source = tracker_of(ledger), random.Random(7)
    rows = list(_all_rows(ledger))
    types = _types_touched(ledger, rows)
    for _ in range(QUESTIONS):
        query = _a_question(source)
        expected = _answer(rows, types, query)
        found, total = _all_pages(tracker, query)
        assert [row.run_id for row in found] == [row.run_id for row in expected], query
        assert found == expected, query
        assert total == len(expected), query


@pytest.mark.parametrize("limits", [Limits(7, 5, 3, 2), Limits(7, 5, 30, 10), Limits(1, 1, 0, 1)])
def test_pages_that_end_for_their_work_give_every_run_all_the_same(ledger: AccountLedger, limits: Limits) -> None:
    record_history(ledger, runs=60)
    project(ledger)
    tracker, source = tracker_of(ledger, limits), random.Random(11)
    rows = list(_all_rows(ledger))
    types = _types_touched(ledger, rows)
    short_pages = lower_bounds = 0
    for _ in range(QUESTIONS // 3):
        query = _a_question(source)
        expected = _answer(rows, types, query)
        found, _ = _all_pages(tracker, query)
        assert [row.run_id for row in found] == [row.run_id for row in expected], query
        page = tracker.list_runs(query)
        short_pages += page.next_cursor is not None and len(page.rows) < query.page_size
        lower_bounds += page.total < len(expected)
        assert page.total_is_capped or page.total == len(expected), query
        assert len(page.rows) <= page.total <= len(expected), query
    assert min(short_pages, lower_bounds) > 0


def test_page_and_total_look_at_no_more_runs_than_their_limits(ledger: AccountLedger) -> None:
    _record_two_halves(ledger)
    tracker = tracker_of(ledger, Limits(candidates=15, counted=15, rare=1))
    query = RunQuery(module="merge", trigger="manual", sort="run_id", page_size=10)
    first = tracker.list_runs(query)
    assert (first.rows, first.total, first.total_is_capped) == ([], 2, True)
    second = tracker.list_runs(replace(query, cursor=first.next_cursor))
    assert [row.run_id for row in second.rows] == ["r20", "r19"]
    third = tracker.list_runs(replace(query, cursor=second.next_cursor))
    assert (third.rows, third.next_cursor, third.total) == ([], None, 2)


def test_rare_filter_gives_all_its_runs_at_once(ledger: AccountLedger) -> None:
    _record_two_halves(ledger)
    tracker = tracker_of(ledger, Limits(candidates=15, counted=15, rare=21))
    page = tracker.list_runs(RunQuery(module="merge", trigger="manual", sort="run_id", page_size=10))
    assert ([row.run_id for row in page.rows], page.total, page.total_is_capped) == (["r20", "r19"], 2, False)


def _record_two_halves(ledger: AccountLedger) -> None:
    """Runs r00 to r20 are manual, r19 to r39 merges."""
    for number in range(40):
        operation = Operation(
            trigger="manual" if number <= 20 else "automated", module="merge" if number >= 19 else "cleanse"
        )
        ledger.start_run(operation, run_id=f"r{number:02}")
    project(ledger)


def test_every_column_sorts_with_ties_in_order_of_time_and_run_id(ledger: AccountLedger) -> None:
    record_history(ledger, runs=25, seed=3)
    project(ledger)
    rows = list(_all_rows(ledger))
    for sort, descending in product(SORTS, (True, False)):
        query = RunQuery(sort=sort, descending=descending, mode="all", page_size=4)
        assert _all_pages(tracker_of(ledger), query)[0] == _answer(rows, {}, query), query


def test_row_is_the_run_as_its_own_events_tell_it(ledger: AccountLedger) -> None:
    record_history(ledger, runs=30, with_undos=True)
    project(ledger)
    states = set()
    for row in _all_rows(ledger):
        run = ledger.store.load_run(row.run_id)
        assert (row.undoes, row.undone_by, row.undo_under_way) == (run.undoes, undone_by(run), run.undo_under_way)
        states.add(row.undo_state)
        if run.operation.kind == "recipe":
            continue
        told = (run.operation, run.started_at, run.finished_at, run.status, run.tally, run.error)
        assert (row.operation, row.started_at, row.finished_at, row.status, row.tally, row.error) == told
    assert states == set(UNDO_STATES)


def test_undone_recipe_and_its_children_tell_so_until_the_undo_is_undone(ledger: AccountLedger) -> None:
    ledger.start_run(Operation(kind="recipe"), run_id="weekly")
    for number in (1, 2):
        record(ledger, f"child-{number}", [a_change(number)], recipe_run_id="weekly")
    ledger.finish_run("weekly")
    project(ledger)
    tracker, undos = tracker_of(ledger), Services(ledger.store.recorder.database).undo(ledger.account_id)

    def states() -> dict[str, str]:
        project(ledger)
        return {row.run_id: row.undo_state for row in _all_rows(ledger)}

    undo_id, _ = undos.begin(UndoRequest(("weekly",)))
    assert states() == dict.fromkeys(("weekly", "child-1", "child-2"), "under_way") | {undo_id: "none"}
    assert (tracker.get_run("weekly").undo_under_way, tracker.get_run(undo_id).is_interrupted) == (undo_id, True)
    undos.carry_on(undo_id)
    assert states() == dict.fromkeys(("weekly", "child-1", "child-2"), "undone") | {undo_id: "none"}
    undone = tracker.list_runs(RunQuery(undo_state="undone"))
    assert {row.run_id: row.undone_by for row in undone.rows} == dict.fromkeys(
        ("weekly", "child-1", "child-2"), (undo_id,)
    )
    redo_id = undos.undo(UndoRequest((undo_id,))).undo_id
    assert states() == dict.fromkeys(("weekly", "child-1", "child-2", redo_id), "none") | {undo_id: "undone"}
    assert undos.undo(UndoRequest(("weekly",))).status == "completed"


def test_undo_of_a_part_leaves_run_and_recipe_as_they_are(ledger: AccountLedger) -> None:
    ledger.start_run(Operation(kind="recipe"), run_id="weekly")
    record(ledger, "child", [a_change(1), a_change(2)], recipe_run_id="weekly")
    undos = Services(ledger.store.recorder.database).undo(ledger.account_id)
    first = changes_of(ledger, "child")[0]
    undos.undo(UndoRequest(("weekly",), selection=Selection(records=frozenset({first}))))
    project(ledger)
    assert {row.undo_state for row in _all_rows(ledger)} == {"none"}
    undo_id = undos.undo(UndoRequest(("weekly",))).undo_id
    project(ledger)
    assert tracker_of(ledger).get_run("weekly").undone_by == (undo_id,)


def changes_of(ledger: AccountLedger, run_id: str) -> list[tuple[str, str]]:
    """The records that a run changed."""
    events = [event for event in ledger.store.recorder.read_after(0, limit=1_000) if event.run_id == run_id]
    found = [decode_record(event) for event in events if is_record_topic(event.topic)]
    return [(event.object_type, event.record_id or "") for event in found]


def test_rows_filled_before_the_columns_were_there_are_mended_by_the_migration(
    ledger: AccountLedger, database: DatabaseUrls
) -> None:
    record_history(ledger, runs=40, with_undos=True)
    project(ledger)
    filled = rows_of(database.owner_url, ledger.account_id)["tracker"]
    assert any('"undo_state": "undone"' in row for row in filled)
    source = (Path(migrations.__file__).parent / "0005_undo_state.sql").read_text()
    with psycopg.connect(database.owner_url) as connection:
        connection.execute("UPDATE tracker SET undone_by = '', undo_under_way = ''")
        connection.execute(source[source.index("WITH told") :])
    assert rows_of(database.owner_url, ledger.account_id)["tracker"] == filled


def test_recipe_shows_the_sum_of_its_children(ledger: AccountLedger) -> None:
    ledger.start_run(Operation(kind="recipe"), run_id="weekly")
    for number in (1, 2):
        ledger.start_run(an_operation(recipe_run_id="weekly"), run_id=f"child-{number}")
        ledger.record_changes(f"child-{number}", [changes(1, 10 * number)])
        project(ledger)  # a batch each, so that sums are added to sums
    tracker = tracker_of(ledger)
    assert tracker.get_run("weekly").tally.updated == 30
    assert [row.run_id for row in tracker.children("weekly")] == ["child-1", "child-2"]
    assert tracker.get_run("child-2").stamp_run_id == "weekly"
    with pytest.raises(NotFound):
        tracker.get_run("child-3")


def test_total_is_counted_up_to_a_limit(ledger: AccountLedger) -> None:
    tracker = tracker_of(ledger)
    assert (tracker.list_runs(RunQuery()).total, tracker.list_runs(RunQuery()).rows) == (0, [])
    for number in range(TOTAL_MAX + 1):
        ledger.start_run(Operation(), run_id=f"r{number}")
    project(ledger)
    page = tracker.list_runs(RunQuery())
    assert (page.total, page.total_is_capped) == (TOTAL_MAX, True)


@pytest.mark.parametrize("change", [{"sort": "run_id"}, {"status": "failed"}, {"descending": False}, {"mode": "all"}])
def test_cursor_of_another_question_is_refused(ledger: AccountLedger, change: dict[str, Any]) -> None:
    record_history(ledger, runs=10)
    project(ledger)
    tracker = tracker_of(ledger)
    query = RunQuery(page_size=2)
    cursor = tracker.list_runs(query).next_cursor
    with pytest.raises(InputError, match="does not belong to this list"):
        tracker.list_runs(replace(query, cursor=cursor, **change))


def test_what_cannot_be_asked_is_refused(ledger: AccountLedger) -> None:
    tracker = tracker_of(ledger)
    for cursor in ("", "x", "ÿ", "AAAA", "a" * 5_000, "\0", "W10"):
        with pytest.raises(InputError, match="does not belong to this list"):
            tracker.list_runs(RunQuery(cursor=cursor))
    wrong: tuple[dict[str, Any], ...] = ({"page_size": 0}, {"page_size": 201}, {"sort": "colour"}, {"mode": "both"})
    for each in wrong:
        with pytest.raises(InputError):
            tracker.list_runs(RunQuery(**each))


def test_text_is_text(ledger: AccountLedger) -> None:
    record_history(ledger, runs=5)
    project(ledger)
    tracker = tracker_of(ledger)
    for text in ("%", "_", "'; DROP TABLE tracker; --", "\0", "\U0010ffff", "x" * 10_000, "é" * 300):
        for name in ("text", "template", "user", "object_type", "recipe_run_id"):
            asked: dict[str, Any] = {name: text}
            assert tracker.list_runs(RunQuery(**asked)).rows == [], (name, text)


def test_values_for_drop_downs_are_the_distinct_ones(ledger: AccountLedger) -> None:
    record_history(ledger, runs=60)
    project(ledger)
    tracker = tracker_of(ledger)
    assert tracker.facet_values("template") == ["t-9", "tidy names", "Tidy Phones"]
    assert tracker.facet_values("object_type") == ["company", "contact", "Déal", "ticket"]
    with pytest.raises(InputError, match="There is no facet"):
        tracker.facet_values("colour")  # type: ignore[arg-type]


def test_days_add_up_to_the_tracker(ledger: AccountLedger) -> None:
    record_history(ledger, runs=60)
    project(ledger)
    activity = Activity(ledger.store.recorder.database, ledger.account_id)
    days = activity.days(BEGAN.date(), BEGAN.date() + timedelta(days=30), with_previews=True)
    runs = [row for row in _all_rows(ledger) if row.operation.kind == "run"]
    assert sum(day.runs for day in days) == len(runs)
    assert sum(day.failed_runs for day in days) == sum(row.status == "failed" for row in runs)
    assert sum(day.tally.processed for day in days) == sum(row.tally.processed for row in runs)
    without_previews = activity.days(BEGAN.date(), BEGAN.date() + timedelta(days=30))
    assert sum(day.runs for day in without_previews) == sum(not row.is_preview for row in runs)


def _all_rows(ledger: AccountLedger) -> Iterator[TrackerRow]:
    rows, _ = _all_pages(tracker_of(ledger), RunQuery(mode="all", page_size=200))
    return iter(rows)


def _all_pages(tracker: Tracker, query: RunQuery) -> tuple[Rows, int]:
    page = tracker.list_runs(query)
    rows, total = list(page.rows), page.total
    while page.next_cursor is not None:
        page = tracker.list_runs(replace(query, cursor=page.next_cursor))
        assert page.total == total
        rows += page.rows
    return rows, total


def _a_question(source: random.Random) -> RunQuery:
    choices: dict[str, tuple[Any, ...]] = {
        "text": ("TIDY", "tidy n", "a0", "déa", "t", "nothing"),
        "object_type": ("contact", "ticket", "none"),
        "template": ("Tidy Phones", "t-9"),
        "module": ("merge",),
        "app": ("HubSpot",),
        "user": ("Ann", "bo@example.com"),
        "kind": ("run", "recipe"),
        "trigger": ("manual",),
        "status": ("running", "finished", "failed"),
        "recipe_run_id": ("a001", "b003"),
        "started_from": (BEGAN + timedelta(hours=source.randrange(200)),),
        "started_to": (BEGAN + timedelta(hours=source.randrange(200)),),
        "has_failures": (True, False),
        "zero_succeeded": (True, False),
        "undo_state": UNDO_STATES,
    }
    asked = {name: source.choice(choices[name]) for name in source.sample(sorted(choices), source.randrange(4))}
    return RunQuery(
        **asked,
        mode=source.choice(("update", "preview", "all")),
        sort=source.choice(SORTS),
        descending=source.random() < 0.5,
        page_size=source.choice((3, 50, 200)),
    )


def _answer(rows: Rows, types: dict[str, set[str]], query: RunQuery) -> Rows:
    matching = [row for row in rows if _matches(row, types.get(row.run_id, set()), query)]
    key = _KEYS[query.sort]
    return sorted(matching, key=lambda row: (key(row), row.started_at, row.run_id), reverse=query.descending)


def _matches(row: TrackerRow, types: set[str], query: RunQuery) -> bool:
    what = row.operation
    template = _template(row)
    text = query.text.casefold() if query.text else ""
    return all(
        (
            query.mode in ("all", what.mode),
            not text
            or text in template.casefold()
            or any(text in each.casefold() for each in types)
            or row.run_id.startswith(query.text or ""),
            query.object_type in (None, *types),
            query.template in (None, template),
            query.module in (None, what.module),
            query.app in (None, what.app and what.app.name),
            query.user in (None, what.user and what.user.shown),
            query.kind in (None, what.kind),
            query.trigger in (None, what.trigger),
            query.status in (None, row.status),
            query.recipe_run_id in (None, what.recipe_run_id),
            query.started_from is None or row.started_at >= query.started_from,
            query.started_to is None or row.started_at < query.started_to,
            query.has_failures in (None, row.tally.failed > 0),
            query.zero_succeeded in (None, row.tally.succeeded == 0),
            query.undo_state in (None, row.undo_state),
        )
    )


def _types_touched(ledger: AccountLedger, rows: Rows) -> dict[str, set[str]]:
    """Run ID to the types that the run names or touched, read from the log itself."""
    touched = {row.run_id: {row.operation.object_type or ""} for row in rows}
    for event in ledger.store.recorder.read_after(0, limit=100_000):
        if is_record_topic(event.topic):
            touched[event.run_id].add(decode_record(event).object_type)
    for row in rows:
        if row.operation.recipe_run_id:
            touched[row.operation.recipe_run_id] |= touched[row.run_id]
    return touched


def _template(row: TrackerRow) -> str:
    template = row.operation.template
    return (template and (template.name or template.id)) or ""


_KEYS: dict[str, Callable[[TrackerRow], Any]] = {
    "started_at": lambda row: row.started_at,
    "finished_at": lambda row: (row.finished_at is None, row.finished_at or row.started_at),
    "duration_s": lambda row: -1 if row.duration_s is None else row.duration_s,
    "run_id": lambda row: row.run_id,
    "template": _template,
    "object_type": lambda row: row.operation.object_type or "",
    "app": lambda row: row.operation.app.name if row.operation.app else "",
    "module": lambda row: row.operation.module or "",
    "user": lambda row: (row.operation.user and row.operation.user.shown) or "",
    "recipe": lambda row: row.operation.recipe.name if row.operation.recipe else "",
    "recipe_run_id": lambda row: row.operation.recipe_run_id or "",
    "kind": lambda row: row.operation.kind,
    "mode": lambda row: row.is_preview,
    "trigger": lambda row: row.operation.trigger,
    "status": lambda row: row.status,
} | {
    name: (lambda row, name=name: getattr(row.tally, name))
    for name in ("updated", "created", "deleted", "unmodified", "other", "failed", "succeeded", "processed")
}
