"""The fold of activity_daily."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

from ledger.domain.operation import Operation, Saved, User
from ledger.domain.tally import Tally
from ledger.store.shapes import ChangesRecordedShape, RunFailedShape, RunStartedShape, Shape
from projections.activity.projection import DayKey, fold
from projections.events.batch import Batch, RunFact, StoredRow

LATE = datetime(2026, 11, 1, 23, 30, tzinfo=timezone(timedelta(hours=-1)))
"""Already the next day in UTC."""


def a_fact(run_id: str, shape: Shape) -> RunFact:
    return RunFact(StoredRow(1, bytes(16), "run", run_id, 0, bytes(8), b"{}"), shape)


def test_run_counts_on_the_utc_day_that_it_started() -> None:
    start = RunStartedShape(Operation(user=User(name="Ann"), template=Saved(name="Tidy")), LATE)
    facts = [
        a_fact("r", start),
        a_fact("r", ChangesRecordedShape(0, Tally(updated=2, created=3, failed=1))),
        a_fact("r", RunFailedShape(datetime(2026, 11, 9, tzinfo=UTC), "quota", "")),
    ]
    key = DayKey(date(2026, 11, 2), "Ann", "Tidy", False)
    assert fold(Batch(3, [], facts, {"r": start})) == {key: [1, 1, 2, 3, 0, 0, 0, 1]}


def test_recipe_counts_through_its_children_only() -> None:
    recipe = RunStartedShape(Operation(kind="recipe"), LATE)
    child = RunStartedShape(Operation(recipe_run_id="recipe", mode="preview"), LATE)
    facts = [a_fact("recipe", recipe), a_fact("child", ChangesRecordedShape(0, Tally(other=1)))]
    key = DayKey(date(2026, 11, 2), "", "", True)
    assert fold(Batch(2, [], facts, {"recipe": recipe, "child": child})) == {key: [0, 0, 0, 0, 0, 0, 1, 0]}
