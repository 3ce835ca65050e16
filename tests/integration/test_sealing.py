from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import psycopg
import pytest

from ledger.embedded import DatabaseUrls
from ledger.errors import Conflict, InputError, IntegrityFailed, Unavailable
from ledger.integrity.keys import LogKeys, format_keys, make_log_keys, parse_keys, read_keys, rotate, write_keys
from ledger.integrity.merkle import leaf_hash, root_of
from ledger.integrity.sealing import AccountSealer, Sealer
from ledger.integrity.signed_heads import SignedHeads, open_signing
from ledger.integrity.signed_log import SignedLog
from ledger.integrity.tiles import Tile, all_tiles, format_bundle, root_in_tiles
from ledger.integrity.tlog_proof import check_proof
from ledger.service import AccountLedger
from ledger.settings import read_settings
from tests.conftest import cloned
from tests.examples import a_change, a_ledger, add_account, opened, record
from tests.sealed import ACCOUNT, check_heads, checkpoints, expected_entries, new_signing


@pytest.fixture
def signing(tmp_path: Path) -> SignedHeads:
    return new_signing(tmp_path)


@pytest.fixture
def ledger(database: DatabaseUrls) -> Iterator[AccountLedger]:
    with a_ledger(database.service_url) as found:
        yield found


def sealer_of(ledger: AccountLedger, signing: SignedHeads) -> AccountSealer:
    return AccountSealer(ledger.store.recorder.database, ACCOUNT, "default", signing)


def test_log_without_events_is_not_signed(ledger: AccountLedger, signing: SignedHeads) -> None:
    assert sealer_of(ledger, signing).seal() is None


def test_sealed_log_is_the_tree_over_the_events(
    database: DatabaseUrls, ledger: AccountLedger, signing: SignedHeads
) -> None:
    sealer = sealer_of(ledger, signing)
    for number in (1, 250, 3, 300, 600):
        record(ledger, f"r-{number}", [a_change(each) for each in range(number)], finish=number != 3)
        sealer.seal()
    ledger.fail_run("r-3", code="broken", message="It broke.")
    newest = sealer.seal()
    assert newest is not None
    entries = expected_entries(database.owner_url)
    found = checkpoints(database.owner_url, signing.keys)
    assert [head.size for head in found][-1] == newest.size == len(entries)
    assert len(found) == 6
    assert {head.origin for head in found} == {"ledger.example/log/default"}
    check_heads(database.owner_url, found)
    log = SignedLog(ledger.store.recorder.database, ACCOUNT)
    leaves = [leaf_hash(entry) for entry in entries]
    tiles = {(tile.level, tile.number): log.tile(tile) for tile in all_tiles(newest.size)}
    assert root_in_tiles(newest.size, lambda level, number: tiles[level, number]) == root_of(leaves)
    bundles = [Tile(None, tile.number, tile.width) for tile in all_tiles(newest.size) if tile.level == 0]
    assert [log.tile(each) for each in bundles] == [
        format_bundle(entries[each.number * 256 : each.number * 256 + each.width]) for each in bundles
    ]
    for head in found:  # the tiles of every checkpoint are there, as wide as they were
        for tile in all_tiles(head.size):
            assert tiles[tile.level, tile.number].startswith(log.tile(tile))
    for position in (1, 2, 256, 257, newest.size):
        assert check_proof(log.proof(position), leaves[position - 1], signing.keys.trusted("default")) == newest


def test_sealing_again_changes_nothing(database: DatabaseUrls, ledger: AccountLedger, signing: SignedHeads) -> None:
    record(ledger, "r-1", [a_change()])
    sealer = sealer_of(ledger, signing)
    first = sealer.seal()
    assert sealer.seal() == sealer_of(ledger, signing).seal() == first
    assert checkpoints(database.owner_url, signing.keys) == [first]


def test_sealers_beside_one_another_and_beside_appends_make_one_tree(
    database: DatabaseUrls, ledger: AccountLedger, signing: SignedHeads
) -> None:
    stop = Event()
    with opened(database.service_url) as other:
        sealers = [Sealer(each, signing) for each in (other, other, ledger.store.recorder.database)]
        alone = [AccountSealer(other, ACCOUNT, "default", signing) for _ in range(2)]
        failures: list[BaseException] = []

        def work(sealer: AccountSealer) -> None:
            try:
                while not stop.is_set():
                    sealer.seal()
            except BaseException as error:  # noqa: BLE001 - told below
                failures.append(error)

        threads = [Thread(target=each.follow, args=(stop,)) for each in sealers]
        threads += [Thread(target=work, args=(each,)) for each in alone]  # without a lease
        for thread in threads:
            thread.start()
        try:
            for number in range(30):
                record(ledger, f"r-{number}", [a_change(each) for each in range(20)])
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    assert failures == []
    last = sealer_of(ledger, signing).seal()
    found = checkpoints(database.owner_url, signing.keys)
    assert found[-1] == last
    assert len(found) > 1
    check_heads(database.owner_url, found)


def test_follower_seals_every_account(database: DatabaseUrls, ledger: AccountLedger, signing: SignedHeads) -> None:
    store = ledger.store.recorder.database
    other = AccountLedger(store, add_account(store, "other"))
    record(ledger, "r-1", [a_change()])
    record(other, "r-1", [a_change(), a_change(2)])
    sealer = Sealer(store, signing)
    sealer.check()
    sealer.look_once()
    assert [head.size for head in checkpoints(database.owner_url, signing.keys)] == [4]
    assert [head.size for head in checkpoints(database.owner_url, signing.keys, "other")] == [5]
    assert checkpoints(database.owner_url, signing.keys, "other")[0].origin == "ledger.example/log/other"
    check_heads(database.owner_url, checkpoints(database.owner_url, signing.keys, "other"), "other")


# What the database says does not count.


@pytest.fixture
def two_databases(
    database: DatabaseUrls, cluster: DatabaseUrls, administrator: psycopg.Connection, signing: SignedHeads
) -> Iterator[tuple[DatabaseUrls, DatabaseUrls]]:
    """The present database with 2 sealed runs, and a copy that was made after the first."""
    with a_ledger(database.service_url) as ledger:
        record(ledger, "r-1", [a_change(each) for each in range(300)])
        sealer_of(ledger, signing).seal()
    with cloned(cluster, administrator, database.owner_url.rpartition("/")[2].partition("?")[0]) as backup:
        with a_ledger(database.service_url) as ledger:
            record(ledger, "r-2", [a_change(each) for each in range(300)])
            sealer_of(ledger, signing).seal()
        yield database, backup


def test_restored_backup_is_refused(two_databases: tuple[DatabaseUrls, DatabaseUrls], signing: SignedHeads) -> None:
    _, backup = two_databases
    with a_ledger(backup.service_url) as ledger:
        sealer = sealer_of(ledger, signing)
        for action in (sealer.check, sealer.seal, Sealer(ledger.store.recorder.database, signing).check):
            with pytest.raises(IntegrityFailed, match=r"303 events, but 606 were signed.*older state"):
                action()
    assert [head.size for head in checkpoints(backup.owner_url, signing.keys)] == [303]


def test_fork_of_the_log_is_refused(two_databases: tuple[DatabaseUrls, DatabaseUrls], signing: SignedHeads) -> None:
    _, backup = two_databases
    with a_ledger(backup.service_url) as ledger:
        record(ledger, "r-3", [a_change(each) for each in range(500)])
        sealer = sealer_of(ledger, signing)
        for action in (sealer.check, sealer.seal):
            with pytest.raises(IntegrityFailed, match="does not begin with the 606 that were signed"):
                action()
    assert [head.size for head in checkpoints(backup.owner_url, signing.keys)] == [303]


def test_backup_that_lost_tiles_and_checkpoints_alone_is_sealed_again(
    two_databases: tuple[DatabaseUrls, DatabaseUrls], signing: SignedHeads
) -> None:
    present, _ = two_databases
    with psycopg.connect(present.owner_url, autocommit=True) as connection:
        for table in ("log_checkpoints", "log_tiles", "log_trees"):
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL; DELETE FROM {table}")
            connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER ALL".replace("ALWAYS TRIGGER", "TRIGGER"))
    with a_ledger(present.service_url) as ledger:
        sealer = sealer_of(ledger, signing)
        sealer.check()
        newest = sealer.seal()
    assert newest is not None
    check_heads(present.owner_url, [newest])


def test_lost_file_of_heads_is_made_up_for_by_the_newest_checkpoint(
    two_databases: tuple[DatabaseUrls, DatabaseUrls], signing: SignedHeads, tmp_path: Path
) -> None:
    present, _ = two_databases
    elsewhere = new_signing(tmp_path / "elsewhere", signing.keys)
    with a_ledger(present.service_url) as ledger:
        sealer = sealer_of(ledger, elsewhere)
        sealer.check()
        record(ledger, "r-3", [a_change()])
        newest = sealer.seal()
        assert newest is not None
        check_heads(present.owner_url, [newest])
    with psycopg.connect(present.owner_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE log_tiles DISABLE TRIGGER ALL")
        connection.execute("UPDATE log_tiles SET hashes = overlay(hashes PLACING sha256('') FROM 1) WHERE number = 0")
        connection.execute("ALTER TABLE log_tiles ENABLE TRIGGER ALL")
    with a_ledger(present.service_url) as ledger:
        record(ledger, "r-4", [a_change()])
        with pytest.raises(IntegrityFailed, match="altered"):
            sealer_of(ledger, elsewhere).seal()


def test_damaged_file_of_heads_stops_sealing(ledger: AccountLedger, signing: SignedHeads, tmp_path: Path) -> None:
    record(ledger, "r-1", [a_change()])
    sealer = sealer_of(ledger, signing)
    sealer.seal()
    path = tmp_path / "log-heads" / f"{ACCOUNT}.checkpoint"
    path.write_text(path.read_text().replace("\n4\n", "\n3\n"))
    for action in (sealer.check, sealer.seal):
        with pytest.raises(IntegrityFailed, match="damaged or of another key"):
            action()


def test_other_key_goes_on_only_where_it_names_the_old_one(
    database: DatabaseUrls, ledger: AccountLedger, signing: SignedHeads, tmp_path: Path
) -> None:
    record(ledger, "r-1", [a_change()])
    sealer_of(ledger, signing).seal()
    stranger = new_signing(tmp_path / "stranger", make_log_keys("ledger.example/log"))
    with pytest.raises(IntegrityFailed, match="not one of this key"):
        sealer_of(ledger, stranger).seal()
    rotated = SignedHeads(signing.folder, rotate(signing.keys))
    record(ledger, "r-2", [a_change()])
    sealer_of(ledger, rotated).check()
    newest = sealer_of(ledger, rotated).seal()
    assert newest is not None
    assert checkpoints(database.owner_url, rotated.keys)[-1] == newest
    with pytest.raises(IntegrityFailed, match="trusted"):
        checkpoints(database.owner_url, signing.keys)
    with pytest.raises(IntegrityFailed, match="another key"):
        sealer_of(ledger, signing).seal()  # who still has the old key is told


REFUSED = [
    ("UPDATE log_tiles SET hashes = sha256('x')", "only grows"),
    ("UPDATE log_tiles SET hashes = substring(hashes FOR 32)", "only grows"),
    ("UPDATE log_tiles SET number = number + 1", "only grows"),
    ("DELETE FROM log_tiles", "never changed or removed"),
    ("TRUNCATE log_tiles", "never changed or removed"),
    ("UPDATE log_trees SET size = size - 1", "only grows"),
    ("UPDATE log_trees SET root = sha256('x')", "only grows"),
    ("DELETE FROM log_trees", "never changed or removed"),
    ("TRUNCATE log_trees", "never changed or removed"),
    ("UPDATE log_checkpoints SET note = 'x'", "never changed or removed"),
    ("DELETE FROM log_checkpoints", "never changed or removed"),
    ("TRUNCATE log_checkpoints CASCADE", "never changed or removed"),
    ("INSERT INTO log_checkpoints SELECT account_id, 3, sha256('x'), note FROM log_checkpoints", "does not follow"),
    ("INSERT INTO log_checkpoints SELECT account_id, 5, sha256('x'), note FROM log_checkpoints", "does not follow"),
    ("INSERT INTO log_checkpoints SELECT * FROM log_checkpoints", "duplicate key"),
]  # fmt: skip


def test_sealed_tree_only_grows_whoever_writes(
    database: DatabaseUrls, ledger: AccountLedger, signing: SignedHeads
) -> None:
    record(ledger, "r-1", [a_change()])
    sealer_of(ledger, signing).seal()
    for setting in ("origin", "replica"):
        with psycopg.connect(database.owner_url, options=f"-c session_replication_role={setting}") as connection:
            for statement, why in REFUSED:
                with pytest.raises(psycopg.Error, match=why):
                    connection.execute(statement)
                connection.rollback()


def test_gap_in_the_log_is_not_sealed_over(database: DatabaseUrls, ledger: AccountLedger, signing: SignedHeads) -> None:
    record(ledger, "r-1", [a_change()])
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER ALL")
        connection.execute("CREATE TEMP TABLE kept AS SELECT * FROM events WHERE position = 2")
        connection.execute("DELETE FROM events WHERE position = 2")
        with pytest.raises(IntegrityFailed, match="position 2 is missing"):
            sealer_of(ledger, signing).seal()
        connection.execute("INSERT INTO events SELECT * FROM kept")
        connection.execute("ALTER TABLE events ENABLE ALWAYS TRIGGER refuse_change")
    assert sealer_of(ledger, signing).seal() is not None


# Keys.


def test_key_file_is_read_back_and_never_replaced_by_chance(tmp_path: Path) -> None:
    keys = rotate(rotate(make_log_keys("ledger.example/log")))
    path = tmp_path / "log.key"
    write_keys(path, keys)
    assert read_keys(path) == keys
    assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Conflict, match="already"):
        write_keys(path, make_log_keys("other.example"))
    assert read_keys(path) == keys
    assert sorted(each.name for each in tmp_path.iterdir()) == ["log.key"]


def settings(folder: Path, **variables: str) -> Any:
    environment = {f"LEDGER_{name.upper()}": value for name, value in variables.items()}
    return read_settings({}, environment={"HOME": str(folder), **environment}, folder=folder)


def test_embedded_database_gets_a_key_and_keeps_it(tmp_path: Path) -> None:
    chosen = settings(tmp_path, home=str(tmp_path))
    assert open_signing(chosen) is None
    first = open_signing(chosen, make=True)
    second = open_signing(chosen)
    assert first is not None
    assert second is not None
    assert first.keys == second.keys
    assert first.folder == tmp_path / "log-heads"


def test_key_comes_from_the_environment_or_a_file_and_otherwise_sealing_is_off(tmp_path: Path) -> None:
    keys = make_log_keys("ledger.example/log")
    path = tmp_path / "secret.key"
    write_keys(path, keys)
    url = "postgresql://nobody@nowhere/ledger"
    assert open_signing(settings(tmp_path, database_url=url)) is None
    by_text = open_signing(settings(tmp_path, database_url=url, log_key=format_keys(keys), log_heads=str(tmp_path)))
    by_file = open_signing(settings(tmp_path, database_url=url, log_key_file=str(path)))
    assert by_text is not None
    assert by_file is not None
    assert by_text.keys == by_file.keys == keys
    assert (by_text.folder, by_file.folder) == (tmp_path, tmp_path / "log-heads")
    with pytest.raises(InputError, match="twice"):
        open_signing(settings(tmp_path, log_key=format_keys(keys), log_key_file=str(path)))
    with pytest.raises(Unavailable, match="cannot be read"):
        open_signing(settings(tmp_path, log_key_file=str(tmp_path / "none")))


@pytest.mark.parametrize("text", ["", "# nothing\n", "ledger.example+00000000+AAAA", "PRIVATE+KEY+a+b+c"])
def test_text_that_is_no_key_is_refused(text: str) -> None:
    with pytest.raises(InputError):
        parse_keys(text)


def test_key_text_never_shows_in_settings(tmp_path: Path) -> None:
    keys = LogKeys(make_log_keys("ledger.example/log").signing)
    assert format_keys(keys).split("+")[-1].strip() not in repr(settings(tmp_path, log_key=format_keys(keys)))
