"""A bad run on a real PostgreSQL table, and its undo: captured by two commands, taken back by one."""

from __future__ import annotations

import json
import time
from pathlib import Path

import psycopg

from demo.server import LedgerCommand
from ledger import embedded

ACCOUNT = "shop"
CONTACTS = 1_000
TABLE = f"""
    DROP SCHEMA IF EXISTS shop CASCADE;
    DROP SCHEMA IF EXISTS ledger_capture CASCADE;
    CREATE SCHEMA shop;
    CREATE TABLE shop.contacts (id int PRIMARY KEY, name text NOT NULL, phone text);
    INSERT INTO shop.contacts SELECT n, 'Contact ' || n, '202 555 ' || to_char(n, 'FM0000')
    FROM generate_series(1, {CONTACTS}) n;
"""
BAD_RUN = "UPDATE shop.contacts SET phone = NULL, name = upper(name)"
CORRECTION = "UPDATE shop.contacts SET phone = '+1 202 555 0007' WHERE id = 7"


def play_bad_run(ledger: LedgerCommand, home: Path) -> list[str]:
    """Plays it and prints what an operator would type. Returns what is not as it must be."""
    run_id = f"cleanup-{time.time_ns() // 1_000_000}"
    with embedded.database(home) as urls, psycopg.connect(urls.owner_url, autocommit=True) as connection:
        ledger.environment["SHOP_DSN"] = urls.owner_url
        connection.execute(TABLE)
        _add_target(ledger)
        _step(ledger, "Capture a table: every change of it is kept from now on", "target", "capture", "shop")
        before = connection.execute("SELECT * FROM shop.contacts ORDER BY id").fetchall()
        _change(connection, run_id, "Ann", BAD_RUN)
        print(f"\nAnn runs: {BAD_RUN}   (run {run_id})", flush=True)
        _change(connection, f"{run_id}-fix", "Eve", CORRECTION)
        print(f"Eve corrects one: {CORRECTION}", flush=True)
        _step(ledger, "Bring what was captured into the ledger", "target", "drain", "shop")
        _step(ledger, "Take Ann's run back: the plan first", "undo", run_id, "--preview", status=8)
        _step(ledger, "Then for real", "undo", run_id, "--yes", status=8)
        after = connection.execute("SELECT * FROM shop.contacts ORDER BY id").fetchall()
    expected = [(*row[:2], "+1 202 555 0007") if row[0] == 7 else row for row in before]
    print(f"\n{sum(map(bool, after)):,} contacts are as they were; Eve's correction stayed.", flush=True)
    return [] if after == expected else ["the undo of the bad run left other contacts than expected"]


def _change(connection: psycopg.Connection, run_id: str, user: str, statement: str) -> None:
    with connection.transaction():
        connection.execute("SELECT set_config('ledger.run_id', %s, true)", (run_id,))
        connection.execute("SELECT set_config('ledger.user_name', %s, true)", (user,))
        connection.execute(statement)
        connection.execute("SELECT ledger_capture.finish_run(%s)", (run_id,))


def _add_target(ledger: LedgerCommand) -> None:
    if ACCOUNT not in ledger.text("account", "list"):
        ledger.text("account", "add", ACCOUNT)
    if json.loads(ledger.text("--account", ACCOUNT, "target", "list", "--json")):
        ledger.text("--account", ACCOUNT, "target", "remove", "shop")
    arguments = ("target", "add", "shop", "postgres", "--dsn", "env:SHOP_DSN", "--table", "contacts=shop.contacts")
    _step(ledger, "A PostgreSQL database as a target", *arguments)


def _step(ledger: LedgerCommand, title: str, *arguments: str, status: int = 0) -> None:
    print(f"\n{title}\n$ ledger {' '.join(arguments)}", flush=True)
    print(ledger.text("--account", ACCOUNT, *arguments, status=status), end="", flush=True)
