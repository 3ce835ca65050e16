"""Rebuilding: the same rows again, beside the live ones, whatever goes on or crashes meanwhile."""

from __future__ import annotations

from threading import Event, Thread
from typing import Any
from uuid import UUID

import psycopg
import pytest

from ledger.embedded import DatabaseUrls
from ledger.errors import Conflict, IntegrityFailed, NotFound, Unavailable
from ledger.store.leases import take_lease
from projections.events.batch import Batch
from projections.port import Connection
from projections.progress import lag
from projections.rebuild import rebuild, sweep
from projections.registry import PROJECTION_NAMES, PROJECTIONS
from projections.tracking.postgres import generations
from tests.examples import a_ledger, an_operation, changes
from tests.projected import TABLES, project, record_history, rows_of

FIRST = dict.fromkeys(TABLES, 1)
SECOND = dict.fromkeys(TABLES, 2)


class Broken:
    """The tracker's projection with a fault that is not in the program that filled the live rows."""

    name = PROJECTIONS[0].name

    def __init__(self, error: Exception) -> None:
        self._error = error

    def fold(self, batch: Batch) -> Any:
        if batch.last > 20:
            raise self._error
        return PROJECTIONS[0].fold(batch)

    def write(self, connection: Connection, account_id: UUID, generation: int, rows: Any) -> None:
        PROJECTIONS[0].write(connection, account_id, generation, rows)

    def remove(self, connection: Connection, account_id: UUID, generation: int, limit: int) -> int:
        return PROJECTIONS[0].remove(connection, account_id, generation, limit)


def test_rebuilt_rows_equal_the_live_ones_and_the_old_ones_go(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        store, account = ledger.store.recorder.database, ledger.account_id
        record_history(ledger, with_undos=True)
        project(ledger, batch_events=23)
        live = rows_of(database.owner_url, account)
        assert [rebuild(store, account, name, batch_events=50) for name in PROJECTION_NAMES] == [2, 2, 2, 2]
        assert rows_of(database.owner_url, account, generations=FIRST) == live  # for readers who are at them
        assert rows_of(database.owner_url, account, generations=SECOND) == live
        sweep(store, account, older_than_s=0)
        assert rows_of(database.owner_url, account) == live
        views = [each for each in lag(store, account) if each.projection in PROJECTION_NAMES]
        assert {(each.generation, each.behind) for each in views} == {(2, 0)}


def test_rebuild_while_the_log_grows_and_a_follower_follows_loses_nothing(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        store, account = ledger.store.recorder.database, ledger.account_id
        record_history(ledger, runs=10)
        run_id = ledger.start_run(an_operation(), run_id="grows").run.run_id
        project(ledger)
        stop = Event()

        def follow() -> None:
            number = 0
            while not stop.is_set():
                number += 1
                ledger.record_changes(run_id, [changes(number, number)])
                project(ledger)

        follower = Thread(target=follow)
        follower.start()
        try:
            for generation in (2, 3, 4):
                for name in PROJECTION_NAMES:
                    assert rebuild(store, account, name, batch_events=10) == generation
                    sweep(store, account, older_than_s=0)
        finally:
            stop.set()
            follower.join()
        project(ledger)
        swapped = rows_of(database.owner_url, account)
        with psycopg.connect(database.owner_url) as connection:
            for table in (*TABLES, "projections"):
                connection.execute(f"DELETE FROM {table}")
        project(ledger)
        assert swapped == rows_of(database.owner_url, account)


def test_rebuild_that_crashed_is_begun_anew(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        store, account = ledger.store.recorder.database, ledger.account_id
        record_history(ledger)
        project(ledger)
        live = rows_of(database.owner_url, account)
        crashing = (Broken(Unavailable()), *PROJECTIONS[1:])
        with pytest.raises(Unavailable):
            rebuild(store, account, "tracker", projections=crashing, batch_events=10)
        assert rows_of(database.owner_url, account, generations={"tracker": 2})["tracker"]
        assert rebuild(store, account, "tracker") == 3
        sweep(store, account, older_than_s=0)
        assert rows_of(database.owner_url, account) == live
        with store.transaction(account) as connection:
            assert [each[1:3] for each in generations(connection, account) if each.name == "tracker"] == [(3, "live")]


def test_rebuild_that_meets_an_event_it_cannot_process_leaves_the_live_rows(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        store, account = ledger.store.recorder.database, ledger.account_id
        record_history(ledger)
        project(ledger)
        live = rows_of(database.owner_url, account)
        failing = (Broken(ValueError("not this one")), *PROJECTIONS[1:])
        with pytest.raises(IntegrityFailed, match="at position 21: ValueError: not this one"):
            rebuild(store, account, "tracker", projections=failing)
        assert rows_of(database.owner_url, account, generations=FIRST) == live
        assert {(each.generation, each.failure) for each in lag(store, account)} == {(1, None)}


def test_one_rebuild_of_a_projection_at_a_time(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        store, account = ledger.store.recorder.database, ledger.account_id
        with store.transaction(account) as connection:
            assert take_lease(connection, account, "rebuild tracker", "somebody", seconds=60)
        with pytest.raises(Conflict, match="being rebuilt already"):
            rebuild(store, account, "tracker")
        assert rebuild(store, account, "records") == 2
        with pytest.raises(NotFound, match="tracker, run_changes, records, activity_daily"):
            rebuild(store, account, "trackers")
