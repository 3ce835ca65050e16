"""What does capture cost? An UPDATE of 100,000 rows with capture on, beside the same UPDATE without."""

from __future__ import annotations

import psycopg

from benchmarks.setting import conclude, fresh_database, middle, seconds
from ledger.connectors.postgres.capture import install_capture, remove_capture

ROWS = 100_000
SAMPLES = 5
GOALS = {"captured_of_plain": "<= 4"}
TABLE = f"""
    CREATE TABLE contacts (id bigint PRIMARY KEY, name text, email text, phone text, city text, score int);
    INSERT INTO contacts SELECT n, 'name ' || n, n || '@example.com', '202 555 ' || n, 'city ' || n % 100, n % 97
    FROM generate_series(1, {ROWS}) n;
    VACUUM ANALYZE contacts;
"""
UPDATE = "UPDATE contacts SET email = upper(email), phone = '+1' || phone, score = score + 1"


def main() -> None:
    plain: list[float] = []
    captured: list[float] = []
    with fresh_database() as urls, psycopg.connect(urls.owner_url, autocommit=True) as connection:
        for statement in TABLE.split(";")[:-1]:
            connection.execute(statement)
        settings = {"dsn": urls.owner_url, "tables": {"contacts": "contacts"}}

        def measure() -> float:
            connection.execute("VACUUM FULL contacts")
            connection.execute("CHECKPOINT")
            return seconds(lambda: connection.execute(UPDATE))

        measure()
        for _ in range(SAMPLES):
            plain.append(measure())
            install_capture(settings)
            captured.append(measure())
            row = connection.execute("SELECT count(*) FROM ledger_capture.outbox").fetchone()
            assert row == (ROWS,), "every change is in the outbox"
            remove_capture(settings)
            connection.execute("TRUNCATE ledger_capture.outbox")
            print(f"plain {plain[-1]:6.2f} s   captured {captured[-1]:6.2f} s", flush=True)
    ratio = middle([with_capture / without for with_capture, without in zip(captured, plain, strict=True)])
    conclude("capture", {"captured_of_plain": ratio}, GOALS, rows=ROWS)


if __name__ == "__main__":
    main()
