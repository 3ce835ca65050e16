"""The supervisor: a detached process that keeps the server running while it has users, and stops it after the last.

`python -m ledger.postgresql.supervisor HOME [--not-durable]` answers when the server is ready (status 0) or could not
be started (status 1, the reason on stderr). If the cluster has a supervisor already, it does nothing.

Everything can be killed at any moment: users are counted by a shared lock that dies with them; a killed supervisor
leaves the server running for its successor, which the next user to come or go starts; a killed server is started again.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

import psycopg

from ledger.errors import LedgerError, Unavailable
from ledger.postgresql.cluster import SHARED_FOLDER, Cluster, locate_cluster
from ledger.postgresql.locks import FileLock
from ledger.postgresql.programs import find_programs, reachable_programs
from ledger.postgresql.server import START_LIMIT_S, Server, adopt_server, prepare_server, start_server
from ledger.postgresql.system_user import SystemUser, server_user

GRACE_S = 1.0
"""How long the server outlives its last user, so that commands in a row find it running."""
POLL_S = 0.1
LOG_BYTES_MAX = 10_000_000
NOT_DURABLE_FLAG = "--not-durable"


def main(arguments: list[str]) -> int:
    """Starts the supervisor of a home and returns once the database is ready or has failed."""
    user = server_user()
    cluster = locate_cluster(Path(arguments[0]), user)
    lock = FileLock(cluster.supervisor_lock)
    if not lock.try_exclusive():
        return 0
    reading, writing = os.pipe()
    if os.fork():
        os.close(writing)
        return _pass_on(reading)
    # The child inherits the supervisor's lock and keeps it for life.
    os.close(reading)
    _detach(cluster)
    lock.write(str(os.getpid()))  # for people who look for us
    return _supervise(cluster, user, durable=NOT_DURABLE_FLAG not in arguments[1:], lock=lock, answer=writing)


def bring_up(cluster: Cluster, user: SystemUser | None, *, durable: bool) -> Server:
    """Adopts the server that runs, else starts one; prepared for users. Raises Unavailable if neither can be done."""
    deadline = time.monotonic() + START_LIMIT_S
    while time.monotonic() < deadline:
        with FileLock(cluster.server_lock) as lock:
            if lock.try_exclusive():
                programs = reachable_programs(find_programs(cluster.major()), user, shared_folder=SHARED_FOLDER)
                server = start_server(cluster, programs, user, durable=durable, server_lock=lock)
                break
        found = adopt_server(cluster)
        if found is not None:
            server = found
            break
        time.sleep(POLL_S)  # it starts, recovers, or its last processes are about to end
    else:
        raise Unavailable(
            f"Processes of an earlier server still use {cluster.data} but do not answer. "
            f"Their first process is named in {cluster.pid_file}; stop it and try again."
        )
    prepare_server(server)
    return server


def keep_running(
    server: Server, *, restart: Callable[[], Server], users: FileLock, is_over: Callable[[], bool]
) -> Server:
    """Returns the server to stop, when `is_over()` or when the last user has been gone for GRACE_S.

    In the second case `users` is held exclusively, and new users wait until we are gone.
    """
    idle_since: float | None = None
    while not is_over():
        if not server.is_alive():
            server.close()
            server = restart()
        if users.try_exclusive():
            idle_since = idle_since or time.monotonic()
            if time.monotonic() - idle_since >= GRACE_S:
                break
            users.release()
        else:
            idle_since = None
        time.sleep(POLL_S)
    return server


def _supervise(cluster: Cluster, user: SystemUser | None, *, durable: bool, lock: FileLock, answer: int) -> int:
    told: list[int] = []
    signal.signal(signal.SIGTERM, lambda number, _frame: told.append(number))
    start = partial(bring_up, cluster, user, durable=durable)
    try:
        server = start()
        os.write(answer, b"ready")
        os.close(answer)
        with FileLock(cluster.users_lock) as users:
            server = keep_running(
                server, restart=start, users=users, is_over=lambda: bool(told) or not lock.is_in_place()
            )
            if lock.is_in_place():
                server.stop()
            else:  # the folder was deleted, and a new one at its path is somebody else's
                server.abandon()
    except (LedgerError, OSError, psycopg.Error) as error:
        print(f"supervisor: {error}", file=sys.stderr, flush=True)  # noqa: T201 - stderr is the log
        _try_write(answer, str(error))
        return 1
    return 0


def _detach(cluster: Cluster) -> None:
    """Leaves the starter's session, so that its Ctrl-C does not reach us, and writes to the log from here on."""
    os.setsid()
    if cluster.log.exists() and cluster.log.stat().st_size > LOG_BYTES_MAX:
        cluster.log.rename(cluster.log.with_suffix(".log.old"))
    log = os.open(cluster.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(nothing)


def _pass_on(reading: int) -> int:
    with os.fdopen(reading, "rb") as pipe:
        answer = pipe.read().decode()
    if answer == "ready":
        return 0
    print(answer or "The supervisor of the embedded database was killed.", file=sys.stderr)  # noqa: T201
    return 1


def _try_write(answer: int, message: str) -> None:
    with suppress(OSError):  # the answer was given before; nobody listens any more
        os.write(answer, message.encode())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
