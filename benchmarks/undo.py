"""How fast is an undo of 100,000 updates? On the ledger's own records beside recording as many; on a PostgreSQL table,
with compare-and-set, events and reading back, beside a row-by-row revert from a JSONB log and beside one plain
UPDATE ... FROM of the same rows, the limit. And does memory grow with the run?

`row_by_row_of_plain` tells how far the limit is from the row-by-row revert: no undo can be more times as quick.
`postgres_of_logged` is the revert that keeps a trail of its own, row by row, as the tools that work so do.
"""

from __future__ import annotations

import resource
import subprocess
import sys
from functools import partial
from typing import NamedTuple

import psycopg

from benchmarks.setting import (
    blocks_of,
    change_lines,
    conclude,
    fresh_database,
    middle,
    new_account,
    seconds,
    services_on,
)
from bootstrap import Services
from ledger.connectors.postgres.capture import install_capture, remove_capture
from ledger.connectors.postgres.outbox import Drain
from ledger.connectors.registry import Target
from ledger.domain.operation import Operation
from ledger.undo.request import UndoRequest

CHANGES = 100_000
SAMPLES = 3
MEMORY_SIZES = (10_000, 1_000_000)
GOALS = {
    "ledger_of_recording": ">= 0.5",
    "postgres_of_row_by_row": ">= 8",
    "postgres_of_plain": "<= 12",
    "memory_growth": "<= 1.3",
}
TABLES = f"""
    CREATE TABLE contacts (id bigint PRIMARY KEY, name text, email text, phone text, city text, score int);
    INSERT INTO contacts SELECT n, 'name ' || n, n || '@example.com', '202 555 ' || n, 'city ' || n % 100, n % 97
    FROM generate_series(1, {CHANGES}) n;
    CREATE TABLE log AS SELECT id, jsonb_build_object('email', email, 'phone', phone, 'score', score) AS before
    FROM contacts ORDER BY id;
    CREATE TABLE old AS TABLE contacts;
    CREATE INDEX ON old (id);
"""
CHANGE = "UPDATE contacts SET email = upper(email), phone = '+1' || phone, score = score + 1"
PLAIN = "UPDATE contacts c SET email = o.email, phone = o.phone, score = o.score FROM old o WHERE o.id = c.id"
ROW_BY_ROW = """
DO $$
DECLARE
    change record;
    settings text;
BEGIN
    FOR change IN SELECT * FROM log ORDER BY id DESC LOOP
        SELECT string_agg(format('%I = (jsonb_populate_record(NULL::contacts, $1)).%I', key, key), ', ')
            INTO settings FROM jsonb_each(change.before);
        EXECUTE format('UPDATE contacts SET %s WHERE id = $2', settings) USING change.before, change.id;
    END LOOP;
END $$
"""
LOGGED = """
    CREATE TABLE trail (
        at timestamptz DEFAULT now(), who text DEFAULT current_user, id bigint, before jsonb, after jsonb
    );
    CREATE FUNCTION keep_trail() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO trail (id, before, after)
        SELECT OLD.id, jsonb_object_agg(o.key, o.value), jsonb_object_agg(o.key, to_jsonb(NEW) -> o.key)
        FROM jsonb_each(to_jsonb(OLD)) o WHERE to_jsonb(NEW) -> o.key IS DISTINCT FROM o.value;
        RETURN NULL;
    END $$;
    CREATE TRIGGER keep_trail AFTER UPDATE ON contacts FOR EACH ROW EXECUTE FUNCTION keep_trail();
"""
NOT_LOGGED = "DROP TABLE trail; DROP FUNCTION keep_trail() CASCADE"


class Postgres(NamedTuple):
    """Seconds of one sample."""

    plain: float
    row_by_row: float
    logged: float
    undoing: float


def ledger_ratio(services: Services, sample: int) -> float:
    """The rate of the undo over that of recording."""
    account = new_account(services, f"ledger-{sample}")
    ledger, lines = services.ledger(account), change_lines(CHANGES)
    run_id = ledger.start_run(Operation(object_type="contact")).run.run_id
    recording = seconds(lambda: ledger.record_changes(run_id, blocks_of(lines)))
    ledger.finish_run(run_id)
    undoing = seconds(partial(undo_whole, services, sample, run_id, f"ledger-{sample}"))
    print(f"ledger    recorded in {recording:6.2f} s, undone in {undoing:6.2f} s", flush=True)
    return recording / undoing


def undo_whole(services: Services, sample: int, run_id: str, account: str) -> None:  # noqa: ARG001 - one signature
    result = services.undo(new_account(services, account)).undo(UndoRequest((run_id,)))
    assert (result.status, result.applied.count) == ("completed", CHANGES)


def postgres_seconds(services: Services, connection: psycopg.Connection, dsn: str, sample: int) -> Postgres:
    """Of the undo and of what it is measured by."""
    account = new_account(services, f"postgres-{sample}")
    settings = {"dsn": dsn, "tables": {"contacts": "contacts"}}
    services.targets(account).add(Target("shop", "postgres", settings))
    run_id = f"bad-{sample}"
    connection.execute(CHANGE)
    plain = seconds(lambda: connection.execute(PLAIN))
    connection.execute(CHANGE)
    row_by_row = seconds(lambda: connection.execute(ROW_BY_ROW))
    connection.execute(CHANGE)
    connection.execute(LOGGED)
    logged = seconds(lambda: connection.execute(ROW_BY_ROW))
    connection.execute(NOT_LOGGED)
    connection.execute("VACUUM FULL contacts")
    install_capture(settings)
    with connection.transaction():
        connection.execute(f"SET LOCAL ledger.run_id = '{run_id}'")
        connection.execute(CHANGE)
        connection.execute("SELECT ledger_capture.finish_run(%s)", (run_id,))
    with Drain(settings, "shop", services.ledger(account)) as draining:
        assert draining.drain() == CHANGES
    undoing = seconds(partial(undo_whole, services, sample, run_id, f"postgres-{sample}"))
    remove_capture(settings)
    differing = connection.execute("SELECT count(*) FROM contacts c JOIN old o USING (id) WHERE c <> o").fetchone()
    assert differing == (0,), "every row is as it was"
    taken = Postgres(plain, row_by_row, logged, undoing)
    print("postgres  " + "  ".join(f"{name} {took:.2f} s" for name, took in taken._asdict().items()), flush=True)
    return taken


def peak_memory_mb(size: int) -> float:
    """Of a process that undoes a run of so many updates, apart from recording it."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.undo", "--memory", str(size)], capture_output=True, text=True, check=True
    )
    return float(done.stdout.splitlines()[-1])


def undo_in_this_process(size: int) -> None:
    """Prints the peak of the resident memory in MB. Recording streams, and needs less than an undo."""
    with fresh_database() as urls, services_on(urls) as services:
        account = new_account(services, "memory")
        ledger = services.ledger(account)
        run_id = ledger.start_run(Operation(object_type="contact")).run.run_id
        for _ in range(size // 10_000):
            ledger.record_changes(run_id, blocks_of(change_lines(10_000)))
        ledger.finish_run(run_id)
        result = services.undo(account).undo(UndoRequest((run_id,)))
        assert (result.status, result.applied.count) == ("completed", size)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def main() -> None:
    of_recording: list[float] = []
    samples: list[Postgres] = []
    with (
        fresh_database() as urls,
        services_on(urls) as services,
        psycopg.connect(urls.owner_url, autocommit=True) as connection,
    ):
        connection.execute(TABLES)
        for sample in range(SAMPLES):
            of_recording.append(ledger_ratio(services, sample))
            samples.append(postgres_seconds(services, connection, urls.owner_url, sample))
    small, large = map(peak_memory_mb, MEMORY_SIZES)
    print(f"memory    {small:.0f} MB for {MEMORY_SIZES[0]:,}, {large:.0f} MB for {MEMORY_SIZES[1]:,} changes")
    ratios = {
        "ledger_of_recording": middle(of_recording),
        "postgres_of_row_by_row": middle([one.row_by_row / one.undoing for one in samples]),
        "postgres_of_logged": middle([one.logged / one.undoing for one in samples]),
        "postgres_of_plain": middle([one.undoing / one.plain for one in samples]),
        "row_by_row_of_plain": middle([one.row_by_row / one.plain for one in samples]),
        "memory_growth": large / small,
    }
    conclude("undo", ratios, GOALS, changes=CHANGES)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--memory"]:
        undo_in_this_process(int(sys.argv[2]))
    else:
        main()
