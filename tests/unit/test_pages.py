"""What pages work out without a database: differences, charts, diagnosis, progress."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.differences import marked
from api.pages.charts import Series, nice_top, stacked_columns
from api.pages.diagnosis import diagnose
from api.pages.progress import Progress, progress_of
from ledger.domain.tally import Tally
from projections.run_changes.sampling import FieldSample, Message, Sample, sample_fields
from projections.run_changes.view import Change
from projections.tracker.view import TrackerRow
from tests.examples import an_operation

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
NOTHING = Sample((), (), 0)


def a_row(**facts: Any) -> TrackerRow:
    standard: dict[str, Any] = {
        "run_id": "r", "operation": an_operation(), "started_at": BEGAN, "finished_at": BEGAN + timedelta(minutes=1),
        "status": "finished", "tally": Tally(updated=100), "error": None, "position": 1,
    }  # fmt: skip
    return TrackerRow(**(standard | facts))


@given(st.text(max_size=60), st.text(max_size=60))
def test_marked_parts_are_the_texts_and_what_does_not_differ_is_the_same(before: str, after: str) -> None:
    left, right = marked(before, after)
    assert ("".join(part.text for part in left), "".join(part.text for part in right)) == (before, after)
    same = ["".join(part.text for part in side if not part.differs) for side in (left, right)]
    assert same[0] == same[1]


def test_words_that_differ_are_marked() -> None:
    left, right = marked("call before nine", "call after nine")
    assert [part.text for part in left if part.differs] == ["before"]
    assert [part.text for part in right if part.differs] == ["after"]


@pytest.mark.parametrize("text", ["x " * 5_000, "word " * 500])
def test_long_texts_are_marked_whole(text: str) -> None:
    assert marked(text, text + "y")[0] == [(text, True)]


@pytest.mark.parametrize(("highest", "top"), [(0, 2), (1, 2), (3, 4), (7, 10), (18, 20), (43_764, 100_000)])
def test_top_of_a_chart_is_a_round_number(highest: int, top: int) -> None:
    assert nice_top(highest) == top


def test_columns_stand_upon_each_other_within_the_chart() -> None:
    chart = stacked_columns(["2026-01-01", "2026-01-02"], [Series("a", "c1", (3, 0)), Series("b", "c2", (1, 4))])
    assert [bar.title for bar in chart.bars] == ["2026-01-01, a: 3", "2026-01-01, b: 1", "2026-01-02, b: 4"]
    first, second, third = chart.bars
    assert second.y + second.height == pytest.approx(first.y)
    assert first.height + second.height == pytest.approx(third.height)
    assert all(bar.x >= 0 and bar.x + bar.width <= chart.width for bar in chart.bars)


def test_failures_are_told_with_their_messages() -> None:
    sample = Sample((Message("locked", 7), Message(None, 3)), (), 0)
    (found,) = diagnose(a_row(tally=Tally(updated=90, failed=10)), sample, [])
    assert found.level == "bad"
    assert "10 of 100 records failed (10 %)" in found.text
    assert [(text, count) for text, count, _ in found.items] == [("locked", 7), ("no message given", 3)]


def test_nothing_processed_tells_the_filter() -> None:
    row = a_row(tally=Tally(), operation=an_operation(details=b'{"filter":"country is FR"}'))
    (found,) = diagnose(row, NOTHING, [])
    assert found.text.endswith("The filter was: country is FR")


def test_unmodified_lost_and_empty_fields_are_told() -> None:
    sample = Sample((), (FieldSample("phone", 9, 4, 4), FieldSample("fax", 5, 5, 0), FieldSample("name", 9, 1, 0)), 9)
    found = diagnose(a_row(tally=Tally(updated=40, unmodified=60)), sample, [])
    assert [(one.level, [item[:2] for item in one.items]) for one in found] == [
        ("warn", [("phone", 4)]), ("warn", [("fax", 5)]), ("info", []),
    ]  # fmt: skip


def test_run_far_from_the_templates_habit_is_unusual() -> None:
    earlier = [a_row(tally=Tally(updated=100 + number, failed=1)) for number in range(5)]
    assert diagnose(a_row(tally=Tally(updated=103)), NOTHING, earlier) == []
    assert "far more than" in diagnose(a_row(tally=Tally(updated=900)), NOTHING, earlier)[0].text
    assert "far fewer than" in diagnose(a_row(tally=Tally(updated=9)), NOTHING, earlier)[0].text
    failing = diagnose(a_row(tally=Tally(updated=80, failed=20)), NOTHING, earlier)
    assert any("in the 5 runs of this template before it at most" in one.text for one in failing)
    slow = a_row(tally=Tally(updated=103), finished_at=BEGAN + timedelta(hours=1))
    assert "It took 1 h" in diagnose(slow, NOTHING, earlier)[0].text
    assert diagnose(slow, NOTHING, earlier[:3]) == [], "three runs are no habit"


def test_sample_tells_what_was_lost_from_what_was_never_there() -> None:
    standard = Change(1, "r", 1, "contact", "1", "update", "succeeded", BEGAN, BEGAN)
    changes = [
        replace(standard, before=b'{"a":"x","b":null}', after=b'{"a":"","b":null}'),
        replace(standard, before=b'{"a":"x"}', after=b"{}"),
        replace(standard, action="delete", before=b'{"a":"x"}'),
    ]
    assert sample_fields(changes) == (FieldSample("a", 2, 2, 2), FieldSample("b", 1, 1, 0))


@pytest.mark.parametrize(
    ("details", "total"),
    [(b'{"total":400}', 400), (b'{"total":"400"}', None), (b'{"total":-1}', None), (b'{"total":1e9}', None),
     (None, None)],
)  # fmt: skip
def test_progress_knows_the_total_that_the_producer_told(details: bytes | None, total: int | None) -> None:
    row = a_row(status="running", finished_at=None, operation=an_operation(details=details))
    assert progress_of(row, BEGAN + timedelta(seconds=50)) == Progress(100, total, 2.0)
    assert progress_of(a_row(), BEGAN) is None
