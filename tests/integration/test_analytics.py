"""The export as Parquet, and SQL on it: its totals are the ledger's, what was erased is in none made later."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import bootstrap
from bootstrap import Services
from ledger.embedded import DatabaseUrls
from ledger.errors import Conflict, InputError, NotFound
from ledger.ids import account_id_of
from projections.analytics.duck import run_query
from projections.analytics.export import ParquetExport
from tests.command import Command
from tests.examples import a_change, add_account, record
from tests.projected import record_history

duckdb = pytest.importorskip("duckdb")

ACCOUNT = account_id_of("default")
SEGMENT = 100
WHY = {"reason": "Request 7", "user": "Ann"}


@pytest.fixture
def services(database: DatabaseUrls) -> Iterator[Services]:
    found = bootstrap.connect(database.service_url)
    add_account(found.database)
    yield found
    found.close()


def export(services: Services, folder: Path, *, account: str = "default") -> tuple[str, ...]:
    """Exports in small segments. The files that were written."""
    account_id = account_id_of(account)
    services.project_once(account_id)
    return ParquetExport(services.database, account_id, account, segment_positions=SEGMENT).export(folder).files


def ask(folder: Path, sql: str) -> list[tuple[Any, ...]]:
    return list(run_query(folder, sql)[1])


def test_totals_are_those_of_the_ledger(services: Services, tmp_path: Path) -> None:
    record_history(services.ledger(ACCOUNT))
    export(services, tmp_path)
    head = services.accounts().find("default").head
    assert ask(tmp_path, "SELECT count(*), min(position), max(position), count(DISTINCT position) FROM events") == [
        (head, 1, head, head)
    ]
    runs = ask(tmp_path, "SELECT run_id, created, updated, deleted, unmodified, other, failed FROM runs")
    kinds = dict(ask(tmp_path, "SELECT run_id, kind FROM runs"))
    counted = {row[0]: row[1:] for row in ask(tmp_path, """
        SELECT run_id, count(*) FILTER (result = 'succeeded' AND action = 'create'),
            count(*) FILTER (result = 'succeeded' AND action = 'update'),
            count(*) FILTER (result = 'succeeded' AND action = 'delete'),
            count(*) FILTER (result = 'succeeded' AND action = 'none'),
            count(*) FILTER (result = 'succeeded' AND action NOT IN ('create', 'update', 'delete', 'none')),
            count(*) FILTER (result = 'failed') FROM changes GROUP BY run_id
    """)}  # fmt: skip
    assert len(runs) == 40
    for run_id, *tally in runs:
        tally_in_ledger = services.ledger(ACCOUNT).store.load_run(run_id).tally
        if kinds[run_id] != "recipe":
            assert tuple(tally) == counted.get(run_id, (0,) * 6)
            assert (tally[0], tally[5]) == (tally_in_ledger.created, tally_in_ledger.failed)
    sorted_by_position = "SELECT bool_and(position > before) FROM (SELECT position, lag(position) OVER () AS before"
    for path in (tmp_path / "events" / "account=default").glob("*.parquet"):
        assert ask(tmp_path, f"{sorted_by_position} FROM '{path}')") in ([(True,)], [(None,)])


def test_values_keep_their_digits_and_types_are_plain(services: Services, tmp_path: Path) -> None:
    exact = {"n": 10**30, "price": "1.10", "text": "naïve \u0000 \U0001f600 \"'\\", "none": None}
    record(services.ledger(ACCOUNT), "R1", [a_change(1, after=exact, label="it's")])
    files = export(services, tmp_path)
    assert sorted(files) == [f"{table}/account=default/{table}{number}.parquet" for table, number in (
        ("changes", "-000000"), ("events", "-000000"), ("runs", "")
    )]  # fmt: skip
    (row,) = ask(tmp_path, "SELECT after, before, label, account, erased, occurred_at IS NOT NULL FROM changes")
    assert (json.loads(row[0]), json.loads(row[1])) == (exact, {"phone": "202 555 0100"})
    assert row[2:] == ("it's", "default", False, True)
    assert ask(tmp_path, "SELECT after->>'$.price' FROM changes") == [("1.10",)]
    kinds = {row[0] for row in duckdb.connect().execute(
        f"SELECT type FROM parquet_schema('{tmp_path}/*/*/*.parquet') WHERE num_children IS NULL"
    ).fetchall()}  # fmt: skip
    assert kinds <= {"INT64", "BOOLEAN", "BYTE_ARRAY"}


def test_an_export_goes_on_where_the_last_one_stopped(services: Services, tmp_path: Path) -> None:
    ledger = services.ledger(ACCOUNT)
    record(ledger, "R1", [a_change(number) for number in range(1, 151)])
    assert len(export(services, tmp_path)) == 5
    untouched = tmp_path / "events" / "account=default" / "events-000000.parquet"
    inode = untouched.stat().st_ino
    record(ledger, "R2", [a_change(number) for number in range(1, 60)])
    written = export(services, tmp_path)
    assert [name.rpartition("/")[2] for name in written] == [
        "events-000001.parquet", "changes-000001.parquet", "events-000002.parquet", "changes-000002.parquet",
        "runs.parquet",
    ]  # fmt: skip
    assert untouched.stat().st_ino == inode
    assert ask(tmp_path, "SELECT count(*), count(DISTINCT position) FROM changes") == [(209, 209)]
    assert [name.rpartition("/")[2] for name in export(services, tmp_path)] == ["runs.parquet"]
    assert not list(tmp_path.glob(".writing-*"))


def test_erased_values_leave_the_files_at_the_next_export(services: Services, tmp_path: Path) -> None:
    ledger = services.ledger(ACCOUNT)
    secret = "bo.secret@example.com"
    record(ledger, "R1", [a_change(1, label=secret), *(a_change(number) for number in range(2, 151))])
    record(ledger, "R2", [a_change(number) for number in range(2, 120)])
    export(services, tmp_path)
    assert ask(tmp_path, f"SELECT count(*) FROM events WHERE payload LIKE '%{secret}%'") == [(1,)]
    services.erasure(ACCOUNT).erase("contact", "r-1", **WHY)
    written = export(services, tmp_path)
    assert "events/account=default/events-000000.parquet" in written
    assert "events/account=default/events-000001.parquet" not in written
    every = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert secret.encode() not in every
    for table, text in (("events", "payload"), ("changes", "label")):
        assert ask(tmp_path, f"SELECT count(*) FROM {table} WHERE {text} LIKE '%{secret}%'") == [(0,)]
    assert ask(tmp_path, "SELECT record_id, erased_fields FROM changes WHERE erased") == [("r-1", "phone")]
    fresh = tmp_path / "fresh"
    export(services, fresh)
    assert ask(fresh, "SELECT * FROM changes ORDER BY position") == ask(
        tmp_path, "SELECT * FROM changes ORDER BY position"
    )


def test_accounts_share_a_folder_and_stay_apart(services: Services, tmp_path: Path) -> None:
    add_account(services.database, "other")
    record(services.ledger(ACCOUNT), "R1", [a_change(1)])
    record(services.ledger(account_id_of("other")), "R1", [a_change(1), a_change(2)])
    export(services, tmp_path)
    export(services, tmp_path, account="other")
    assert ask(tmp_path, "SELECT account, count(*) FROM changes GROUP BY 1 ORDER BY 1") == [
        ("default", 1),
        ("other", 2),
    ]


def test_a_query_reads_the_export_and_nothing_else(services: Services, tmp_path: Path) -> None:
    record(services.ledger(ACCOUNT), "R1", [a_change(1)])
    folder, outside = tmp_path / "export", tmp_path / "secret.csv"
    outside.write_text("a\n1\n")
    export(services, folder)
    for sql in (f"SELECT * FROM '{outside}'", f"COPY events TO '{outside}'", "SET enable_external_access = true"):
        with pytest.raises(InputError, match="DuckDB does not carry the query out"):
            ask(folder, sql)
    with pytest.raises(InputError, match="DuckDB does not carry the query out: Parser Error"):
        ask(folder, "SELEKT 1")
    with pytest.raises(NotFound, match="There is no export in"):
        ask(tmp_path / "empty", "SELECT 1")


def test_a_folder_of_another_log_is_refused(services: Services, tmp_path: Path) -> None:
    record(services.ledger(ACCOUNT), "R1", [a_change(1)])
    export(services, tmp_path)
    state = tmp_path / "_ledger" / "default.json"
    state.write_text(state.read_text().replace('"upto":4', '"upto":99'))
    with pytest.raises(Conflict, match="whose log has 4"):
        export(services, tmp_path)
    state.write_text("{}")
    with pytest.raises(Conflict, match="Export into a fresh folder"):
        export(services, tmp_path)


def test_without_duckdb_the_message_says_what_to_install(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    services.project_once(ACCOUNT)
    monkeypatch.setitem(sys.modules, "duckdb", None)
    with pytest.raises(InputError, match=r"pip install 'audit-ledger\[analytics\]'"):
        ParquetExport(services.database, ACCOUNT, "default").export(tmp_path)


def test_export_and_query_on_the_command_line(services: Services, database: DatabaseUrls, tmp_path: Path) -> None:
    record(services.ledger(ACCOUNT), "R1", [a_change(1), a_change(2)])
    services.project_once(ACCOUNT)
    command = Command(urls=database)
    done = command("export", "parquet", tmp_path / "out", "--json").document
    assert (done["upto"], len(done["files"])) == (5, 3)
    sql = "SELECT run_id, count(*) AS n FROM changes GROUP BY 1"
    assert command("query", sql, "--dir", tmp_path / "out", "--ndjson").lines == [{"run_id": "R1", "n": 2}]
    assert command("query", sql, "--json").document == [{"run_id": "R1", "n": 2}]
    assert b"R1" in command("query", sql).stdout
