"""Many rows of a PostgreSQL table undone the short way: what is not exactly as the run left it goes the long way, and
wherever the connection dies each row is written once.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import psycopg
import pytest
from msgspec import Raw

import bootstrap
from bootstrap import Services
from ledger.connectors.port import Alike, TargetLost
from ledger.connectors.postgres.target import PostgresTarget
from ledger.domain.operation import Operation
from ledger.embedded import DatabaseUrls
from ledger.json_text import encode
from ledger.undo.request import UndoRequest
from ledger.undo.result import UndoResult

ROWS = 40
LONG = "a very long column name, as long as PostgreSQL takes it: 63 byt"
TABLE = f"""
    CREATE TABLE contacts (
        id bigint PRIMARY KEY, city text, "100%" int CHECK ("100%" >= 0), "{LONG}" numeric, at timestamptz,
        written int DEFAULT 0
    );
    INSERT INTO contacts (id, city, "100%", "{LONG}", at) SELECT n, 'paris ' || n, n, n * 1.10, '2026-01-01T00:00:00Z'
    FROM generate_series(1, {ROWS}) n;
    CREATE FUNCTION count_write() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN NEW.written = OLD.written + 1; RETURN NEW; END';
    CREATE TRIGGER count_write BEFORE UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION count_write();
"""
CHANGED = f"""UPDATE contacts SET city = upper(city), "100%" = "100%" + 1, "{LONG}" = "{LONG}" + 1, at = at + '1 day'"""
STATE = f"""SELECT id, city, "100%", "{LONG}"::text, at FROM contacts ORDER BY id"""


class Dying(PostgresTarget):
    """Its connection dies in one of the calls; what was written before has landed."""

    dies_in = ""

    def write_alike(self, updates: Alike, run_id: str) -> list[int]:
        if self.dies_in == "lost":
            raise TargetLost("The connection was lost before the write.")
        written = super().write_alike(updates, run_id)
        if self.dies_in == "lost-but-done":
            raise TargetLost("The connection was lost after the write.")
        return written

    def holding(self, updates: Alike) -> list[int]:
        if self.dies_in == "reading back":
            raise TargetLost("The connection was lost while reading back.")
        return super().holding(updates)


class Table:
    """A table of an application, a run that changed all of it, and the target that leads to it."""

    def __init__(self, services: Services, owner_url: str) -> None:
        account_id = services.accounts().add("shop").account_id
        self.connection = psycopg.connect(owner_url, autocommit=True)
        self.connection.execute("CREATE SCHEMA shop; SET search_path = shop")
        self.connection.execute(TABLE)
        self.target = Dying(owner_url, {"contact": "shop.contacts"}, system_fields=["written"])
        self.undos = services.undo(account_id, self.target)
        befores = self._documents()
        self.found = self.state()
        self.connection.execute(CHANGED)
        self.connection.execute("ALTER TABLE contacts DISABLE TRIGGER USER; UPDATE contacts SET written = 0")
        self.connection.execute("ALTER TABLE contacts ENABLE TRIGGER USER")
        ledger = services.ledger(account_id)
        ledger.start_run(Operation(object_type="contact"), run_id="r-1")
        ledger.record_changes("r-1", [b"\n".join(map(_line, befores, self._documents()))])
        ledger.finish_run("r-1")

    def do(self, statement: str) -> None:
        """What somebody does who is not the undo: it does not count as written."""
        self.connection.execute("ALTER TABLE contacts DISABLE TRIGGER USER")
        self.connection.execute(statement)
        self.connection.execute("ALTER TABLE contacts ENABLE TRIGGER USER")

    def undo(self) -> UndoResult:
        return self.undos.undo(UndoRequest(("r-1",)))

    def state(self, *without: int) -> list[Sequence[object]]:
        return [row for row in self.connection.execute(STATE) if row[0] not in without]

    def written(self) -> dict[int, int]:
        """How often each row was written."""
        return dict(self.connection.execute("SELECT id, written FROM contacts ORDER BY id").fetchall())

    def _documents(self) -> list[tuple[int, dict[str, object]]]:
        self.connection.execute("SET timezone = 'UTC'")
        query = f"""SELECT id, city, "100%", "{LONG}"::text, to_json(at)::text FROM contacts ORDER BY id"""
        return [
            (row[0], {"city": row[1], "100%": row[2], LONG: Raw(row[3].encode()), "at": Raw(row[4].encode())})
            for row in self.connection.execute(query)
        ]


def _line(before: tuple[int, dict[str, object]], after: tuple[int, dict[str, object]]) -> bytes:
    return encode({"record_id": str(before[0]), "action": "update", "before": before[1], "after": after[1]})


@pytest.fixture
def table(database: DatabaseUrls) -> Iterator[Table]:
    services = bootstrap.connect(database.service_url)
    table = Table(services, database.owner_url)
    yield table
    table.connection.close()
    services.close()


def test_every_row_comes_back_and_is_written_once(table: Table) -> None:
    result = table.undo()
    assert (result.status, result.applied.count, result.fields_proven) == ("completed", ROWS, 4 * ROWS)
    assert table.state() == table.found
    assert set(table.written().values()) == {1}


def test_a_row_that_differs_in_the_scale_of_a_number_alone_is_left_alone(table: Table) -> None:
    table.do(f"""UPDATE contacts SET "{LONG}" = round("{LONG}", 5) WHERE id = 7""")
    result = table.undo()
    assert [(item.record_id, item.field, item.reason) for item in result.skipped.items] == [
        ("7", LONG, "modified_since")
    ]
    assert (result.status, result.applied.count) == ("partial", ROWS), "its other fields go back"
    assert table.state(7) == [row for row in table.found if row[0] != 7]
    assert set(table.written().values()) == {1}


def test_a_row_restored_already_and_one_that_is_gone_are_not_written(table: Table) -> None:
    table.do(f"""UPDATE contacts SET city = lower(city), "100%" = "100%" - 1, "{LONG}" = "{LONG}" - 1,
                 at = at - '1 day'::interval WHERE id = 3; DELETE FROM contacts WHERE id = 4""")
    result = table.undo()
    assert {(item.record_id, item.reason) for item in result.noop.items} == {("3", "already_restored")}
    assert [(item.record_id, item.reason) for item in result.skipped.items] == [("4", "record_missing")]
    assert (result.status, result.applied.count) == ("partial", ROWS - 2)
    assert table.written()[3] == 0


def test_a_row_that_the_database_refuses_fails_alone(table: Table) -> None:
    table.do('ALTER TABLE contacts ADD CHECK ("100%" <> 9) NOT VALID')
    result = table.undo()
    assert [(item.record_id, item.reason) for item in result.failed.items] == [("9", "rejected")]
    assert "violates check constraint" in (result.failed.items[0].message or "")
    assert (result.status, result.applied.count) == ("partial", ROWS - 1)
    assert table.state(9) == [row for row in table.found if row[0] != 9]


def test_a_row_that_a_trigger_alters_is_told(table: Table) -> None:
    table.do("""CREATE FUNCTION shorten() RETURNS trigger LANGUAGE plpgsql AS
        'BEGIN IF NEW.id = 5 THEN NEW.city = left(NEW.city, 3); END IF; RETURN NEW; END';
        CREATE TRIGGER shorten BEFORE UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION shorten()""")
    result = table.undo()
    assert [(item.record_id, item.field, item.reason) for item in result.failed.items] == [
        ("5", "city", "not_as_written")
    ]
    assert (result.status, result.applied.count, result.fields_proven) == ("partial", ROWS, 4 * ROWS - 1)
    assert set(table.written().values()) == {1}


def test_values_told_in_another_form_are_proven_all_the_same(table: Table, database: DatabaseUrls) -> None:
    """A producer writes instants with Z where PostgreSQL writes +00:00: the record is looked at, not failed."""
    services = bootstrap.connect(database.service_url)
    ledger = services.ledger(table.undos.account_id)
    table.do("UPDATE contacts SET at = '2027-01-01T00:00:00Z'")
    ledger.start_run(Operation(object_type="contact"), run_id="r-2")
    ledger.record_changes("r-2", [
        b"\n".join(
            encode({"record_id": str(number), "action": "update", "before": {"at": "2026-05-05T00:00:00Z"},
                    "after": {"at": "2027-01-01T00:00:00+00:00"}})
            for number in range(1, ROWS + 1)
        )
    ])  # fmt: skip
    ledger.finish_run("r-2")
    result = table.undos.undo(UndoRequest(("r-2",)))
    assert (result.status, result.applied.count, result.fields_proven) == ("completed", ROWS, ROWS)
    assert {row[4].isoformat() for row in table.state()} == {"2026-05-05T00:00:00+00:00"}  # type: ignore[attr-defined]
    services.close()


@pytest.mark.parametrize("dies_in", ["lost", "lost-but-done", "reading back"])
def test_wherever_the_connection_dies_each_row_is_written_once(table: Table, dies_in: str) -> None:
    table.target.dies_in = dies_in
    died = table.undo()
    assert (died.status, died.undo_id is not None) == ("interrupted", True)
    table.target.dies_in = ""
    resumed = table.undos.resume(died.undo_id or "")
    assert (resumed.status, resumed.applied.count, resumed.fields_proven) == ("completed", ROWS, 4 * ROWS)
    assert table.state() == table.found
    assert set(table.written().values()) == {1}


def test_what_was_edited_between_interruption_and_resume_stays(table: Table) -> None:
    table.target.dies_in = "lost"
    died = table.undo()
    table.do("UPDATE contacts SET city = 'mine' WHERE id = 2")
    table.target.dies_in = ""
    resumed = table.undos.resume(died.undo_id or "")
    assert ("2", "city", "modified_since") in [(i.record_id, i.field, i.reason) for i in resumed.skipped.items]
    assert resumed.applied.count == ROWS - 1
    assert table.state()[1][1] == "mine"
