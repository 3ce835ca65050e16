"""Run IDs that sort and travel; stream names that never meet."""

from __future__ import annotations

import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import InputError
from ledger.ids import (
    ACCOUNT_NAMESPACE,
    account_id_of,
    check_run_id,
    make_run_id,
    outcome_stream_id,
    record_stream_bytes,
    record_stream_id,
    run_stream_id,
)

ACCOUNT = account_id_of("default")
TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)


def test_made_run_ids_sort_by_time() -> None:
    moments = [0, 1, 1_000, 1_700_000_000_000, 1_700_000_000_001, 2**48 - 1]
    made = [make_run_id(moment) for moment in moments]
    assert made == sorted(made)
    assert len({make_run_id(1_700_000_000_000) for _ in range(1_000)}) == 1_000


def test_made_run_ids_are_short_and_safe() -> None:
    for _ in range(100):
        made = make_run_id()
        assert re.fullmatch(r"[0-9a-hjkmnp-tv-z]{18}", made)
        assert check_run_id(made) == made


@pytest.mark.parametrize("given_id", ["a", "A-Z_0.9~:", "x" * 128, ".a", "..."[:1] + "b"])
def test_given_run_ids_that_are_taken(given_id: str) -> None:
    assert check_run_id(given_id) == given_id


@pytest.mark.parametrize(
    "given_id", ["", ".", "..", "x" * 129, "a b", "a/b", "a\\b", "ä", "a\n", "a\0", "\ud800", "a%2F", "<a>", "٣"]
)
def test_given_run_ids_that_are_refused(given_id: str) -> None:
    with pytest.raises(InputError) as raised:
        check_run_id(given_id)
    problem = raised.value.problems[0]
    assert (problem.pointer, problem.found) == ("/run_id", repr(given_id[:140]))


@given(TEXT, TEXT)
def test_stream_ids_are_uuids_of_version_5(first: str, second: str) -> None:
    assert account_id_of(first) == uuid.uuid5(ACCOUNT_NAMESPACE, first)
    assert run_stream_id(ACCOUNT, first) == uuid.uuid5(ACCOUNT, f"run/{first}")
    assert outcome_stream_id(ACCOUNT, first) == uuid.uuid5(ACCOUNT, f"run-outcomes/{first}")
    name = f"record/{len(first)}/{first}/{second}"
    assert record_stream_id(ACCOUNT, first, second) == uuid.uuid5(ACCOUNT, name)
    assert record_stream_bytes(ACCOUNT.bytes, first, second) == uuid.uuid5(ACCOUNT, name).bytes


SLASHED = st.text("a/é1", min_size=1, max_size=6)


@given(SLASHED, SLASHED, SLASHED, SLASHED)
def test_records_share_a_stream_only_if_they_are_the_same(type1: str, id1: str, type2: str, id2: str) -> None:
    same = (type1, id1) == (type2, id2)
    assert (record_stream_id(ACCOUNT, type1, id1) == record_stream_id(ACCOUNT, type2, id2)) is same


def test_a_slash_in_a_name_does_not_join_two_records() -> None:
    assert record_stream_id(ACCOUNT, "a/b", "c") != record_stream_id(ACCOUNT, "a", "b/c")


def test_streams_of_a_run_a_record_and_another_account_are_apart() -> None:
    streams = {
        run_stream_id(ACCOUNT, "x"),
        outcome_stream_id(ACCOUNT, "x"),
        record_stream_id(ACCOUNT, "x", "x"),
        run_stream_id(account_id_of("other"), "x"),
    }
    assert len(streams) == 4
