"""migrations/migrate: in order, once, one migrator at a time; edited, missing and unknown files are refused."""

from __future__ import annotations

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from ledger.embedded import DatabaseUrls
from ledger.errors import Conflict, IntegrityFailed
from migrations.migrate import LOCK_KEY, Status, migrate, read_migrations, status

FIRST = "CREATE TABLE fruit (name text PRIMARY KEY);"
SECOND = "INSERT INTO fruit VALUES ('apple'); INSERT INTO fruit VALUES ('100% pear');"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "0001_fruit.sql").write_text(FIRST)
    (tmp_path / "0002_apple.sql").write_text(SECOND)
    return tmp_path


def names(url: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [name for (name,) in connection.execute("SELECT name FROM fruit ORDER BY name")]


def test_pending_files_are_applied_once_and_in_order(empty_database: DatabaseUrls, folder: Path) -> None:
    url = empty_database.owner_url
    assert [(done.number, done.name) for done in migrate(url, folder=folder)] == [(1, "fruit"), (2, "apple")]
    assert migrate(url, folder=folder) == []
    assert names(url) == ["100% pear", "apple"]


def test_later_file_is_applied_alone(empty_database: DatabaseUrls, folder: Path) -> None:
    migrate(empty_database.owner_url, folder=folder)
    (folder / "0003_cherry.sql").write_text("INSERT INTO fruit VALUES ('cherry')")
    assert [done.file_name for done in migrate(empty_database.owner_url, folder=folder)] == ["0003_cherry.sql"]


def test_status_tells_applied_from_pending_and_changes_nothing(empty_database: DatabaseUrls, folder: Path) -> None:
    url = empty_database.owner_url
    pending = [Status(1, "fruit", None), Status(2, "apple", None)]
    assert status(url, folder=folder) == status(url, folder=folder) == pending
    done = migrate(url, folder=folder)
    assert [each.applied_at for each in status(url, folder=folder)] == [each.applied_at for each in done]


def test_service_may_ask_for_the_status_but_not_change_it(empty_database: DatabaseUrls, folder: Path) -> None:
    migrate(empty_database.owner_url, folder=folder)
    assert len(status(empty_database.service_url, folder=folder)) == 2
    with (
        psycopg.connect(empty_database.service_url) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute("DELETE FROM ledger_migrations")


def test_edited_file_is_refused_with_both_checksums(empty_database: DatabaseUrls, folder: Path) -> None:
    done = migrate(empty_database.owner_url, folder=folder)
    (folder / "0001_fruit.sql").write_text(FIRST + " -- edited")
    found = read_migrations(folder)[0].sha256
    for check in (migrate, status):
        with pytest.raises(IntegrityFailed, match=r"0001_fruit\.sql was edited") as caught:
            check(empty_database.owner_url, folder=folder)
        assert found in caught.value.message
        assert done[0].sha256 in caught.value.message


def test_database_of_a_newer_version_is_refused(empty_database: DatabaseUrls, folder: Path) -> None:
    migrate(empty_database.owner_url, folder=folder)
    (folder / "0002_apple.sql").unlink()
    with pytest.raises(IntegrityFailed, match=r"0002_apple\.sql, which this version does not know"):
        migrate(empty_database.owner_url, folder=folder)


def test_gap_in_the_folder_is_refused(tmp_path: Path, folder: Path) -> None:
    (folder / "0004_date.sql").write_text("SELECT 1")
    with pytest.raises(IntegrityFailed, match=r"found 0004_date\.sql, expected number 0003"):
        read_migrations(folder)


def test_gap_in_the_database_is_refused(empty_database: DatabaseUrls, folder: Path) -> None:
    migrate(empty_database.owner_url, folder=folder)
    with psycopg.connect(empty_database.owner_url) as connection:
        connection.execute("DELETE FROM ledger_migrations WHERE number = 1")
    with pytest.raises(IntegrityFailed, match="gap"):
        migrate(empty_database.owner_url, folder=folder)


@pytest.mark.parametrize("name", ["1_fruit.sql", "0001-fruit.sql", "0001_Fruit.sql"])
def test_badly_named_file_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text(FIRST)
    with pytest.raises(IntegrityFailed, match="no name of a migration"):
        read_migrations(tmp_path)


def test_failing_file_leaves_nothing_and_those_before_it_stay(empty_database: DatabaseUrls, folder: Path) -> None:
    url = empty_database.owner_url
    (folder / "0003_bad.sql").write_text("INSERT INTO fruit VALUES ('half'); INSERT INTO vegetables VALUES (1);")
    with pytest.raises(Conflict, match=r"0003_bad\.sql failed"):
        migrate(url, folder=folder)
    assert names(url) == ["100% pear", "apple"]
    assert [each.applied_at is None for each in status(url, folder=folder)] == [False, False, True]


def test_second_migrator_says_that_it_waits_and_finds_nothing_to_do(empty_database: DatabaseUrls, folder: Path) -> None:
    url = empty_database.owner_url
    waits = threading.Event()
    with psycopg.connect(url, autocommit=True) as first, ThreadPoolExecutor(1) as pool:
        first.execute("SELECT pg_advisory_lock(%s)", [LOCK_KEY])
        second = pool.submit(migrate, url, folder=folder, say=lambda _: waits.set())
        assert waits.wait(timeout=30)
        assert not second.done()
        first.execute("SELECT pg_advisory_unlock(%s)", [LOCK_KEY])
        assert len(second.result(timeout=30)) == 2


def test_many_migrators_at_once_apply_each_file_once(empty_database: DatabaseUrls, folder: Path) -> None:
    with ThreadPoolExecutor(6) as pool:
        done = list(pool.map(lambda _: migrate(empty_database.owner_url, folder=folder), range(6)))
    assert sorted(len(each) for each in done) == [0, 0, 0, 0, 0, 2]
    assert names(empty_database.owner_url) == ["100% pear", "apple"]


def test_shipped_schema_is_applied_whole(database: DatabaseUrls) -> None:
    assert all(each.applied_at for each in status(database.owner_url))
    assert migrate(database.owner_url) == []


def test_killed_migrator_gives_way_at_once_and_leaves_nothing(empty_database: DatabaseUrls, folder: Path) -> None:
    url = empty_database.owner_url
    slow = folder / "0003_slow.sql"
    slow.write_text("INSERT INTO fruit VALUES ('half'); SELECT pg_sleep(300);")
    program = "import sys, pathlib, migrations.migrate as m; m.migrate(sys.argv[1], folder=pathlib.Path(sys.argv[2]))"
    with (
        subprocess.Popen([sys.executable, "-c", program, url, str(folder)]) as migrator,
        psycopg.connect(url, autocommit=True) as watcher,
    ):
        while not watcher.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'").fetchone():
            assert migrator.poll() is None
        migrator.kill()
    slow.write_text("INSERT INTO fruit VALUES ('whole')")
    assert [done.number for done in migrate(url, folder=folder)] == [3]
    assert names(url) == ["100% pear", "apple", "whole"]
