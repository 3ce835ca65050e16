"""The counts and their two sums."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from ledger.domain.tally import TALLY_COUNTS, Tally, tally_of

COUNTS = st.integers(min_value=0, max_value=10**12)
TALLIES = st.builds(Tally, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS, COUNTS)


def test_each_action_and_result_is_counted_in_its_place() -> None:
    outcomes = {
        ("update", "succeeded"): 1,
        ("create", "succeeded"): 2,
        ("delete", "succeeded"): 3,
        ("none", "succeeded"): 4,
        ("merge", "succeeded"): 5,
        ("associate", "succeeded"): 6,
        ("update", "failed"): 7,
        ("merge", "failed"): 8,
        ("none", "failed"): 9,
    }
    tally = tally_of(outcomes)
    assert tally == Tally(updated=1, created=2, deleted=3, unmodified=4, other=11, failed=24)
    assert tally.as_dict() == {
        "updated": 1, "created": 2, "deleted": 3, "unmodified": 4, "other": 11, "failed": 24,
        "succeeded": 21, "processed": 45,
    }  # fmt: skip


@given(TALLIES, TALLIES)
def test_sums_hold_and_add(one: Tally, other: Tally) -> None:
    both = one + other
    assert both.succeeded == one.succeeded + other.succeeded
    assert both.processed == both.succeeded + both.failed == one.processed + other.processed
    assert both == other + one
    assert one + Tally() == one
    assert list(both.as_dict()) == [*TALLY_COUNTS, "succeeded", "processed"]
