"""What the benchmarks share: a database of their own, changes to send, the limit to compare with, the last line.

The machine is shared and noisy: every figure that counts is a ratio of two things measured in turn in one run.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg

import bootstrap
from bootstrap import Services
from ledger import embedded
from ledger.embedded import DatabaseUrls
from ledger.ids import account_id_of
from ledger.store.rows import COPY_EVENTS
from migrations.migrate import migrate

BLOCK_BYTES = 256 * 1024
_COLUMNS = COPY_EVENTS[COPY_EVENTS.index("(") + 1 : COPY_EVENTS.index(")")]
_COPY_OUT = (
    f"COPY (SELECT {_COLUMNS} FROM events WHERE account_id = '{{}}' ORDER BY position) TO STDOUT (FORMAT BINARY)"
)

_RENEW = """
    UPDATE fresh SET position = position + %(offset)s, originator_id = gen_random_uuid(),
    originator_version = originator_version + %(offset)s
"""


@contextmanager
def fresh_database() -> Iterator[DatabaseUrls]:
    """A migrated, durable, embedded database in a temporary folder, gone afterwards."""
    home = Path(tempfile.mkdtemp(prefix="ledger-bench-"))
    home.chmod(0o711)
    try:
        with embedded.database(home) as urls:
            migrate(urls.owner_url)
            yield urls
        embedded.wait_until_stopped(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def services_on(urls: DatabaseUrls) -> Iterator[Services]:
    """The services, in a process tuned as `ledger serve` is."""
    services = bootstrap.connect(urls.service_url)
    bootstrap.tune_process()
    try:
        yield services
    finally:
        services.close()


def new_account(services: Services, name: str) -> UUID:
    services.accounts().ensure(name)
    return account_id_of(name)


def change_lines(number: int) -> bytes:
    """NDJSON of `number` updates of about 200 bytes each, of records with random ids."""
    random = os.urandom(6 * number).hex()
    lines = (
        f'{{"record_id":"003{random[12 * i : 12 * i + 12]}","action":"update",'
        f'"before":{{"email":"person{i}@Example.com","phone":"202 555 {i % 10_000:04}","score":{i % 97}}},'
        f'"after":{{"email":"person{i}@example.com","phone":"+1202555{i % 10_000:04}","score":{i % 89}}},'
        f'"label":"person{i}@example.com"}}\n'
        for i in range(number)
    )
    return "".join(lines).encode()


def blocks_of(body: bytes) -> Iterator[bytes]:
    """A body as it comes in from a network."""
    return (body[start : start + BLOCK_BYTES] for start in range(0, len(body), BLOCK_BYTES))


class CopyLimit:
    """The limit: a bare binary COPY of an account's event rows into a table with the same columns and indexes."""

    def __init__(self, owner_url: str, account_id: UUID) -> None:
        self._connection = psycopg.connect(owner_url, autocommit=True)
        self._connection.execute("CREATE TABLE IF NOT EXISTS copy_limit (LIKE events INCLUDING ALL)")
        with self._connection.cursor().copy(_COPY_OUT.format(account_id)) as copy:
            self._data = b"".join(map(bytes, copy))
        row = self._connection.execute("SELECT count(*) FROM events WHERE account_id = %s", (account_id,)).fetchone()
        assert row is not None
        self.rows = int(row[0])
        self._offset = 0

    def measure(self) -> float:
        """Rows a second, into the emptied table."""
        self._connection.execute("TRUNCATE copy_limit")
        return self.rows / seconds(self._copy)

    def grow_to(self, rows: int) -> None:
        """Fills the table up to as many rows, none of them the same."""
        found = self._connection.execute("SELECT count(*) FROM copy_limit").fetchone()
        assert found is not None
        for _ in range(max(0, rows - int(found[0])) // self.rows):
            self.measure_more()

    def measure_more(self) -> float:
        """Rows a second, added to what is there: the same rows at fresh positions, in fresh streams."""
        self._connection.execute("CREATE TEMPORARY TABLE IF NOT EXISTS fresh (LIKE events)")
        self._connection.execute("TRUNCATE fresh")
        self._copy("fresh")
        self._connection.execute(_RENEW, {"offset": self._offset})
        self._offset += self.rows
        with self._connection.cursor().copy(f"COPY (SELECT {_COLUMNS} FROM fresh) TO STDOUT (FORMAT BINARY)") as copy:
            renewed = b"".join(map(bytes, copy))
        return self.rows / seconds(lambda: self._copy("copy_limit", renewed))

    def close(self) -> None:
        self._connection.execute("DROP TABLE IF EXISTS copy_limit")
        self._connection.close()

    def _copy(self, table: str = "copy_limit", data: bytes | None = None) -> None:
        with self._connection.cursor().copy(COPY_EVENTS.replace("events", table, 1)) as copy:
            for block in blocks_of(self._data if data is None else data):
                copy.write(block)


def seconds(work: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def middle(values: Sequence[float]) -> float:
    return statistics.median(values)


def conclude(benchmark: str, ratios: Mapping[str, float], goals: Mapping[str, str], **facts: Any) -> None:
    """Prints the last line. A goal is ">= 0.5" or "<= 1.3", under the name of its ratio; ends the program with status 1
    where one is not met."""
    met = all(_holds(ratios[name], goal) for name, goal in goals.items())
    rounded = {name: round(value, 3) for name, value in ratios.items()}
    print(json.dumps({"benchmark": benchmark, "ratios": rounded, "goals": dict(goals), "met": met, **facts}))
    sys.exit(0 if met else 1)


def _holds(value: float, goal: str) -> bool:
    relation, bound = goal.split()
    return value >= float(bound) if relation == ">=" else value <= float(bound)
