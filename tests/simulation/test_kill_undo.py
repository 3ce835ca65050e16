"""A real `ledger serve` is killed (SIGKILL) in the middle of an undo begun over HTTP; another is started, the undo is
told as interrupted, and resumed. In the end the state is right and nothing was written twice.
"""

from __future__ import annotations

import random
import socket
import subprocess
import time
from collections.abc import Callable
from typing import Any

import psycopg
import pytest

import bootstrap
from ledger.connectors.registry import Target
from ledger.domain.operation import Operation
from ledger.embedded import DatabaseUrls
from ledger.sending.http import HttpChannel
from ledger.sending.undos import Undos
from tests.command import Command
from tests.examples import ndjson

RECORDS = {"ledger": 30_000, "postgres": 10_000}
"""So many that an undo takes some seconds: several batches of 8,000 events, or many of 2,000 rows."""
WAIT_S = 60.0

Count = Callable[[], int]
_OWN_EVENTS = "SELECT count(*) FROM events WHERE run_id <> 'r-1' AND topic = 'record-updated'"
_TABLE = """
    CREATE TABLE customers (id int PRIMARY KEY, n int);
    CREATE TABLE writes (id int, transaction bigint);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN INSERT INTO writes VALUES (NEW.id, txid_current()); RETURN NEW; END $$;
"""


@pytest.mark.parametrize(
    ("kind", "kills"),
    [("ledger", 1), ("postgres", 1), *(pytest.param(kind, 5, marks=pytest.mark.long) for kind in RECORDS)],
)
def test_killed_in_an_undo_it_is_resumed_and_writes_nothing_twice(
    database: DatabaseUrls, seed: int, kind: str, kills: int
) -> None:
    chance, number = random.Random(seed), RECORDS[kind]
    token = _history(database, kind, number)
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        count = _counter(connection, kind)
        port = _free_port()
        channel = HttpChannel(f"http://127.0.0.1:{port}", token)
        undos = Undos(channel)
        server = _serve(database, port)
        try:
            undo_id = undos.undo("r-1")["undo_id"]
            killed = 0
            for share in sorted(chance.uniform(0.01, 0.9) for _ in range(kills)):
                _wait_until(lambda share=share: count() >= share * number or _has_ended(connection, undo_id))  # type: ignore[misc]
                server.kill()
                server.wait()
                killed += not _has_ended(connection, undo_id)
                server = _serve(database, port)
                _resume(undos, undo_id)
            result = undos.wait(undo_id)
            row = _row(channel, "r-1")
        finally:
            channel.close()
            server.terminate()
            server.wait()
        assert killed > 0, f"seed {seed}: the undo had ended before each kill"
        assert (result["status"], result["counts"]["applied"]) == ("completed", number), (
            f"seed {seed}: {result['counts']}"
        )
        assert (row["undone_by"], row["undo_state"]) == ([undo_id], "undone")
        _check_once(connection, kind, number, seed)


def _history(database: DatabaseUrls, kind: str, number: int) -> str:
    """A run that set n of each record from -1 to its number, in the target too. A token of an operator."""
    services = bootstrap.connect(database.service_url, flush_each_commit=False)
    try:
        account_id = services.accounts().add("default").account_id
        target = None
        if kind == "postgres":
            target = "shop"
            with psycopg.connect(database.owner_url) as connection:
                connection.execute(_TABLE)
                connection.execute("INSERT INTO customers SELECT i, i FROM generate_series(1, %s) i", (number,))
                connection.execute("CREATE TRIGGER note AFTER UPDATE ON customers FOR EACH ROW EXECUTE FUNCTION note()")
            settings = {"dsn": database.owner_url, "tables": {"customer": "customers"}}
            services.targets(account_id).add(Target("shop", "postgres", settings))
        ledger = services.ledger(account_id)
        ledger.start_run(Operation(object_type="customer", target=target), run_id="r-1")
        lines = (
            {"record_id": str(each), "action": "update", "before": {"n": -1}, "after": {"n": each}}
            for each in range(1, number + 1)
        )
        ledger.record_changes("r-1", [ndjson(lines)])
        ledger.finish_run("r-1")
        services.flush(account_id)
        return services.tokens(account_id).make("operator", "ann")[0]
    finally:
        services.close()


def _counter(connection: psycopg.Connection[Any], kind: str) -> Count:
    """How many records were written back until now."""
    query = _OWN_EVENTS if kind == "ledger" else "SELECT count(*) FROM writes"
    return lambda: int(connection.execute(query).fetchone()[0])  # type: ignore[index]


def _check_once(connection: psycopg.Connection[Any], kind: str, number: int, seed: int) -> None:
    events = connection.execute(
        "SELECT count(*), count(DISTINCT originator_id) FROM events WHERE run_id <> 'r-1' AND topic = 'record-updated'"
    ).fetchone()
    assert events == (number, number), f"seed {seed}"
    if kind == "postgres":
        written = connection.execute("SELECT count(*), count(DISTINCT id) FROM writes").fetchone()
        assert written == (number, number), f"seed {seed}"
        assert connection.execute("SELECT DISTINCT n FROM customers").fetchall() == [(-1,)], f"seed {seed}"
    else:
        values = connection.execute(
            "SELECT DISTINCT convert_from(payload, 'UTF8')::json ->> 'after' FROM events"
            " WHERE run_id <> 'r-1' AND topic = 'record-updated'"
        ).fetchall()
        assert values == [('{"n":-1}',)], f"seed {seed}"


def _resume(undos: Undos, undo_id: str) -> None:
    """As an operator does: sees that it is interrupted, and resumes it. It never looks as running for ever."""
    states = set()

    def is_idle() -> bool:
        states.add(undos.result(undo_id)["status"])
        return bool(states - {"running"})

    _wait_until(is_idle)
    assert states - {"running"} <= {"interrupted", "completed"}
    assert undos.resume(undo_id)["status"] in ("running", "completed")


def _row(channel: HttpChannel, run_id: str) -> dict[str, Any]:
    """The run as the tracker shows it."""
    found: dict[str, Any] = {}

    def is_shown() -> bool:
        rows = channel.ask("GET", "/runs?undo_state=undone")["runs"]
        found.update(next((row for row in rows if row["run_id"] == run_id), {}))
        return bool(found)

    _wait_until(is_shown)
    return found


def _has_ended(connection: psycopg.Connection[Any], undo_id: str) -> bool:
    query = "SELECT FROM events WHERE run_id = %s AND topic = 'run-finished'"
    return connection.execute(query, (undo_id,)).fetchone() is not None


def _wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not holds():
        assert time.monotonic() < deadline, "it never came so far"
        time.sleep(0.005)


def _serve(database: DatabaseUrls, port: int) -> subprocess.Popen[bytes]:
    command = Command(urls=database)
    return command.start("serve", "--port", port, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
