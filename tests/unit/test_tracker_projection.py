"""The tracker's fold: pure, so the events are made by hand."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from ledger.domain.operation import Operation, Saved, User
from ledger.domain.tally import Tally
from ledger.store.shapes import (
    ChangesRecordedShape,
    RecordShape,
    RunFailedShape,
    RunFinishedShape,
    RunStartedShape,
    Shape,
)
from projections.events.batch import ERASED, Batch, Change, RunFact, StoredRow
from projections.tracker.projection import FacetValue, RunDelta, TouchedType, fold

STARTED = datetime(2026, 11, 1, 9, 30, tzinfo=UTC)
ENDED = datetime(2026, 11, 1, 10, tzinfo=UTC)


def a_row(position: int, run_id: str, topic: str = "run", payload: bytes | None = b"{}") -> StoredRow:
    return StoredRow(position, bytes(16), topic, run_id, 0, bytes(8), payload)


def a_batch(*events: tuple[str, Shape], starts: dict[str, RunStartedShape] | None = None) -> Batch:
    """(Run ID, shape) at the positions 1, 2, 3 ..."""
    facts, changes = [], []
    known = dict(starts or {})
    for position, (run_id, shape) in enumerate(events, start=1):
        if isinstance(shape, RecordShape):
            changes.append(Change(a_row(position, run_id, "record-updated"), shape))
        else:
            facts.append(RunFact(a_row(position, run_id), shape))
        if isinstance(shape, RunStartedShape):
            known[run_id] = shape
    return Batch(len(events), changes, facts, known)


def a_start(**facts: object) -> RunStartedShape:
    return RunStartedShape(Operation(**facts), STARTED)  # type: ignore[arg-type]


def test_run_within_one_batch_has_its_counts_and_its_end() -> None:
    start = a_start()
    batch = a_batch(
        ("r", start),
        ("r", ChangesRecordedShape(0, Tally(updated=2, failed=1))),
        ("r", ChangesRecordedShape(3, Tally(created=4))),
        ("r", RunFinishedShape(ENDED)),
    )
    expected = RunDelta(4, Tally(updated=2, created=4, failed=1), start, b"{}", "finished", ENDED)
    assert fold(batch).runs == {"r": expected}


def test_counts_come_from_changes_recorded_alone() -> None:
    batch = a_batch(("r", RecordShape("contact", "1")), starts={"r": a_start()})
    assert fold(batch).runs == {}


def test_recipe_above_a_recipe_gets_the_sums_of_all_below() -> None:
    starts = {
        "top": a_start(kind="recipe"),
        "middle": a_start(kind="recipe", recipe_run_id="top"),
        "child": a_start(recipe_run_id="middle"),
    }
    batch = a_batch(
        ("child", ChangesRecordedShape(0, Tally(updated=1))),
        ("child", ChangesRecordedShape(1, Tally(deleted=2))),
        starts=starts,
    )
    each = RunDelta(2, Tally(updated=1, deleted=2))
    assert fold(batch).runs == {"child": each, "middle": each, "top": each}


def test_system_error_keeps_its_exact_text() -> None:
    batch = a_batch(("r", RunFailedShape(ENDED, "quota", "50 % \0 used")), starts={"r": a_start()})
    delta = fold(batch).runs["r"]
    assert (delta.status, delta.finished_at) == ("failed", ENDED)
    assert msgspec.json.decode(delta.error or b"") == {"code": "quota", "message": "50 % \0 used"}


def test_types_touched_are_the_runs_own_and_its_changes_and_the_recipes() -> None:
    starts = {"recipe": a_start(kind="recipe")}
    child = a_start(object_type="contact", recipe_run_id="recipe", mode="preview")
    batch = a_batch(("r", child), ("r", RecordShape("deal", "1")), ("r", ERASED), starts=starts)
    assert fold(batch).types == {
        TouchedType("contact", True, STARTED, "r"),
        TouchedType("contact", False, STARTED, "recipe"),
        TouchedType("deal", True, STARTED, "r"),
        TouchedType("deal", False, STARTED, "recipe"),
    }


def test_values_for_drop_downs_are_what_is_shown_cut_to_what_an_index_holds() -> None:
    start = a_start(template=Saved(id="t-1"), user=User(id="u", name="A\0nn"), module="m" * 300, object_type="contact")
    assert fold(a_batch(("r", start))).values == {
        FacetValue("template", "t-1"),
        FacetValue("user", "A\ufffdnn"),
        FacetValue("module", "m" * 200),
        FacetValue("object_type", "contact"),
    }
