"""One running server: started or adopted, asked whether it lives, prepared for users, stopped.

Only the supervisor, of which there is one per cluster, starts and stops servers.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import pq, sql

from ledger.errors import Unavailable
from ledger.postgresql.cluster import Cluster, initialise_cluster, server_environment
from ledger.postgresql.locks import FileLock
from ledger.postgresql.programs import Programs
from ledger.postgresql.system_user import SystemUser

DATABASE = "ledger"
OWNER = "postgres"
LOGIN = "ledger"
SERVICE_ROLE = "ledger_service"
"""What the service may do is granted to this role, by the migrations; LOGIN is a member of it."""

START_LIMIT_S = 300.0
"""Recovery after a crash replays up to max_wal_size of log."""
STOP_LIMIT_S = 60.0
POLL_S = 0.02

SETTINGS = {
    "listen_addresses": "",  # only the socket, whose folder is closed to others
    "port": "5432",  # part of the socket's name, not a port of the machine
    "unix_socket_permissions": "0700",
    "max_connections": "60",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",  # fewer checkpoints while bulk data comes in
    "checkpoint_timeout": "15min",
    "wal_compression": "on",
    "jit": "off",  # costs more than it saves on our short statements
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_min_error_statement": "panic",  # statements and details hold customers' values
    "log_error_verbosity": "terse",
}
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
NOT_DURABLE = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


@dataclass(frozen=True, slots=True)
class Server:
    """A server that accepts connections. `process` is None if another supervisor started it."""

    cluster: Cluster
    sockets: Path
    watch: FileLock
    """The server's lock, opened once more: its path may lead elsewhere by now, if the folder was deleted."""
    process_id: int
    process: subprocess.Popen[bytes] | None = None

    def is_alive(self) -> bool:
        """Whether the server still runs and can still be reached."""
        if self.process is not None:
            self.process.poll()  # takes the dead process off the system's table
        return _socket(self.sockets).exists() and not self._is_gone()

    def stop(self) -> None:
        """Stops it cleanly: sessions are ended, everything is written, its files are removed."""
        if self._end(signal.SIGINT):
            self.cluster.ready.unlink(missing_ok=True)
        else:
            self.abandon()

    def abandon(self) -> None:
        """Stops it at once, as a crash would, and touches nothing of the cluster's folder."""
        self._end(signal.SIGQUIT)

    def close(self) -> None:
        """Looks no longer after the server, whether it runs or not."""
        self.watch.close()

    def _end(self, signal_number: int) -> bool:
        self._send(signal_number)
        deadline = time.monotonic() + STOP_LIMIT_S
        while not self._is_gone():
            if time.monotonic() > deadline:
                return False
            time.sleep(POLL_S)
        if self.process is not None:
            self.process.wait()
        with suppress(OSError):
            self.sockets.rmdir()  # the server has removed its socket
        return True

    def _send(self, signal_number: int) -> None:
        # A process id alone proves nothing, it may have been given to somebody else since. Our own child keeps its
        # id until we have asked for its status; an adopted server is asked for a sign of life first.
        if self.process is not None:
            self.process.send_signal(signal_number)
        elif not self._is_gone() and _ping(self.sockets) != pq.Ping.NO_RESPONSE:
            os.kill(self.process_id, signal_number)

    def _is_gone(self) -> bool:
        if not self.watch.try_exclusive():
            return False
        self.watch.release()
        return True


def server_url(sockets: Path, *, login: str, database: str = DATABASE) -> str:
    return f"postgresql://{login}@/{database}?host={quote(str(sockets), safe='')}&port={SETTINGS['port']}"


def is_accepting(sockets: Path) -> bool:
    """Whether a server answers there and takes connections."""
    return _ping(sockets) == pq.Ping.OK


def adopt_server(cluster: Cluster) -> Server | None:
    """The server that a killed supervisor left running; None while it does not accept connections.

    Called while the server's lock is held by somebody: then `postmaster.pid` was written by a server of this cluster,
    and if that answers on its socket, its process id is true.
    """
    try:
        lines = cluster.pid_file.read_text().splitlines()
        process_id, sockets = int(lines[0]), Path(lines[4])
    except (FileNotFoundError, ValueError, IndexError):
        return None  # not written yet, or not any more
    if not is_accepting(sockets):
        return None
    return Server(cluster, sockets, FileLock(cluster.server_lock), process_id)


def start_server(
    cluster: Cluster, programs: Programs, user: SystemUser | None, *, durable: bool, server_lock: FileLock
) -> Server:
    """Starts a server, making the cluster if need be. `server_lock` is held: no process of an older one is left."""
    if cluster.major() is None:
        initialise_cluster(cluster, programs, user, durable=durable, server_lock=server_lock)
    sockets = _sockets_folder(cluster, user)
    cluster.ready.unlink(missing_ok=True)
    # Left by a killed server; their process ids may be somebody else's by now, which would keep ours from starting.
    for stale in (cluster.pid_file, _socket(sockets), _socket(sockets).with_suffix(".5432.lock")):
        stale.unlink(missing_ok=True)
    process = _spawn(cluster, programs, user, sockets, durable=durable, server_lock=server_lock)
    deadline = time.monotonic() + START_LIMIT_S
    while not is_accepting(sockets):
        if process.poll() is not None or time.monotonic() > deadline:
            process.send_signal(signal.SIGQUIT)
            process.wait()
            shutil.rmtree(sockets, ignore_errors=True)
            raise Unavailable(f"The embedded database in {cluster.folder} did not start:\n{cluster.log_end()}")
        time.sleep(POLL_S)
    return Server(cluster, sockets, FileLock(cluster.server_lock), process.pid, process)


def prepare_server(server: Server) -> None:
    """Makes the roles and the database that are missing, then tells the users where the server is."""
    with psycopg.connect(server_url(server.sockets, login=OWNER, database="postgres"), autocommit=True) as connection:
        roles = {name for (name,) in connection.execute("SELECT rolname FROM pg_roles")}
        if LOGIN not in roles:
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(LOGIN)))
        if SERVICE_ROLE not in roles:
            connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(SERVICE_ROLE)))
        connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(SERVICE_ROLE), sql.Identifier(LOGIN)))
        if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
    server.cluster.write_ready(server.sockets)


def is_durable(sockets: Path) -> bool:
    """Whether the server writes through to the disk."""
    with psycopg.connect(server_url(sockets, login=OWNER, database="postgres")) as connection:
        return connection.execute("SHOW fsync").fetchone() == ("on",)


def _ping(sockets: Path) -> pq.Ping:
    """OK, REJECT (a server that starts, stops or recovers) or NO_RESPONSE."""
    return pq.Ping(pq.PGconn.ping(server_url(sockets, login=OWNER, database="postgres").encode()))


def _spawn(
    cluster: Cluster,
    programs: Programs,
    user: SystemUser | None,
    sockets: Path,
    *,
    durable: bool,
    server_lock: FileLock,
) -> subprocess.Popen[bytes]:
    settings = {**SETTINGS, **(DURABLE if durable else NOT_DURABLE), "unix_socket_directories": str(sockets)}
    options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    with cluster.log.open("ab") as log:
        return subprocess.Popen(
            [programs.postgres, "-D", cluster.data, *options],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=server_environment(),
            cwd="/",
            start_new_session=True,
            pass_fds=(server_lock.descriptor,),
            **(user.popen_options() if user else {}),
        )


def _socket(sockets: Path) -> Path:
    return sockets / f".s.PGSQL.{SETTINGS['port']}"


def _sockets_folder(cluster: Cluster, user: SystemUser | None) -> Path:
    """A private folder with a short path: the system allows about 100 bytes for a socket's.

    After a crash the same one again, so that users who have its address find the server once more.
    """
    owner = user.user_id if user else os.geteuid()
    earlier = cluster.read_ready()
    if earlier is not None and _is_private(earlier, owner):
        return earlier
    parent = "/tmp" if os.access("/tmp", os.W_OK | os.X_OK) else None  # noqa: S108 - mkdtemp makes it private
    fresh = Path(tempfile.mkdtemp(prefix="ledger-", dir=parent))
    if user:
        os.chown(fresh, user.user_id, user.group_id)
    return fresh


def _is_private(folder: Path, owner: int) -> bool:
    with suppress(FileNotFoundError):
        found = folder.lstat()
        return found.st_uid == owner and found.st_mode & 0o170777 == 0o040700  # a folder, rwx for its owner alone
    return False
