"""Many writers and readers at once: positions 1 to n with no gap, visible in their order, accounts apart."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from ledger.embedded import DatabaseUrls
from ledger.errors import Unavailable
from ledger.store.database import Database
from ledger.store.recorder import Recorder
from ledger.store.rows import BLOCK_ROWS, NewEvent
from tests.examples import add_account, opened

APPENDS = 40
WAIT_S = 30.0


def some_events(number: int) -> list[NewEvent]:
    stream = uuid4().bytes
    return [NewEvent(stream, None, "test-event", "", index, None, b"{}") for index in range(number)]


def append_many(service_url: str, account_id: UUID, appends: int) -> list[tuple[int, int]]:
    """First and last positions of `appends` appends of 1 to 7 events."""
    with opened(service_url, pool_size_max=2) as database:
        recorder = Recorder(database, account_id)
        done = [recorder.append(some_events(1 + index % 7)) for index in range(appends)]
    return [(appended.first, appended.last) for appended in done]


def append_in_process(service_url: str, account_id: UUID, appends: int, results: Any) -> None:
    results.put(append_many(service_url, account_id, appends))


def positions_of(ranges: list[tuple[int, int]]) -> list[int]:
    return sorted(position for first, last in ranges for position in range(first, last + 1))


class Readers:
    """Threads that read one account's log again and again and note every hole and every step back they see."""

    def __init__(self, database: Database, account_id: UUID, number: int) -> None:
        self._recorder = Recorder(database, account_id)
        self._stop = threading.Event()
        self.faults: list[str] = []
        self.looks = 0
        self._threads = [threading.Thread(target=self._read) for _ in range(number)]

    def __enter__(self) -> Readers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _read(self) -> None:
        seen = 0
        while not self._stop.is_set():
            rows = self._recorder.read_after(seen)
            found = [row.position for row in rows]
            if found != list(range(seen + 1, seen + 1 + len(found))):
                self.faults.append(f"after {seen}: {found}")
            seen += len(found)
            head = self._recorder.max_notification_id() or 0
            if head < seen:
                self.faults.append(f"head {head} behind the events up to {seen}")
            self.looks += 1


def test_writers_and_readers_of_one_account_in_threads_and_processes(database: DatabaseUrls) -> None:
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    with opened(database.service_url) as store:
        account_id = add_account(store)
        others = [
            context.Process(target=append_in_process, args=(database.service_url, account_id, APPENDS, results))
            for _ in range(2)
        ]
        with Readers(store, account_id, 3) as readers, ThreadPoolExecutor(4) as threads:
            for process in others:
                process.start()
            own = [threads.submit(append_many, database.service_url, account_id, APPENDS) for _ in range(4)]
            ranges = [taken for future in own for taken in future.result()]
            ranges += [taken for _ in others for taken in results.get(timeout=60)]
        for process in others:
            process.join()
        head = Recorder(store, account_id).max_notification_id()
    assert readers.faults == []
    assert readers.looks > 0
    assert positions_of(ranges) == list(range(1, 6 * sum(1 + index % 7 for index in range(APPENDS)) + 1))
    assert head == len(positions_of(ranges))


def test_writers_of_many_accounts_each_get_their_own_positions(database: DatabaseUrls) -> None:
    with opened(database.service_url) as store:
        accounts = [add_account(store, f"account-{number}") for number in range(6)]
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda account: append_many(database.service_url, account, APPENDS), accounts))
    expected = list(range(1, sum(1 + index % 7 for index in range(APPENDS)) + 1))
    assert [positions_of(ranges) for ranges in found] == [expected] * 6


def test_an_append_does_not_wait_for_another_account(database: DatabaseUrls) -> None:
    with opened(database.service_url) as store:
        held, free = add_account(store, "held"), add_account(store, "free")
        with store.transaction(held) as connection:
            connection.execute("SELECT head FROM accounts FOR UPDATE")
            with ThreadPoolExecutor(1) as threads:
                appended = threads.submit(Recorder(store, free).append, some_events(3)).result(timeout=WAIT_S)
    assert (appended.first, appended.last) == (1, 3)


def test_an_append_waits_for_the_one_before_it_of_the_same_account(database: DatabaseUrls) -> None:
    with opened(database.service_url) as store, psycopg.connect(database.owner_url, autocommit=True) as watcher:
        account_id = add_account(store)
        recorder = Recorder(store, account_id)
        with ThreadPoolExecutor(1) as threads:
            with store.transaction(account_id) as connection:
                connection.execute("SELECT head FROM accounts FOR UPDATE")
                later = threads.submit(recorder.append, some_events(2))
                until(lambda: waiting_for_locks(watcher) == 1)
                assert recorder.read_after(0) == []
            assert later.result(timeout=WAIT_S).last == 2


def waiting_for_locks(watcher: psycopg.Connection[Any]) -> int:
    row = watcher.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchone()
    assert row is not None
    return int(row[0])


def until(holds: Callable[[], bool]) -> None:
    """Returns when the condition holds; the test's own timeout is the limit."""
    while not holds():
        pass


def dies_in_between(database: DatabaseUrls, number: int) -> Iterator[list[NewEvent]]:
    """Blocks of events; the writer's connection is killed when the first ones are on their way."""
    yield some_events(BLOCK_ROWS)
    with psycopg.connect(database.owner_url, autocommit=True) as killer:
        killed = killer.execute(
            "SELECT count(pg_terminate_backend(pid, 30000)) FROM pg_stat_activity"
            " WHERE datname = current_database() AND query LIKE 'COPY events%'"
        ).fetchone()
    assert killed == (1,)
    for _ in range(number - 1):
        yield some_events(BLOCK_ROWS)


def test_a_writer_killed_in_the_middle_of_its_copy_leaves_nothing(database: DatabaseUrls) -> None:
    with opened(database.service_url) as store:
        recorder = Recorder(store, add_account(store))
        recorder.append(some_events(3))
        with pytest.raises(Unavailable):
            recorder.append_blocks(50 * BLOCK_ROWS, dies_in_between(database, 50))
        assert [row.position for row in recorder.read_after(0)] == [1, 2, 3]
        assert recorder.append(some_events(2)).first == 4


def test_an_exception_while_events_are_made_leaves_nothing(database: DatabaseUrls) -> None:
    def breaks() -> Iterator[list[NewEvent]]:
        yield some_events(BLOCK_ROWS)
        raise LookupError("made half of it")

    with opened(database.service_url) as store:
        recorder = Recorder(store, add_account(store))
        with pytest.raises(LookupError):
            recorder.append_blocks(2 * BLOCK_ROWS, breaks())
        assert recorder.read_after(0) == []
        assert recorder.append(some_events(1)).last == 1


def test_recorded_at_never_goes_back_even_when_the_clock_does(database: DatabaseUrls) -> None:
    with opened(database.service_url) as store:
        account_id = add_account(store)
        recorder = Recorder(store, account_id)
        first = recorder.append(some_events(1))
        with psycopg.connect(database.owner_url) as owner:  # as if the machine's clock had been a day ahead
            ahead = owner.execute(
                "UPDATE accounts SET head_at = head_at + interval '1 day' RETURNING head_at"
            ).fetchone()
        second = recorder.append(some_events(1))
    assert ahead is not None
    assert first.recorded_at < second.recorded_at == ahead[0]
