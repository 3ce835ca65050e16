"""ledger/embedded: the server comes with the first user and goes with the last, whoever is killed in between."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, LiteralString

import psycopg
import pytest

from ledger import embedded
from ledger.errors import Conflict, Unavailable
from ledger.postgresql.cluster import Cluster, locate_cluster
from ledger.postgresql.locks import is_free
from ledger.postgresql.programs import find_programs, reachable_programs
from ledger.postgresql.system_user import SystemUser, server_user
from tests.conftest import temporary_home

ROOT_FOLDER = Path(__file__).parents[2]

USER = """
import sys
from pathlib import Path
from ledger import embedded
with embedded.database(Path(sys.argv[1]), durable="durable" in sys.argv) as urls:
    print(urls.owner_url, flush=True)
    sys.stdin.read()
"""

Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def home() -> Iterator[Path]:
    with temporary_home() as folder:
        yield folder


@pytest.fixture
def start_user() -> Iterator[Start]:
    """Starts another process that uses a home until its stdin ends; its first line is the owner's URL."""
    started: list[subprocess.Popen[str]] = []

    def start(home: Path, *words: str, python: str = sys.executable, **options: Any) -> subprocess.Popen[str]:
        command = [python, "-c", USER, str(home), *words]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT_FOLDER, **options))
        return started[-1]

    yield start
    for process in started:
        with process:
            process.kill()


def cluster_of(home: Path) -> Cluster:
    return locate_cluster(home, server_user())


def read_url(user: subprocess.Popen[str]) -> str:
    assert user.stdout
    return user.stdout.readline().strip()


def answer(url: str, query: LiteralString = "SELECT 1") -> Any:
    """The one value of a query."""
    with psycopg.connect(url) as connection:
        row = connection.execute(query).fetchone()
    return row and row[0]


def wait_until_answer(url: str, *, is_expected: bool, timeout_s: float = 30) -> bool:
    """Whether the server answers (or does not, any more) within the limit."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        try:
            is_answered = answer(url) == 1
        except psycopg.OperationalError:
            is_answered = False
        if is_answered == is_expected:
            return True
    return False


def kill_supervisor(home: Path) -> None:
    os.kill(int(cluster_of(home).supervisor_lock.read_text()), signal.SIGKILL)
    embedded.wait_until_stopped(home)  # that is: without a supervisor


def kill_server(home: Path) -> None:
    os.kill(int(cluster_of(home).pid_file.read_text().splitlines()[0]), signal.SIGKILL)


def test_database_is_made_started_and_stopped_after_its_last_user(home: Path) -> None:
    with embedded.database(home) as urls:
        assert answer(urls.owner_url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is True
        assert answer(urls.service_url, "SELECT rolsuper FROM pg_roles WHERE rolname = current_user") is False
        assert answer(urls.service_url, "SELECT pg_has_role('ledger_service', 'member')") is True
        assert answer(urls.service_url, "SELECT current_database() || ' ' || version()").startswith("ledger Postgre")
        assert answer(urls.owner_url, "SHOW listen_addresses") == ""
        assert answer(urls.owner_url, "SHOW data_checksums") == "on"
        assert answer(urls.owner_url, "SHOW fsync") == "on"
        sockets = cluster_of(home).read_ready()
        assert sockets
        assert sockets.stat().st_mode & 0o777 == 0o700
    embedded.wait_until_stopped(home)
    assert not sockets.exists()
    assert not cluster_of(home).pid_file.exists()


def test_data_stays_between_two_uses_and_the_path_may_hold_spaces(home: Path) -> None:
    spaced = home / "my ledger's 100% home"
    with embedded.database(spaced, durable=False) as urls, psycopg.connect(urls.owner_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 'ä' AS value")
    embedded.wait_until_stopped(spaced)
    with embedded.database(spaced, durable=False) as urls:
        assert answer(urls.owner_url, "SELECT value FROM kept") == "ä"
    embedded.wait_until_stopped(spaced)


def test_users_that_come_at_once_share_one_server_until_the_last_is_killed(home: Path, start_user: Start) -> None:
    users = [start_user(home) for _ in range(3)]
    urls = {read_url(user) for user in users}
    assert len(urls) == 1
    url = urls.pop()
    for user in users[:2]:
        user.kill()
        user.wait()
    assert answer(url) == 1
    users[2].kill()
    users[2].wait()
    embedded.wait_until_stopped(home)
    with pytest.raises(psycopg.OperationalError):
        answer(url)


def test_killed_supervisor_is_replaced_by_the_next_user_and_sessions_live_on(home: Path, start_user: Start) -> None:
    user = start_user(home)
    with psycopg.connect(read_url(user)) as connection:
        connection.execute("CREATE TEMPORARY TABLE mine (n int)")
        kill_supervisor(home)
        with embedded.database(home, durable=False) as urls:
            assert answer(urls.owner_url) == 1
        assert connection.execute("SELECT count(*) FROM mine").fetchone() == (0,)
    user.communicate()
    embedded.wait_until_stopped(home)
    assert not cluster_of(home).pid_file.exists()


def test_killed_supervisor_is_replaced_by_the_last_user_on_leaving(home: Path) -> None:
    with embedded.database(home, durable=False):
        kill_supervisor(home)
    embedded.wait_until_stopped(home)
    assert not cluster_of(home).pid_file.exists()


def test_everybody_killed_and_the_next_user_finds_the_data(home: Path, start_user: Start) -> None:
    user = start_user(home, "durable")
    with psycopg.connect(read_url(user), autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS value")
        user.kill()
        kill_supervisor(home)
        kill_server(home)
    with embedded.database(home) as urls:
        assert answer(urls.owner_url, "SELECT value FROM kept") == 7


def test_killed_server_is_started_again_at_the_same_address(home: Path) -> None:
    with embedded.database(home, durable=False) as urls:
        kill_server(home)
        assert wait_until_answer(urls.owner_url, is_expected=False)
        assert wait_until_answer(urls.owner_url, is_expected=True)


def test_stale_process_ids_do_not_keep_the_server_from_starting(home: Path) -> None:
    with embedded.database(home, durable=False):
        lines = cluster_of(home).pid_file.read_text().splitlines()
    embedded.wait_until_stopped(home)
    living = subprocess.Popen(["sleep", "600"], **(user.popen_options() if (user := server_user()) else {}))
    with living:
        cluster_of(home).pid_file.write_text("\n".join([str(living.pid), *lines[1:]]) + "\n")
        with embedded.database(home, durable=False) as urls:
            assert answer(urls.owner_url) == 1
        embedded.wait_until_stopped(home)
        assert living.poll() is None, "somebody else's process was stopped"
        living.kill()


def test_home_deleted_under_a_running_server_is_a_fresh_one_next_time(home: Path) -> None:
    inner = home / "inner"
    with embedded.database(inner, durable=False) as urls, psycopg.connect(urls.owner_url) as connection:
        connection.execute("CREATE TABLE old ()")
        connection.commit()
        shutil.rmtree(inner)
        with embedded.database(inner, durable=False) as fresh:
            assert fresh != urls
            assert answer(fresh.owner_url, "SELECT to_regclass('old') IS NULL") is True
    embedded.wait_until_stopped(inner)


def test_copied_home_has_a_server_of_its_own(home: Path) -> None:
    copy = home / "copy"
    with embedded.database(home / "first", durable=False) as urls:
        with psycopg.connect(urls.owner_url) as connection:
            connection.execute("CHECKPOINT")
        shutil.copytree(home / "first", copy, copy_function=_copy_with_owner)
        if user := server_user():
            for path in (copy / "postgresql/data", *(copy / "postgresql/data").rglob("*")):
                os.chown(path, user.user_id, user.group_id)
        with embedded.database(copy, durable=False) as copied:
            assert copied != urls
            assert answer(copied.owner_url, "SHOW data_directory") == str(cluster_of(copy).data)
    embedded.wait_until_stopped(copy)
    embedded.wait_until_stopped(home / "first")


def _copy_with_owner(source: str, target: str) -> None:
    with suppress(FileNotFoundError):  # the server may remove a file meanwhile
        shutil.copy2(source, target)


def test_durability_is_not_taken_for_granted(home: Path) -> None:
    with (
        embedded.database(home, durable=False),
        pytest.raises(Conflict, match="without durability"),
        embedded.database(home, durable=True),
    ):
        pass


def test_failed_start_shows_the_end_of_the_log(home: Path) -> None:
    with embedded.database(home, durable=False):
        pass
    embedded.wait_until_stopped(home)
    (cluster_of(home).data / "global" / "pg_control").unlink()
    with pytest.raises(Unavailable, match="pg_control"), embedded.database(home, durable=False):
        pass


def test_missing_programs_are_named_with_what_to_do() -> None:
    with pytest.raises(Unavailable, match="LEDGER_DATABASE_URL"):
        find_programs(major=99)


class ShutOut(SystemUser):
    """A user who can reach nothing but what lies below a folder named copies."""

    def can_run(self, program: Path) -> bool:
        return "copies" in program.parts


def test_programs_closed_to_the_server_user_are_copied_once(tmp_path: Path) -> None:
    user, found = ShutOut("shut-out", 1, 1), find_programs()
    copied = reachable_programs(found, user, shared_folder=tmp_path / "copies")
    assert subprocess.check_output([copied.initdb, "--version"]) == subprocess.check_output([found.initdb, "--version"])
    changed_at = copied.postgres.stat().st_ctime_ns
    assert reachable_programs(found, user, shared_folder=tmp_path / "copies") == copied
    assert copied.postgres.stat().st_ctime_ns == changed_at
    assert copied.postgres.stat().st_mode & 0o777 == 0o755


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has a server user other than itself")
def test_home_closed_to_the_server_user_has_its_cluster_in_the_shared_folder(home: Path) -> None:
    closed = home / "closed" / "home"
    closed.parent.mkdir(mode=0o700)
    with embedded.database(closed, durable=False) as urls:
        assert answer(urls.owner_url) == 1
    embedded.wait_until_stopped(closed)
    folder = cluster_of(closed).folder
    assert folder.parent == Path("/var/lib/ledger/clusters")
    assert closed.parent.stat().st_mode & 0o777 == 0o700
    with embedded.database(closed, durable=False) as urls:
        assert cluster_of(closed).folder == folder
    embedded.wait_until_stopped(closed)
    shutil.rmtree(folder)


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests run as an ordinary user already")
def test_ordinary_user_needs_nobody_else(home: Path, start_user: Start) -> None:
    user = server_user()
    python = f"/usr/bin/python3.{sys.version_info.minor}"
    assert user
    if not (Path(python).exists() and user.can_run(Path(python)) and user.can_enter(ROOT_FOLDER)):
        pytest.skip("no Python that an ordinary user could run")
    own = home / "own"
    own.mkdir(mode=0o700)
    os.chown(own, user.user_id, user.group_id)
    environment = {
        "PATH": os.defpath,
        "PYTHONPATH": os.pathsep.join([str(ROOT_FOLDER), *filter(_is_packages, sys.path)]),
    }
    process = start_user(own, python=python, env=environment, **user.popen_options())
    assert answer(read_url(process)) == 1
    assert own.joinpath("postgresql").stat().st_uid == user.user_id
    with pytest.raises(Unavailable, match="belongs to user"), embedded.database(own):
        pass
    process.communicate()
    while not is_free(own / "postgresql" / "supervisor.lock"):
        time.sleep(0.02)


def _is_packages(path: str) -> bool:
    return path.endswith("site-packages")
