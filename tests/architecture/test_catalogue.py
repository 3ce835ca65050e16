"""What PostgreSQL's catalogue says: the tables can be distributed by account, and everything is kept apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from ledger.embedded import DatabaseUrls

OF_NO_ACCOUNT = {"ledger_migrations"}
"""The only table that belongs to the database and not to an account."""
FILLED_BY_COPY = {"events", "run_changes"}
"""PostgreSQL refuses COPY into a table with row-level security, so grants, a view and a trigger keep these apart."""
VIEWS = {"account_events": {"SELECT"}, "account_run_changes": {"SELECT", "DELETE"}}
SERVICE = "ledger_service"

TABLES = """
    SELECT relname, relrowsecurity, relforcerowsecurity FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') ORDER BY relname
"""
KEYS = """
    SELECT conrelid::regclass::text, conname, contype::text, conkey[1] = account.attnum, confkey[1] = referenced.attnum
    FROM pg_constraint
    LEFT JOIN pg_attribute account ON account.attrelid = conrelid AND account.attname = 'account_id'
    LEFT JOIN pg_attribute referenced ON referenced.attrelid = confrelid AND referenced.attname = 'account_id'
    WHERE connamespace = 'public'::regnamespace AND contype IN ('p', 'u', 'f', 'x')
"""
UNIQUE_INDEXES = """
    SELECT indrelid::regclass::text, indexrelid::regclass::text, pg_get_indexdef(indexrelid, 1, true) = 'account_id'
    FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid
    WHERE relnamespace = 'public'::regnamespace AND indisunique
"""
ACCOUNT_COLUMNS = """
    SELECT relname, format_type(atttypid, atttypmod), attnotnull, attgenerated::text || attidentity::text, atthasdef
    FROM pg_class LEFT JOIN pg_attribute ON attrelid = pg_class.oid AND attname = 'account_id'
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
"""
NUMBER_MAKERS = """
    SELECT relname FROM pg_class WHERE relkind = 'S'
        AND relnamespace NOT IN (SELECT oid FROM pg_namespace WHERE nspname IN ('pg_catalog', 'information_schema'))
    UNION ALL
    SELECT attrelid::regclass || '.' || attname FROM pg_attribute WHERE attidentity <> ''
    UNION ALL
    SELECT adrelid::regclass::text FROM pg_attrdef WHERE pg_get_expr(adbin, adrelid) LIKE '%nextval%'
"""
GRANTS = """
    SELECT table_name, grantee, privilege_type FROM information_schema.role_table_grants
    WHERE table_schema = 'public' AND grantee IN (%s, 'PUBLIC')
"""
FUNCTIONS = """
    SELECT proname, prosecdef, coalesce(array_to_string(proconfig, ','), ''),
           EXISTS (SELECT FROM aclexplode(coalesce(proacl, acldefault('f', proowner)))
                   WHERE grantee = 0 AND privilege_type = 'EXECUTE')
    FROM pg_proc WHERE pronamespace = 'public'::regnamespace
"""


@pytest.fixture
def catalogue(database: DatabaseUrls) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        yield connection


def tables(catalogue: psycopg.Connection[Any]) -> list[str]:
    return [name for name, _, _ in catalogue.execute(TABLES) if name not in OF_NO_ACCOUNT]


def test_account_id_is_a_plain_column_of_every_table(catalogue: psycopg.Connection[Any]) -> None:
    columns = {name: tuple(facts) for name, *facts in catalogue.execute(ACCOUNT_COLUMNS) if name not in OF_NO_ACCOUNT}
    assert {"accounts", "events", "tokens"} <= columns.keys()
    assert columns == dict.fromkeys(columns, ("uuid", True, "", False))


def test_account_id_leads_every_primary_unique_and_foreign_key(catalogue: psycopg.Connection[Any]) -> None:
    keys = catalogue.execute(KEYS).fetchall()
    led = {
        (name, kind): (leads, kind != "f" or refers)
        for table, name, kind, leads, refers in keys
        if table not in OF_NO_ACCOUNT
    }
    assert led == dict.fromkeys(led, (True, True))
    with_primary_key = {table for table, _, kind, _, _ in keys if kind == "p"}
    assert with_primary_key - OF_NO_ACCOUNT == set(tables(catalogue))


def test_account_id_leads_every_unique_index(catalogue: psycopg.Connection[Any]) -> None:
    found = {index: leads for table, index, leads in catalogue.execute(UNIQUE_INDEXES) if table not in OF_NO_ACCOUNT}
    assert found
    assert found == dict.fromkeys(found, True)


def test_nothing_makes_numbers_of_its_own(catalogue: psycopg.Connection[Any]) -> None:
    assert catalogue.execute(NUMBER_MAKERS).fetchall() == []


def test_all_tables_can_be_partitioned_by_account(catalogue: psycopg.Connection[Any]) -> None:
    catalogue.execute("CREATE SCHEMA part")
    for table in tables(catalogue):
        name = sql.Identifier(table)
        catalogue.execute(
            sql.SQL("CREATE TABLE part.{} (LIKE public.{} INCLUDING ALL) PARTITION BY HASH (account_id)").format(
                name, name
            )
        )
        for part in range(2):
            catalogue.execute(
                sql.SQL("CREATE TABLE part.{} PARTITION OF part.{} FOR VALUES WITH (MODULUS 2, REMAINDER {})").format(
                    sql.Identifier(f"{table}_{part}"), name, part
                )
            )
    for table, definition in catalogue.execute(
        "SELECT conrelid::regclass::text, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND contype = 'f'"
    ).fetchall():
        placed = definition.replace(" REFERENCES ", " REFERENCES part.")
        catalogue.execute(sql.SQL("ALTER TABLE part.{} ADD {}").format(sql.Identifier(table), sql.SQL(placed)))
    made = catalogue.execute("SELECT count(*) FROM pg_partitioned_table").fetchone()
    assert made == (len(tables(catalogue)),)


def test_every_table_is_secured_by_rows_or_by_grants(catalogue: psycopg.Connection[Any]) -> None:
    secured = {name: (rows, forced) for name, rows, forced in catalogue.execute(TABLES) if name not in OF_NO_ACCOUNT}
    expected = {name: (name not in FILLED_BY_COPY,) * 2 for name in secured}
    assert secured.keys() >= FILLED_BY_COPY
    assert secured == expected


def test_row_policies_for_the_service_compare_the_account(catalogue: psycopg.Connection[Any]) -> None:
    own = "(account_id = ledger_current_account())"
    policies = catalogue.execute(
        "SELECT tablename, qual, with_check FROM pg_policies WHERE %s = ANY(roles)", (SERVICE,)
    )
    found = {table: (seen, written) for table, seen, written in policies}
    assert found == dict.fromkeys(set(tables(catalogue)) - FILLED_BY_COPY, (own, own))


def test_copy_tables_and_their_views_grant_no_more_than_is_needed(catalogue: psycopg.Connection[Any]) -> None:
    grants: dict[str, set[str]] = {}
    for table, grantee, privilege in catalogue.execute(GRANTS, (SERVICE,)):
        if grantee == SERVICE:
            grants.setdefault(table, set()).add(privilege)
        else:
            assert (table, privilege) == ("ledger_migrations", "SELECT"), "nothing else is for everybody"
    assert {table: grants[table] for table in FILLED_BY_COPY} == {table: {"INSERT"} for table in FILLED_BY_COPY}
    assert {view: grants[view] for view in VIEWS} == VIEWS
    assert grants["accounts"] == {"SELECT"}, "columns of accounts are granted one by one"
    assert all("TRUNCATE" not in privileges and "REFERENCES" not in privileges for privileges in grants.values())


def test_the_service_may_write_two_columns_of_accounts_and_name_two(catalogue: psycopg.Connection[Any]) -> None:
    rows = catalogue.execute(
        "SELECT privilege_type, column_name FROM information_schema.role_column_grants"
        " WHERE grantee = %s AND table_name = 'accounts' AND privilege_type <> 'SELECT'",
        (SERVICE,),
    ).fetchall()
    assert set(rows) == {("INSERT", "account_id"), ("INSERT", "name"), ("UPDATE", "head"), ("UPDATE", "head_at")}


def test_views_are_barriers_that_select_the_account(catalogue: psycopg.Connection[Any]) -> None:
    views = catalogue.execute(
        "SELECT relname, coalesce(array_to_string(reloptions, ','), ''), pg_get_viewdef(oid) FROM pg_class"
        " WHERE relnamespace = 'public'::regnamespace AND relkind IN ('v', 'm')"
    ).fetchall()
    assert {name for name, _, _ in views} == set(VIEWS)
    for _, options, definition in views:
        assert options == "security_barrier=true"
        assert "account_id = ledger_current_account()" in definition


def test_functions_that_act_as_their_owner_have_a_search_path_and_are_not_for_everybody(
    catalogue: psycopg.Connection[Any],
) -> None:
    functions = catalogue.execute(FUNCTIONS).fetchall()
    as_owner = {name: (path.startswith("search_path="), public) for name, definer, path, public in functions if definer}
    assert "ledger_heads" in as_owner
    assert as_owner == dict.fromkeys(as_owner, (True, False))
    paths = {name: path for name, _, path, _ in functions}
    assert all(path.endswith("pg_temp") for path in paths.values()), "temporary objects come last"


def test_triggers_of_the_log_fire_for_everybody(catalogue: psycopg.Connection[Any]) -> None:
    rows = catalogue.execute(
        "SELECT tgname, tgenabled::text FROM pg_trigger WHERE NOT tgisinternal AND tgrelid IN"
        " ('events'::regclass, 'accounts'::regclass, 'run_changes'::regclass)"
    ).fetchall()
    assert {"refuse_change", "refuse_truncate", "check_append", "check_head", "refuse_step_back"} <= {
        name for name, _ in rows
    }
    assert {enabled for _, enabled in rows} == {"A"}, "ALWAYS: replication's setting does not switch them off"
