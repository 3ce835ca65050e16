"""A cluster's folder: where it lies, its files, and how it is made the first time.

A cluster folder holds `data` (PostgreSQL's own), three lock files and `ready`. It is `home/postgresql`, or, when root's
server user cannot reach that, a folder below `/var/lib/ledger/clusters` which `home/postgresql.path` names. Only `data`
belongs to the server's user.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import Unavailable
from ledger.postgresql.locks import FileLock
from ledger.postgresql.programs import Programs
from ledger.postgresql.system_user import SystemUser

SHARED_FOLDER = Path("/var/lib/ledger")
"""Root's folder for what its server user must reach."""

LOG_LINES_SHOWN = 15


@dataclass(frozen=True, slots=True)
class Cluster:
    """The paths of one cluster."""

    home: Path
    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def log(self) -> Path:
        return self.home / "postgres.log"

    @property
    def users_lock(self) -> Path:
        """Held shared by every user of the database, exclusively by a supervisor that is stopping the server."""
        return self.folder / "users.lock"

    @property
    def supervisor_lock(self) -> Path:
        """Held exclusively by the supervisor as long as it lives."""
        return self.folder / "supervisor.lock"

    @property
    def server_lock(self) -> Path:
        """Inherited by every process of the server: free means that surely none of them is left."""
        return self.folder / "server.lock"

    @property
    def ready(self) -> Path:
        """Names the folder of the server's socket, once the server is prepared for users."""
        return self.folder / "ready"

    @property
    def pid_file(self) -> Path:
        return self.data / "postmaster.pid"

    def major(self) -> int | None:
        """The major version that made the cluster; None if there is none yet."""
        try:
            return int((self.data / "PG_VERSION").read_text())
        except FileNotFoundError:
            return None

    def write_ready(self, sockets: Path) -> None:
        """Says that the server is prepared for users, and where it listens."""
        fresh = self.folder / "ready.new"
        fresh.write_text(json.dumps({"cluster": str(self.folder), "sockets": str(sockets)}))
        fresh.rename(self.ready)

    def read_ready(self) -> Path | None:
        """The folder of the server's socket. A file from before a copy or a move of the cluster does not count."""
        try:
            found = json.loads(self.ready.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return Path(found["sockets"]) if found["cluster"] == str(self.folder) else None

    def log_end(self) -> str:
        """The last lines of the server's log, for an error message."""
        if not self.log.exists():
            return "(no log was written)"
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:])


def locate_cluster(home: Path, user: SystemUser | None) -> Cluster:
    """The cluster of `home`, its folder made if it is not there. Raises Unavailable if the system does not let us."""
    try:
        _make_folder(home, 0o711 if user else 0o700)  # root's server user must pass through a home that we make
        home = home.resolve(strict=True)
        folder = _named_folder(home) or _own_folder(home, user) or _shared_folder(home)
        _make_cluster_folder(folder, user)
    except OSError as error:
        raise Unavailable(f"The database's folder in {home} cannot be made or read: {error}.") from error
    _check_owner(folder)
    return Cluster(home, folder)


def initialise_cluster(
    cluster: Cluster, programs: Programs, user: SystemUser | None, *, durable: bool, server_lock: FileLock
) -> None:
    """Makes `data`. A rename is the last step, so a crash before it leaves nothing that looks like a cluster.

    initdb inherits the server's lock: should we be killed, our successor waits until initdb is gone too.
    """
    fresh = cluster.folder / "data.new"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(mode=0o700)
    if user:
        os.chown(fresh, user.user_id, user.group_id)
    command: list[str | Path] = [
        programs.initdb,
        "-D",
        fresh,
        "-U",
        "postgres",
        "--auth=trust",
        "--encoding=UTF8",
        "--data-checksums",
    ]
    command += ["--locale=C", "--no-instructions", *([] if durable else ["--no-sync"])]
    if programs.major >= 17:  # the first version with a locale provider of its own
        command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
    with cluster.log.open("ab") as log:
        options = user.popen_options() if user else {}
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=server_environment(),
            cwd="/",
            pass_fds=(server_lock.descriptor,),
            **options,
        )
    if done.returncode != 0:
        raise Unavailable(f"The embedded database could not be made in {cluster.folder}:\n{cluster.log_end()}")
    fresh.rename(cluster.data)


def server_environment() -> dict[str, str]:
    """Our environment without what would steer PostgreSQL behind our back (PGDATA, PGOPTIONS, locales)."""
    kept = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C", "TZ": "UTC"}


def _named_folder(home: Path) -> Path | None:
    try:
        return Path((home / "postgresql.path").read_text().rstrip("\n"))
    except FileNotFoundError:
        return None


def _own_folder(home: Path, user: SystemUser | None) -> Path | None:
    folder = home / "postgresql"
    return folder if user is None or folder.exists() or user.can_enter(home) else None


def _shared_folder(home: Path) -> Path:
    """A fresh name below the shared folder; whoever writes it down first decides for everybody.

    The random part keeps a home that was deleted and made again from finding its predecessor's data.
    """
    name = f"{hashlib.sha256(os.fsencode(home)).hexdigest()[:12]}-{secrets.token_hex(4)}"
    fresh = home / f".postgresql.path-{secrets.token_hex(4)}"
    fresh.write_text(f"{SHARED_FOLDER / 'clusters' / name}\n")
    try:
        os.link(fresh, home / "postgresql.path")
    except FileExistsError:
        pass
    finally:
        fresh.unlink()
    return Path((home / "postgresql.path").read_text().rstrip("\n"))


def _make_cluster_folder(folder: Path, user: SystemUser | None) -> None:
    if folder.is_relative_to(SHARED_FOLDER):
        _make_folder(SHARED_FOLDER, 0o755)
        _make_folder(folder.parent, 0o711)
    _make_folder(folder, 0o711 if user else 0o700)


def _make_folder(folder: Path, mode: int) -> None:
    """Makes a folder with exactly this mode; one that is there already stays as it is."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        folder.mkdir(mode=mode)
    except FileExistsError:
        return
    folder.chmod(mode)  # whatever the umask took away


def _check_owner(folder: Path) -> None:
    found = folder.stat().st_uid
    if found != os.geteuid():
        raise Unavailable(
            f"The database's folder {folder} belongs to user {found}, expected user {os.geteuid()}. "
            "Use it as the user who made it, or name another folder with LEDGER_HOME."
        )
