"""The runner: every event in the rows exactly once, whatever crashes, whoever else works, whatever cannot be read."""

from __future__ import annotations

from threading import Barrier, Event, Thread
from typing import Any
from uuid import UUID

import psycopg
import pytest

from ledger.domain.operation import Operation
from ledger.embedded import DatabaseUrls
from ledger.errors import NotCaughtUp, Unavailable
from ledger.store.leases import take_lease
from ledger.store.rows import NewEvent
from projections.account import AccountProjections
from projections.events.batch import Batch, decode_rows
from projections.events.postgres import EventReader
from projections.port import Connection
from projections.progress import lag, wait_for
from projections.registry import FOLLOWER_NAMES, PROJECTION_NAMES, PROJECTIONS
from projections.runner import Follower
from projections.tracker.postgres import Tracker
from tests.examples import a_change, a_ledger, an_operation, changes, ndjson
from tests.projected import project, record_history, rows_of


class Crash(Unavailable):
    """The process dies here."""


class CrashingOnce:
    """The last projection of a batch, which crashes after its rows were written, in every second batch."""

    name = PROJECTIONS[-1].name

    def __init__(self) -> None:
        self.writes = 0

    def fold(self, batch: Batch) -> Any:
        return PROJECTIONS[-1].fold(batch)

    def write(self, connection: Connection, account_id: UUID, generation: int, rows: Any) -> None:
        self.writes += 1
        PROJECTIONS[-1].write(connection, account_id, generation, rows)
        if self.writes % 2:
            raise Crash

    def remove(self, connection: Connection, account_id: UUID, generation: int, limit: int) -> int:
        return PROJECTIONS[-1].remove(connection, account_id, generation, limit)


def test_batches_of_any_size_give_the_same_rows(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url, "one") as one, a_ledger(database.service_url, "two") as two:
        for ledger in (one, two):
            record_history(ledger)
        head = project(one)
        assert head == project(two, batch_events=7) == one.store.recorder.max_notification_id()
        without_account = [
            {table: [row.replace(str(ledger.account_id), "") for row in rows] for table, rows in found.items()}
            for ledger in (one, two)
            for found in [rows_of(database.owner_url, ledger.account_id)]
        ]
        for table in ("tracker_types", "tracker_values", "change_blocks", "activity_daily"):
            assert without_account[0][table] == without_account[1][table]
        assert len(without_account[0]["run_changes"]) == len(without_account[1]["run_changes"]) > 0


def test_crash_between_rows_and_commit_leaves_each_event_in_the_rows_once(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        record_history(ledger, runs=15)
        crashing = (*PROJECTIONS[:-1], CrashingOnce())
        crashes = 0
        while True:
            try:
                project(ledger, projections=crashing, batch_events=20)
                break
            except Crash:
                crashes += 1
        found = rows_of(database.owner_url, ledger.account_id)
        assert crashes > 5
        with psycopg.connect(database.owner_url) as connection:
            for table in found:
                connection.execute(f"DELETE FROM {table}")
            connection.execute("DELETE FROM projections")
        project(ledger)
        assert found == rows_of(database.owner_url, ledger.account_id)


def test_workers_at_the_same_account_do_each_batch_once(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        record_history(ledger, runs=30)
        start = Barrier(3)

        def work() -> None:
            start.wait()
            project(ledger, batch_events=5)

        workers = [Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        found = rows_of(database.owner_url, ledger.account_id)
        head = ledger.store.recorder.max_notification_id()
        assert {each.position for each in lag(ledger.store.recorder.database)} == {head}
        with psycopg.connect(database.owner_url) as connection:
            counted = connection.execute("SELECT count(*) FROM events WHERE sequence > 0").fetchone()
        assert counted == (len(found["run_changes"]),)


def test_followers_take_accounts_by_lease_and_follow_until_stopped(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        store, account = ledger.store.recorder.database, ledger.account_id
        stop = Event()
        followers = [Thread(target=Follower(store).follow, args=(stop,)) for _ in range(2)]
        for follower in followers:
            follower.start()
        try:
            for number in range(3):
                run_id = ledger.start_run(an_operation()).run.run_id
                ledger.record_changes(run_id, [changes(1, 10)])
                position = ledger.finish_run(run_id).position
                assert position is not None
                wait_for(store, account, position, 20)
                assert Tracker(store, account).get_run(run_id).tally.updated == 10, number
        finally:
            stop.set()
            for follower in followers:
                follower.join()
        with store.transaction(account) as connection:
            assert take_lease(connection, account, "follow", "a third worker", seconds=1)  # they gave it back


def test_lease_of_another_worker_keeps_a_follower_away_until_it_expires(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        store, account = ledger.store.recorder.database, ledger.account_id
        ledger.start_run(an_operation(), run_id="r")
        with store.transaction(account) as connection:
            assert take_lease(connection, account, "follow", "one that died", seconds=1_000)
        follower = Follower(store)
        follower.look_once()
        assert not rows_of_tracker(database, account)
        with store.transaction(account) as connection:
            assert take_lease(connection, account, "follow", "one that died", seconds=-1)
        follower.look_once()
        assert rows_of_tracker(database, account)


def rows_of_tracker(database: DatabaseUrls, account_id: UUID) -> list[str]:
    return rows_of(database.owner_url, account_id)["tracker"]


def test_event_that_cannot_be_read_stops_the_account_and_is_named(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger, a_ledger(database.service_url, "other") as other:
        store, account = ledger.store.recorder.database, ledger.account_id
        run_id = ledger.start_run(an_operation(), run_id="r").run.run_id
        ledger.record_changes(run_id, [changes(1, 20)])
        bad = ledger.store.recorder.append([NewEvent(bytes(16), 1, "from-the-future", "r", 0, None, b"{}")]).last
        ledger.record_changes(run_id, [changes(21, 30)])
        other.start_run(an_operation())
        Follower(store).look_once()
        stuck = [each for each in lag(store) if each.account == "default"]
        assert [(each.projection, each.position, each.failed_position) for each in stuck] == [
            (name, bad - 1, bad) for name in FOLLOWER_NAMES
        ]
        assert all("from-the-future" in (each.failure or "") for each in stuck)
        assert {each.behind for each in lag(store) if each.account == "other"} == {0}
        assert Tracker(store, account).get_run("r").tally.updated == 20
        with pytest.raises(NotCaughtUp, match="from-the-future"):
            wait_for(store, account, bad, 20)


class Failing(CrashingOnce):
    """Cannot process the change with the sequence 7."""

    def fold(self, batch: Batch) -> Any:
        if any(change.row.sequence == 7 for change in batch.changes):
            raise ValueError("seven")
        return super().fold(batch)

    def write(self, connection: Connection, account_id: UUID, generation: int, rows: Any) -> None:
        PROJECTIONS[-1].write(connection, account_id, generation, rows)


def test_projection_that_fails_stands_still_alone_and_goes_on_when_it_is_mended(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        store, account = ledger.store.recorder.database, ledger.account_id
        run_id = ledger.start_run(an_operation()).run.run_id
        ledger.record_changes(run_id, [changes(1, 20)])
        head = ledger.store.recorder.max_notification_id()
        failing = AccountProjections(store, account, (*PROJECTIONS[:-1], Failing()))
        assert failing.catch_up() == 7  # the run's beginning, then changes 1 to 6
        views = [each for each in lag(store) if each.projection in PROJECTION_NAMES]
        assert {each.projection: (each.position, each.failed_position) for each in views} == {
            name: (7, 8) if name == Failing.name else (head, None) for name in PROJECTION_NAMES
        }
        assert project(ledger) == head
        assert {each.failure for each in lag(store)} == {None}


def test_wait_for_a_position_that_nobody_projects_ends_with_how_far_it_is(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        position = ledger.start_run(an_operation()).position
        assert position is not None
        with pytest.raises(NotCaughtUp, match="at position 0, not yet at 1"):
            wait_for(ledger.store.recorder.database, ledger.account_id, position, 0.0)


def test_erased_changes_keep_their_place_in_the_run(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        run_id = ledger.start_run(an_operation()).run.run_id
        ledger.record_changes(run_id, [changes(1, 3)])
        store, account = ledger.store.recorder.database, ledger.account_id

        AccountProjections(store, account, PROJECTIONS).live()
        with store.transaction(account) as connection:
            batch = EventReader(account).read(connection, 0)
            assert batch is not None
            erased, _ = decode_rows(change.row._replace(payload=None) for change in batch.changes)
            for projection in PROJECTIONS:
                projection.write(connection, account, 1, projection.fold(batch._replace(changes=erased)))
        found = rows_of(database.owner_url, account)
        assert (len(found["run_changes"]), found["records"]) == (3, [])


def test_previews_are_no_news_of_any_record(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        run_id = ledger.start_run(Operation(mode="preview", object_type="contact")).run.run_id
        ledger.record_changes(run_id, [ndjson([a_change(1), a_change(2)])])
        project(ledger)
        found = rows_of(database.owner_url, ledger.account_id)
        assert (len(found["run_changes"]), found["records"]) == (2, [])
