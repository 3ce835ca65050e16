"""All that a database holds, as bytes: for tests that look for what must not be there any more."""

from __future__ import annotations

import psycopg
from psycopg import sql

_TABLES = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"


def tables_with(owner_url: str, *wanted: bytes) -> list[tuple[str, bytes]]:
    """The tables whose rows hold one of these texts, whatever its case, with the text. Past every view and policy."""
    found = []
    with psycopg.connect(owner_url) as connection:
        for (name,) in connection.execute(_TABLES).fetchall():
            copy = sql.SQL("COPY {} TO STDOUT (FORMAT BINARY)").format(sql.Identifier(name))
            with connection.cursor().copy(copy) as data:
                rows = b"".join(bytes(each) for each in data).lower()
            found += [(name, text) for text in wanted if text.lower() in rows]
    return found
