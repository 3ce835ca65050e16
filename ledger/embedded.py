"""The embedded database: a PostgreSQL of the ledger's own, below its home folder, for as long as somebody uses it.

    with embedded.database(home) as urls:
        psycopg.connect(urls.service_url)

It listens on a Unix socket only. Any number of processes may use one home at once; the first starts the server, and it
stops soon after the last has gone, also when that one was killed. `ledger/postgresql/` holds how.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import Conflict, Unavailable
from ledger.postgresql.cluster import Cluster, locate_cluster
from ledger.postgresql.locks import FileLock, is_free
from ledger.postgresql.server import LOGIN, OWNER, START_LIMIT_S, STOP_LIMIT_S, is_accepting, is_durable, server_url
from ledger.postgresql.supervisor import NOT_DURABLE_FLAG
from ledger.postgresql.system_user import server_user

POLL_S = 0.02


@dataclass(frozen=True, slots=True)
class DatabaseUrls:
    """How to connect: as the owner, who migrates, and as the service, which may do only what it was granted."""

    owner_url: str
    service_url: str


@contextmanager
def database(home: Path, *, durable: bool = True) -> Iterator[DatabaseUrls]:
    """The database `ledger` of this home, made and started if need be.

    With durable=False a crash of the machine may destroy everything: only for tests. Raises Unavailable with the end of
    the server's log if it does not start, Conflict if it runs without durability though durable=True was asked for.
    """
    cluster = locate_cluster(home, server_user())
    with FileLock(cluster.users_lock) as users:
        _join(cluster, users)
        sockets = _reach(cluster, durable=durable)
        if durable and not is_durable(sockets):
            raise Conflict(
                f"The database in {home} was started without durability, for tests. Wait until it has stopped."
            )
        try:
            yield DatabaseUrls(server_url(sockets, login=OWNER), server_url(sockets, login=LOGIN))
        finally:
            if is_free(cluster.supervisor_lock):  # it was killed; somebody must stop the server after us
                with suppress(Unavailable):
                    _launch(cluster, durable=durable)


def wait_until_stopped(home: Path, *, timeout_s: float = STOP_LIMIT_S) -> None:
    """Returns when the home's server has no supervisor any more, so that the folder can be moved or deleted."""
    cluster = locate_cluster(home, server_user())
    deadline = time.monotonic() + timeout_s
    while not is_free(cluster.supervisor_lock):
        if time.monotonic() > deadline:
            raise Unavailable(
                f"The database in {home} still runs after {timeout_s:.0f} s; somebody else may be using it."
            )
        time.sleep(POLL_S)


def _join(cluster: Cluster, users: FileLock) -> None:
    """Becomes a user; waits while a supervisor is just stopping the server."""
    deadline = time.monotonic() + 2 * STOP_LIMIT_S
    while not users.try_shared():
        if time.monotonic() > deadline:
            raise Unavailable(f"The database in {cluster.folder} has been stopping for too long; see {cluster.log}.")
        time.sleep(POLL_S)


def _reach(cluster: Cluster, *, durable: bool) -> Path:
    """The folder of the socket on which the server answers, with a supervisor in charge of it."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        if is_free(cluster.supervisor_lock):
            _launch(cluster, durable=durable)
        sockets = cluster.read_ready()
        if sockets is not None and is_accepting(sockets):
            return sockets
        time.sleep(POLL_S)
    raise Unavailable(f"The database in {cluster.folder} does not answer:\n{cluster.log_end()}")


def _launch(cluster: Cluster, *, durable: bool) -> None:
    command = [sys.executable, "-m", "ledger.postgresql.supervisor", str(cluster.home)]
    done = subprocess.run(
        command + ([] if durable else [NOT_DURABLE_FLAG]),
        check=False,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        cwd="/",
        env={**os.environ, "PYTHONPATH": _python_path()},
    )
    if done.returncode != 0:
        raise Unavailable(done.stderr.strip())


def _python_path() -> str:
    """Ours, so that the supervisor finds the same packages wherever we were started from."""
    return os.pathsep.join(path or os.getcwd() for path in sys.path)
