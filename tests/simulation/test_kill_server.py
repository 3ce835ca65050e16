"""A real `ledger serve` is killed (SIGKILL) in the middle of an import over HTTP, again and again; the client goes on.

In the end: not one acknowledged change lost, none twice, the tally equal.
"""

from __future__ import annotations

import json
import random
import socket
import subprocess
import threading
import time
from typing import Any

import psycopg

from ledger.client import Producer
from ledger.embedded import DatabaseUrls
from ledger.sending.http import HttpChannel
from tests.command import Command

KILLS = 10
CHANGES = 30_000
FLUSH_EVERY = 250
"""Lines: some 120 requests, so that a kill meets them in every phase."""
FOUND = """
    SELECT sequence, convert_from(payload, 'UTF8') FROM events WHERE topic = 'record-created' ORDER BY position
"""


def test_killed_server_loses_and_repeats_nothing(database: DatabaseUrls, seed: int) -> None:
    chance = random.Random(seed)
    ledger = Command(urls=database)
    ledger("account", "add", "default")
    token = ledger("token", "make", "producer").stdout.decode().strip()
    sender = _Sender(_free_port(), token)
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        server = _serve(ledger, sender.port)
        try:
            sender.start()
            for share in sorted(chance.uniform(0.01, 0.95) for _ in range(KILLS)):
                while _head(connection) < share * CHANGES and sender.is_alive():
                    time.sleep(0.001)
                server.kill()
                server.wait()
                acknowledged = sender.acknowledged
                assert len(connection.execute(FOUND).fetchall()) >= acknowledged, f"seed {seed}"
                server = _serve(ledger, sender.port)
            sender.join()
        finally:
            server.terminate()
            server.wait()
        rows = connection.execute(FOUND).fetchall()
    assert sender.error is None, f"seed {seed}: {sender.error!r}"
    assert [sequence for sequence, _ in rows] == list(range(1, CHANGES + 1)), f"seed {seed}"
    assert [json.loads(payload)["record_id"] for _, payload in rows] == [str(each) for each in range(CHANGES)]
    assert sender.summary["tally"]["created"] == sender.summary["tally"]["processed"] == CHANGES
    ledger("project", "--once")
    row = ledger("show", sender.summary["run_id"], "--json").document
    assert (row["status"], row["tally"]["created"]) == ("finished", CHANGES)


class _Sender(threading.Thread):
    """A producer's program: one run of CHANGES creates."""

    def __init__(self, port: int, token: str) -> None:
        super().__init__()
        self.port = port
        self.acknowledged = 0
        self.error: BaseException | None = None
        self.summary: Any = None
        self._channel = HttpChannel(
            f"http://127.0.0.1:{port}", token, pause=lambda seconds: time.sleep(min(seconds, 0.05))
        )

    def run(self) -> None:
        try:
            with Producer(self._channel) as client, client.run(object_type="contact", template="Import") as run:
                for number in range(CHANGES):
                    run.created(str(number), after={"n": number})
                    if number % FLUSH_EVERY == FLUSH_EVERY - 1:
                        run.flush()
                        self.acknowledged = run.accepted
            self.summary = run.summary
        except BaseException as error:  # noqa: BLE001 - the test tells it
            self.error = error


def _serve(ledger: Command, port: int) -> subprocess.Popen[bytes]:
    return ledger.start("serve", "--port", port, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _head(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute("SELECT coalesce(max(head), 0) FROM accounts").fetchone()
    assert row is not None
    return int(row[0])
