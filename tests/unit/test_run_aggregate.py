"""The guards of a run: what may happen to it, and in what order."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from ledger.domain.run import Run, SystemFault
from ledger.domain.tally import Tally
from ledger.errors import Conflict, OffsetTooHigh, RunEnded
from tests.examples import an_operation

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)


def a_run(**facts: Any) -> Run:
    return Run.start(
        UUID(int=7), run_id="run-1", operation=an_operation(**facts), started_at=NOW, timestamp=NOW, digest=None
    )


def test_a_new_run_is_empty_and_runs() -> None:
    run = a_run()
    assert (run.status, run.accepted, run.tally, run.finished_at, run.error) == ("running", 0, Tally(), None, None)
    assert (run.stamp_run_id, run.started_at, run.version) == ("run-1", NOW, 1)


def test_a_recipes_child_stamps_the_recipes_id() -> None:
    assert a_run(recipe_run_id="recipe-1").stamp_run_id == "recipe-1"


def test_batches_add_up() -> None:
    run = a_run()
    run.record_changes(0, Tally(updated=3, failed=1), NOW)
    run.record_changes(4, Tally(created=2), NOW)
    assert (run.accepted, run.tally) == (6, Tally(updated=3, failed=1, created=2))
    offsets = [event.offset for event in run.pending_events if isinstance(event, Run.ChangesRecorded)]
    assert offsets == [0, 4]


def test_an_offset_above_what_was_accepted_is_refused() -> None:
    run = a_run()
    run.record_changes(0, Tally(updated=3), NOW)
    with pytest.raises(OffsetTooHigh, match="from offset 3 on") as raised:
        run.check_offset(4)
    assert raised.value.details == {"run_id": "run-1", "accepted": 3}
    run.check_offset(3)
    run.check_offset(0)


def test_a_batch_is_counted_where_it_stands() -> None:
    run = a_run()
    run.record_changes(0, Tally(updated=3), NOW)
    with pytest.raises(AssertionError):
        run.record_changes(1, Tally(updated=3), NOW)


@pytest.mark.parametrize("end", ["finish", "fail"])
def test_an_ended_run_takes_no_changes(end: str) -> None:
    run = a_run()
    run.record_changes(0, Tally(updated=3), NOW)
    run.finish(LATER, NOW) if end == "finish" else run.fail("quota", "API quota exhausted", LATER, NOW)
    for offset in (0, 3, 4):
        with pytest.raises(RunEnded) as raised:
            run.check_offset(offset)
        assert raised.value.details["accepted"] == 3


def test_a_recipe_has_no_changes_of_its_own() -> None:
    with pytest.raises(Conflict, match="is a recipe"):
        a_run(kind="recipe").record_changes(0, Tally(updated=1), NOW)


def test_finishing_twice_is_harmless() -> None:
    run = a_run()
    run.finish(LATER, NOW)
    run.finish(LATER + timedelta(days=1), NOW)
    assert (run.status, run.finished_at, run.version) == ("finished", LATER, 2)


def test_failing_twice_with_the_same_error_is_harmless() -> None:
    run = a_run()
    run.fail("quota", "API quota exhausted", LATER, NOW)
    run.fail("quota", "API quota exhausted", LATER, NOW)
    assert (run.status, run.error, run.version) == ("failed", SystemFault("quota", "API quota exhausted"), 2)


def test_an_end_is_not_replaced_by_another() -> None:
    failed = a_run()
    failed.fail("quota", "API quota exhausted", LATER, NOW)
    with pytest.raises(RunEnded):
        failed.finish(LATER, NOW)
    with pytest.raises(RunEnded):
        failed.fail("quota", "another text", LATER, NOW)
    finished = a_run()
    finished.finish(LATER, NOW)
    with pytest.raises(RunEnded):
        finished.fail("quota", "API quota exhausted", LATER, NOW)


def test_events_rebuild_the_run() -> None:
    run = a_run()
    run.record_changes(0, Tally(updated=2), NOW)
    run.fail("quota", "API quota exhausted", LATER, NOW)
    again: Any = None
    for event in run.collect_events():
        again = event.mutate(again)
    assert again == run
