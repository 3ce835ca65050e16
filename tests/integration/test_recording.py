"""Recording runs: exactly once, in order, whole batches, whatever is repeated, cut off or sent at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ledger.domain.record import RecordEvent
from ledger.domain.run import Run, SystemFault
from ledger.domain.tally import Tally
from ledger.embedded import DatabaseUrls
from ledger.errors import (
    BadLine,
    Conflict,
    InputError,
    LedgerError,
    NotFound,
    OffsetTooHigh,
    RunEnded,
    RunExists,
    TooLarge,
    Unavailable,
)
from ledger.ids import outcome_stream_id, record_stream_id
from ledger.service import AccountLedger, RunOutcome
from ledger.store.mapper import decode_record, is_record_topic
from ledger.wire.changes import BATCH_LINES_MAX, LINE_BYTES_MAX
from tests.examples import a_change, a_ledger, add_account, an_operation, changes, ndjson, opened
from tests.faulty_link import Fault, faulty_link

RUN = "run-1"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def ledger(database: DatabaseUrls) -> Iterator[AccountLedger]:
    """The ledger of account `default` with a run `run-1` of contacts."""
    with a_ledger(database.service_url, pool_size_max=12) as opened_ledger:
        opened_ledger.start_run(an_operation(), run_id=RUN)
        yield opened_ledger


def recorded(ledger: AccountLedger, run_id: str = RUN) -> list[RecordEvent]:
    """The run's changes in the order of the log."""
    rows = ledger.store.recorder.read_after(0, limit=1_000_000)
    return [decode_record(row) for row in rows if row.run_id == run_id and is_record_topic(row.topic)]


def record_ids(ledger: AccountLedger, run_id: str = RUN) -> list[str | None]:
    return [event.record_id for event in recorded(ledger, run_id)]


def numbered(first: int, last: int) -> list[str]:
    return [f"r-{number}" for number in range(first, last + 1)]


# What is stored.


def test_a_change_is_stored_as_it_was_sent(ledger: AccountLedger) -> None:
    text = (
        b'{"record_id":"7","action":"merge","object_type":"deal","before":{"n":1.10,"b":1e400},'
        b'"after": {"n": 123456789012345678901234567890, "\\u00e9\\u0000": null},"message":"m","label":"l",'
        b'"link":"https://x.example","details":{"d":-0},"occurred_at":"2026-11-20T10:00:00.5+02:00"}'
    )
    accepted = ledger.record_changes(RUN, [text])
    (event,) = recorded(ledger)
    assert accepted == (1, 3)
    assert event._replace(recorded_at=None) == type(event)(
        originator_id=record_stream_id(ledger.account_id, "deal", "7"),
        originator_version=2,
        run_id=RUN,
        sequence=1,
        object_type="deal",
        record_id="7",
        action="merge",
        before=b'{"n":1.10,"b":1e400}',
        after='{"n":123456789012345678901234567890,"é\\u0000":null}'.encode(),
        occurred_at=datetime(2026, 11, 20, 8, 0, 0, 500_000, UTC),
        recorded_at=None,
        message="m",
        label="l",
        link="https://x.example",
        details=b'{"d":-0}',
        actor="Ann Example",
    )
    assert event.TOPIC == "record-updated"


def test_each_action_becomes_its_event_and_is_counted(ledger: AccountLedger) -> None:
    lines = [
        a_change(1),
        a_change(2, action="create", before=...),
        a_change(3, action="delete", after=...),
        a_change(4, action="none", before=..., after=...),
        a_change(5, action="associate"),
        a_change(6, result="failed", message="refused"),
        a_change(7, result="failed", record_id=...),
        a_change(8, before=None),
    ]
    ledger.record_changes(RUN, [ndjson(lines)])
    events = recorded(ledger)
    assert [event.TOPIC for event in events] == [
        "record-updated", "record-created", "record-deleted", "record-unmodified", "record-updated", "record-failed",
        "record-failed", "record-updated",
    ]  # fmt: skip
    assert [event.before for event in events[:4]] == [
        b'{"phone":"202 555 0100"}',
        None,
        b'{"phone":"202 555 0100"}',
        None,
    ]
    assert events[7].before == b"null", "a before value that is not known stays not known"
    assert ledger.store.load_run(RUN).tally == Tally(updated=2, created=1, deleted=1, unmodified=1, other=1, failed=2)


def test_a_failure_without_a_record_id_goes_to_the_runs_own_stream(ledger: AccountLedger) -> None:
    ledger.record_changes(RUN, [ndjson([a_change(1, result="failed", record_id=...), a_change(2, result="failed")])])
    streams = [event.originator_id for event in recorded(ledger)]
    assert streams == [
        outcome_stream_id(ledger.account_id, RUN),
        record_stream_id(ledger.account_id, "contact", "r-2"),
    ]


def test_a_previews_outcomes_never_reach_a_records_stream(ledger: AccountLedger) -> None:
    ledger.start_run(an_operation(mode="preview"), run_id="preview")
    ledger.record_changes("preview", [changes(1, 3)])
    events = recorded(ledger, "preview")
    assert {event.originator_id for event in events} == {outcome_stream_id(ledger.account_id, "preview")}
    assert all(event.preview and not event.changes_the_record for event in events)
    assert ledger.store.recorder.read_stream(record_stream_id(ledger.account_id, "contact", "r-1")) == []


def test_a_line_without_an_object_type_needs_one_of_its_run(ledger: AccountLedger) -> None:
    ledger.start_run(an_operation(object_type=None), run_id="mixed")
    ledger.record_changes("mixed", [changes(1, 1, object_type="deal")])
    with pytest.raises(BadLine, match="Line 2 has no object_type"):
        ledger.record_changes("mixed", [changes(2, 2, object_type="deal") + changes(3, 3)])
    assert [event.object_type for event in recorded(ledger, "mixed")] == ["deal"]


def test_an_array_is_recorded_as_lines_are(ledger: AccountLedger) -> None:
    assert ledger.record_changes(RUN, [json.dumps([a_change(1), a_change(2)]).encode()]).accepted == 2
    assert record_ids(ledger) == numbered(1, 2)


def test_a_body_without_changes_records_nothing(ledger: AccountLedger) -> None:
    assert ledger.record_changes(RUN, [b"\n"], offset=0) == (0, None)
    assert len(ledger.store.recorder.read_after(0)) == 1


# Exactly once.


def test_a_repeat_is_skipped(ledger: AccountLedger) -> None:
    ledger.record_changes(RUN, [changes(1, 5)], offset=0)
    assert ledger.record_changes(RUN, [changes(1, 5)], offset=0) == (5, None)
    assert ledger.record_changes(RUN, [changes(3, 4)], offset=2) == (5, None)
    assert record_ids(ledger) == numbered(1, 5)


def test_of_a_repeat_that_is_partly_new_the_new_part_is_recorded(ledger: AccountLedger) -> None:
    ledger.record_changes(RUN, [changes(1, 5)], offset=0)
    assert ledger.record_changes(RUN, [changes(4, 9)], offset=3).accepted == 9
    assert record_ids(ledger) == numbered(1, 9)


def test_a_repeat_that_spans_batches_goes_on_in_the_middle_of_one(ledger: AccountLedger) -> None:
    ledger.record_changes(RUN, [changes(1, BATCH_LINES_MAX + 10)], offset=0)
    accepted = ledger.record_changes(RUN, [changes(1, 2 * BATCH_LINES_MAX + 5)], offset=0).accepted
    assert accepted == 2 * BATCH_LINES_MAX + 5
    assert record_ids(ledger) == numbered(1, accepted)


def test_an_offset_above_what_was_accepted_is_refused_with_the_number(ledger: AccountLedger) -> None:
    ledger.record_changes(RUN, [changes(1, 5)], offset=0)
    with pytest.raises(OffsetTooHigh) as raised:
        ledger.record_changes(RUN, [changes(8, 9)], offset=7)
    assert raised.value.details == {"run_id": RUN, "accepted": 5}
    with pytest.raises(InputError, match="below 0"):
        ledger.record_changes(RUN, [changes(8, 9)], offset=-1)
    assert record_ids(ledger) == numbered(1, 5)


def test_without_an_offset_changes_are_added(ledger: AccountLedger) -> None:
    ledger.record_changes(RUN, [changes(1, 2)])
    ledger.record_changes(RUN, [changes(3, 4)])
    assert record_ids(ledger) == numbered(1, 4)


def test_many_senders_of_one_run_record_every_change_once_and_in_order(ledger: AccountLedger) -> None:
    total, piece = 400, 20
    ready = threading.Barrier(8)

    def send(sender: int) -> None:
        ready.wait()
        start = 0
        while start < total:
            last = min(total, start + piece + sender)  # bodies of different lengths, so that they overlap
            try:
                start = ledger.record_changes(RUN, [changes(start + 1, last)], offset=start).accepted
            except OffsetTooHigh as error:
                start = error.details["accepted"]
            except Conflict:
                continue  # others were faster five times in a row: the same again

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(send, range(8)))
    assert record_ids(ledger) == numbered(1, total)
    assert ledger.store.load_run(RUN).accepted == total


# Batches are whole; those before a bad one stay.


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (b'{"action":"update"}\n', BadLine),
        (b"not json\n", BadLine),
        (b'{"record_id":"x","action":"none","message":"\\ud800"}\n', BadLine),
        (b"x" * (LINE_BYTES_MAX + 1), TooLarge),
    ],
)
def test_a_bad_line_keeps_the_batches_before_it(ledger: AccountLedger, bad: bytes, error: type[LedgerError]) -> None:
    body = changes(1, BATCH_LINES_MAX + 600) + bad + changes(BATCH_LINES_MAX + 601, BATCH_LINES_MAX + 610)
    with pytest.raises(error) as raised:
        ledger.record_changes(RUN, [body], offset=0)
    assert raised.value.details == {"run_id": RUN, "accepted": BATCH_LINES_MAX}
    assert raised.value.problems[0].line == BATCH_LINES_MAX + 601
    assert record_ids(ledger) == numbered(1, BATCH_LINES_MAX)
    mended = changes(BATCH_LINES_MAX + 1, BATCH_LINES_MAX + 610)
    assert ledger.record_changes(RUN, [mended], offset=BATCH_LINES_MAX).accepted == BATCH_LINES_MAX + 610


def test_a_body_that_breaks_off_keeps_whole_batches_only(ledger: AccountLedger) -> None:
    def breaks_off() -> Iterator[bytes]:
        yield changes(1, BATCH_LINES_MAX + 100)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        ledger.record_changes(RUN, breaks_off(), offset=0)
    assert record_ids(ledger) == numbered(1, BATCH_LINES_MAX)


@pytest.mark.parametrize("fault", ["lost", "lost but done"])
def test_after_a_broken_commit_the_same_request_records_once(database: DatabaseUrls, fault: Fault) -> None:
    with faulty_link(database.service_url) as link, opened(link.url, pool_size_max=2) as store:
        ledger = AccountLedger(store, add_account(store))
        link.break_next(fault)
        with pytest.raises(Unavailable):
            ledger.start_run(an_operation(), run_id=RUN)
        outcome = ledger.start_run(an_operation(), run_id=RUN)
        assert (outcome.position is None) is (fault == "lost but done")

        link.break_next(fault)
        with pytest.raises(Unavailable):
            ledger.record_changes(RUN, [changes(1, 700)], offset=0)
        assert ledger.record_changes(RUN, [changes(1, 700)], offset=0).accepted == 700
        assert record_ids(ledger) == numbered(1, 700)

        link.break_next(fault)
        with pytest.raises(Unavailable):
            ledger.finish_run(RUN)
        assert ledger.finish_run(RUN).run.status == "finished"
        assert link.broken == 3
        topics = [row.topic for row in ledger.store.run_rows(RUN)]
        assert topics == ["run-started", "changes-recorded", "run-finished"]


# Starting.


def test_starting_the_same_run_twice_is_harmless(ledger: AccountLedger) -> None:
    again = ledger.start_run(an_operation(), run_id=RUN)
    assert again.position is None
    assert again.run.started_at == ledger.store.load_run(RUN).started_at
    assert len(ledger.store.run_rows(RUN)) == 1


@pytest.mark.parametrize("other", [{"module": "merge"}, {"details": b'{"a":1}'}, {"mode": "preview"}, {"user": None}])
def test_a_run_id_that_is_taken_by_other_facts_is_refused(ledger: AccountLedger, other: dict[str, Any]) -> None:
    with pytest.raises(RunExists, match=RUN):
        ledger.start_run(replace(an_operation(), **other), run_id=RUN)
    with pytest.raises(RunExists):
        ledger.start_run(an_operation(), run_id=RUN, started_at=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(RunExists):
        ledger.start_run(an_operation(), run_id=RUN, digest="0" * 64)


def race(ledger: AccountLedger, modules: list[str]) -> list[RunOutcome | LedgerError]:
    ready = threading.Barrier(len(modules))

    def start(module: str) -> RunOutcome | LedgerError:
        ready.wait()
        try:
            return ledger.start_run(an_operation(module=module), run_id="raced")
        except LedgerError as error:
            return error

    with ThreadPoolExecutor(len(modules)) as threads:
        return list(threads.map(start, modules))


def test_a_race_to_start_one_run_starts_it_once(ledger: AccountLedger) -> None:
    outcomes = race(ledger, ["format"] * 8)
    positions = [outcome.position for outcome in outcomes if isinstance(outcome, RunOutcome)]
    assert len(positions) == 8
    assert sorted(position for position in positions if position is not None) == [2]


def test_a_race_to_start_different_runs_under_one_id_has_one_winner(ledger: AccountLedger) -> None:
    outcomes = race(ledger, ["format", "merge", "import", "sync"])
    winners = [outcome for outcome in outcomes if isinstance(outcome, RunOutcome)]
    assert len(winners) == 1
    assert all(isinstance(outcome, RunExists) for outcome in outcomes if outcome not in winners)


def test_made_run_ids_are_used_where_none_is_given(ledger: AccountLedger) -> None:
    made = [ledger.start_run(an_operation()).run.run_id for _ in range(3)]
    assert len(set(made)) == 3
    assert all(ledger.store.load_run(run_id).run_id == run_id for run_id in made)


@pytest.mark.parametrize("run_id", ["", "..", "a b", "a/b", "x" * 129])
def test_an_unsafe_run_id_is_refused(ledger: AccountLedger, run_id: str) -> None:
    with pytest.raises(InputError, match="Run ID"):
        ledger.start_run(an_operation(), run_id=run_id)


# Recipes.


def test_a_recipe_is_started_before_its_children_and_has_no_changes(ledger: AccountLedger) -> None:
    with pytest.raises(NotFound, match="no recipe run recipe-1"):
        ledger.start_run(an_operation(recipe_run_id="recipe-1"))
    ledger.start_run(an_operation(kind="recipe"), run_id="recipe-1")
    child = ledger.start_run(an_operation(recipe_run_id="recipe-1")).run
    assert child.stamp_run_id == "recipe-1"
    with pytest.raises(Conflict, match="is a recipe"):
        ledger.record_changes("recipe-1", [changes(1, 1)])
    with pytest.raises(Conflict, match="is no recipe"):
        ledger.start_run(an_operation(recipe_run_id=RUN))


# Ending.


def test_finishing_ends_the_run_once(ledger: AccountLedger) -> None:
    ledger.record_changes(RUN, [changes(1, 2)])
    at = datetime(2026, 11, 23, tzinfo=UTC)
    first = ledger.finish_run(RUN, finished_at=at)
    second = ledger.finish_run(RUN, finished_at=at + timedelta(days=1))
    assert (first.position, second.position) == (5, None)
    assert (second.run.status, second.run.finished_at, second.run.accepted) == ("finished", at, 2)
    with pytest.raises(RunEnded):
        ledger.fail_run(RUN, "quota", "API quota exhausted")


def test_failing_keeps_what_was_recorded(ledger: AccountLedger) -> None:
    ledger.record_changes(RUN, [changes(1, 2)])
    failed = ledger.fail_run(RUN, "quota", "API quota exhausted")
    again = ledger.fail_run(RUN, "quota", "API quota exhausted")
    assert (failed.run.status, failed.run.error) == ("failed", SystemFault("quota", "API quota exhausted"))
    assert again.position is None
    with pytest.raises(RunEnded):
        ledger.finish_run(RUN)
    assert record_ids(ledger) == numbered(1, 2)


@pytest.mark.parametrize("end", ["finish", "fail"])
def test_an_ended_run_takes_no_changes_and_says_how_many_it_has(ledger: AccountLedger, end: str) -> None:
    ledger.record_changes(RUN, [changes(1, 2)])
    ledger.finish_run(RUN) if end == "finish" else ledger.fail_run(RUN, "quota", "API quota exhausted")
    with pytest.raises(RunEnded) as raised:
        ledger.record_changes(RUN, [changes(3, 4)], offset=2)
    assert raised.value.details["accepted"] == 2
    assert record_ids(ledger) == numbered(1, 2)


def test_a_run_finished_by_another_between_two_batches_takes_no_more(ledger: AccountLedger) -> None:
    def finishes_in_between() -> Iterator[bytes]:
        yield changes(1, BATCH_LINES_MAX + 1)
        ledger.finish_run(RUN)
        yield changes(BATCH_LINES_MAX + 2, BATCH_LINES_MAX + 9)

    with pytest.raises(RunEnded):
        ledger.record_changes(RUN, finishes_in_between(), offset=0)
    assert ledger.store.load_run(RUN).accepted == BATCH_LINES_MAX


@pytest.mark.parametrize("use_case", ["record_changes", "finish_run", "fail_run"])
def test_a_run_that_is_not_there_is_not_found(ledger: AccountLedger, use_case: str) -> None:
    arguments = {"record_changes": ([b"{}"],), "finish_run": (), "fail_run": ("code", "text")}[use_case]
    with pytest.raises(NotFound, match="no run ghost"):
        getattr(ledger, use_case)("ghost", *arguments)


def test_an_account_that_is_not_there_is_not_found(database: DatabaseUrls) -> None:
    with opened(database.service_url) as store, pytest.raises(NotFound, match="no such account"):
        AccountLedger(store, outcome_stream_id(add_account(store), "nobody")).start_run(an_operation())


def test_runs_of_two_accounts_with_one_id_are_two_runs(database: DatabaseUrls) -> None:
    with opened(database.service_url) as store:
        ledgers = [AccountLedger(store, add_account(store, name)) for name in ("one", "two")]
        for number, ledger in enumerate(ledgers, 1):
            assert ledger.start_run(an_operation(), run_id=RUN).position == 1
            ledger.record_changes(RUN, [changes(1, number)])
        assert [ledger.store.load_run(RUN).accepted for ledger in ledgers] == [1, 2]
        runs: list[Run] = [ledger.store.load_run(RUN) for ledger in ledgers]
        assert runs[0].id != runs[1].id


# Memory.

STREAMING = """
import resource, sys
from tests.examples import a_ledger, an_operation, changes

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

def blocks(first, last):
    for start in range(first, last, 1_000):
        yield changes(start, start + 999)

with a_ledger(sys.argv[1]) as ledger:
    ledger.start_run(an_operation(), run_id="big")
    ledger.record_changes("big", blocks(1, 30_000))
    early = peak()
    accepted = ledger.record_changes("big", blocks(30_001, 300_000)).accepted
    print(accepted, early, peak())
"""


def test_memory_does_not_grow_with_the_number_of_changes(database: DatabaseUrls) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STREAMING, database.service_url], cwd=ROOT, capture_output=True, text=True, check=True
    )
    accepted, early_mb, late_mb = map(float, done.stdout.split())
    assert accepted == 300_000
    assert late_mb - early_mb < 10, f"{early_mb:.0f} MB after 30,000 changes, {late_mb:.0f} MB after 300,000"
