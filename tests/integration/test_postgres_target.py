"""A real PostgreSQL table: captured, undone, put back exactly, with every kind of column."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest

import bootstrap
from bootstrap import Services
from ledger.connectors.port import Write
from ledger.connectors.postgres.capture import install_capture, remove_capture
from ledger.connectors.postgres.outbox import Drain
from ledger.connectors.postgres.target import PostgresTarget
from ledger.connectors.registry import Target
from ledger.embedded import DatabaseUrls
from ledger.undo.request import UndoRequest

TABLES = """
    CREATE TYPE mood AS ENUM ('sad', 'glad');
    CREATE TABLE companies (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, name text UNIQUE NOT NULL);
    CREATE TABLE contacts (
        country text, number int, company bigint REFERENCES companies, email text, big bigint, money numeric(40, 4),
        exact numeric, ratio float8, at timestamptz, on_day date, took interval, ok boolean, raw bytea, feels mood,
        tags text[], grid int[][], doc jsonb, note json, spot point, network inet,
        shout text GENERATED ALWAYS AS (upper(email)) STORED, seen timestamptz DEFAULT now(),
        PRIMARY KEY (country, number), CHECK (number >= 0)
    );
    INSERT INTO companies (name) VALUES ('a'), ('b');
    INSERT INTO contacts VALUES
        ('de', 1, 1, 'ann@x', 9007199254740993, 12345678901234567890123456789012.1000, 1.10, 0.1,
         '2026-01-02 03:04:05.123456+02', '2026-02-03', '1 year 2 days 3.5 s', true, '\\x00ff', 'glad',
         ARRAY['a', NULL, 'b"c'], '{{1,2},{3,4}}', '{"b": 1.10, "a": [null]}', '{"z": 1, "y": "\\u00e9"}', '(1,2)',
         '10.0.0.0/8'),
        ('de', 2, NULL, NULL, NULL, NULL, 'NaN', 'Infinity', 'infinity', NULL, NULL, NULL, NULL, NULL, NULL, NULL,
         NULL, NULL, NULL, NULL);
"""
BAD_RUN = """
    UPDATE contacts SET email = 'x', big = 1, money = 0, exact = 0, ratio = 0, at = now(), on_day = 'today',
        took = '0', ok = false, raw = '\\x01', feels = 'sad', tags = '{}', grid = '{}', doc = '[]', note = '1',
        spot = '(0,0)', network = '::1', company = 2;
    DELETE FROM contacts WHERE number = 2;
    INSERT INTO contacts (country, number, email) VALUES ('fr', 3, 'new');
"""

ROWS = """
    SELECT (country, number, company, email, big, money, exact, ratio, at, on_day, took, ok, raw, feels, tags, grid,
            doc, note::jsonb, spot::text, network, shout)::text FROM contacts ORDER BY country, number
"""


class Shop:
    """An application's database with capture on, and a ledger beside it."""

    def __init__(self, services: Services, account_id: UUID, owner_url: str) -> None:
        self.services, self.account_id = services, account_id
        self.connection = psycopg.connect(owner_url, autocommit=True)
        self.connection.execute("CREATE SCHEMA shop; SET search_path = shop")
        self.connection.execute(TABLES)
        tables = {"contacts": "shop.contacts", "companies": "shop.companies"}
        self.settings: dict[str, Any] = {"dsn": owner_url, "tables": tables, "system_fields": ["seen"]}
        services.targets(account_id).add(Target("shop", "postgres", self.settings))
        install_capture(self.settings)

    def do(self, run_id: str, statements: str) -> None:
        """What the application does in one transaction, as a run of its own."""
        with self.connection.transaction():
            self.connection.execute(f"SET LOCAL ledger.run_id = '{run_id}'; SET LOCAL ledger.user_name = 'Ann'")
            self.connection.execute(statements)
            self.connection.execute("SELECT ledger_capture.finish_run(%s)", (run_id,))

    def drain(self) -> int:
        with Drain(self.settings, "shop", self.services.ledger(self.account_id)) as draining:
            return draining.drain()

    def undo(self, run_id: str, **options: Any) -> Any:
        return self.services.undo(self.account_id).undo(UndoRequest((run_id,), **options))

    def rows(self) -> list[Any]:
        """All of the table but `seen`, which the database keeps itself; of json its meaning."""
        return self.connection.execute(ROWS).fetchall()


@pytest.fixture
def shop(database: DatabaseUrls) -> Iterator[Shop]:
    services = bootstrap.connect(database.service_url)
    shop = Shop(services, services.accounts().add("shop").account_id, database.owner_url)
    yield shop
    shop.connection.close()
    services.close()


def test_a_captured_run_is_put_back_with_every_kind_of_value(shop: Shop) -> None:
    found = shop.rows()
    shop.do("r-1", BAD_RUN)
    assert shop.rows() != found
    assert shop.drain() == 4
    result = shop.undo("r-1")
    assert (result.status, result.applied.count, result.failed.items) == ("completed", 3, [])
    assert shop.rows() == found
    assert result.fields_proven > 17
    assert shop.drain() == 0, "what the undo writes is recorded by the undo"


def test_what_was_edited_since_stays(shop: Shop) -> None:
    shop.do("r-1", "UPDATE contacts SET email = 'x', ok = false WHERE number = 1")
    shop.do("r-2", "UPDATE contacts SET email = 'better' WHERE number = 1")
    shop.drain()
    result = shop.undo("r-1")
    assert result.status == "partial"
    assert [(item.field, item.reason, item.author.run_id, item.author.user) for item in result.skipped.items] == [
        ("email", "modified_since", "r-2", "Ann")
    ]
    row = shop.connection.execute("SELECT email, ok FROM contacts WHERE number = 1").fetchone()
    assert row == ("better", True)


def test_an_edit_behind_the_ledgers_back_is_outside_the_ledger(shop: Shop) -> None:
    shop.do("r-1", "UPDATE contacts SET email = 'x' WHERE number = 1")
    shop.drain()
    remove_capture(shop.settings)
    shop.connection.execute("UPDATE contacts SET email = 'hand' WHERE number = 1")
    (item,) = shop.undo("r-1").skipped.items
    assert (item.reason, item.author.run_id) == ("modified_since", None)


def test_a_transaction_without_a_name_is_a_run_of_its_own(shop: Shop) -> None:
    shop.connection.execute("UPDATE contacts SET ok = false")
    assert shop.drain() == 2
    shop.services.project_once(shop.account_id)
    (row,) = shop.services.tracker(shop.account_id).list_runs(_all_runs()).rows
    assert (row.status, row.tally.updated, row.operation.target) == ("finished", 2, "shop")
    assert shop.undo(row.run_id).status == "completed"


def _all_runs() -> Any:
    from projections.tracker.view import RunQuery

    return RunQuery()


def test_a_drain_that_died_before_it_emptied_the_outbox_repeats_nothing(shop: Shop) -> None:
    shop.do("r-1", "UPDATE contacts SET ok = NULL; INSERT INTO companies (name) VALUES ('c')")
    kept = shop.connection.execute("SELECT * FROM ledger_capture.outbox").fetchall()
    shop.connection.execute("CREATE TABLE kept AS TABLE ledger_capture.outbox")
    assert shop.drain() == len(kept) - 1
    shop.connection.execute(
        "INSERT INTO ledger_capture.outbox OVERRIDING SYSTEM VALUE SELECT * FROM kept;"
        "INSERT INTO ledger_capture.progress (run_id, ledger_run) VALUES ('r-1', 'r-1') ON CONFLICT DO NOTHING"
    )
    shop.drain()
    assert shop.services.ledger(shop.account_id).store.load_run("r-1").accepted == len(kept) - 1


def test_a_late_commit_is_not_missed(shop: Shop, database: DatabaseUrls) -> None:
    with psycopg.connect(database.owner_url) as late:
        late.execute("SET LOCAL ledger.run_id = 'late'")
        late.execute("UPDATE shop.companies SET name = 'late' WHERE id = 1")
        shop.do("early", "UPDATE companies SET name = 'early' WHERE id = 2")
        first = shop.drain()
    assert first + shop.drain() == 2


def test_truncate_is_refused_while_capture_is_on(shop: Shop) -> None:
    with pytest.raises(psycopg.errors.RaiseException, match="refused"):
        shop.connection.execute("TRUNCATE contacts")


def test_parents_come_back_before_their_children_under_their_own_ids(shop: Shop) -> None:
    before = (shop.rows(), shop.connection.execute("SELECT * FROM companies ORDER BY id").fetchall())
    shop.do("r-1", "DELETE FROM contacts; DELETE FROM companies")
    shop.drain()
    assert shop.undo("r-1").status == "completed"
    assert (shop.rows(), shop.connection.execute("SELECT * FROM companies ORDER BY id").fetchall()) == before


def test_triggers_of_the_application_fire_and_may_refuse_one_record(shop: Shop) -> None:
    shop.do("r-1", "UPDATE contacts SET ok = NULL")
    shop.drain()
    shop.connection.execute(
        "CREATE FUNCTION guard() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.number = 1 THEN RAISE EXCEPTION 'contact 1 is archived'; END IF; RETURN NEW; END $$;"
        "CREATE TRIGGER guard BEFORE UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION guard()"
    )
    result = shop.undo("r-1")
    assert [(item.record_id, item.reason, item.message) for item in result.failed.items] == [
        ('["de",1]', "rejected", "contact 1 is archived")
    ]
    shop.connection.execute("DROP TRIGGER guard ON contacts")
    again = shop.undo("r-1")
    assert again.status == "completed"
    assert again.applied.count == 1


def test_writes_compare_and_set(shop: Shop) -> None:
    target = PostgresTarget(shop.settings["dsn"], shop.settings["tables"])
    writes = [
        Write("update", "contacts", '["de",1]', {"big": b"5"}, {"big": b"9007199254740993"}),
        Write("update", "contacts", '["de",1]', {"big": b"6"}, {"big": b"9007199254740992"}),
        Write("update", "contacts", '["xx",1]', {"big": b"6"}, {"big": b"1"}),
        Write("delete", "contacts", '["de",2]', {}, {"email": b'"somebody"'}),
        Write("create", "contacts", '["de",2]', {"email": b'"b"'}, {}),
        Write("create", "contacts", '["de",-1]', {"email": b'"b"'}, {}),
        Write("update", "contacts", "not a key", {"big": b"1"}, {}),
    ]
    outcomes = target.write(writes, "u-1")
    assert [outcome.status for outcome in outcomes] == [
        "applied", "conflict", "missing", "conflict", "conflict", "rejected", "missing"
    ]  # fmt: skip
    assert outcomes[1].seen is not None
    assert outcomes[1].seen["big"] == b"5"
