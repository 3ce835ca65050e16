"""Whether the database still refuses what it must: triggers, functions, views, grants, as the migrations made them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from psycopg import Connection

from ledger.integrity.verifying import Finding

GUARDED = ("accounts", "events", "run_changes", "log_trees", "log_tiles", "log_checkpoints", "erased_events")
"""Tables whose triggers are part of what keeps the log."""
SERVICE = "ledger_service"
_ROLES = (SERVICE, "ledger_eraser")
_MAY = {"events": {"INSERT"}, "run_changes": {"INSERT"}, "account_events": {"SELECT"}}
_NEVER = ("UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
"""On a guarded table, nobody but its owner has these for all columns."""

_TRIGGERS = """
    SELECT relname, tgname, tgenabled::text FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
    WHERE NOT tgisinternal AND relnamespace = 'public'::regnamespace
"""
_FUNCTIONS = "SELECT proname, prosrc FROM pg_proc WHERE pronamespace = 'public'::regnamespace"
_VIEWS = """
    SELECT relname, coalesce(array_to_string(reloptions, ','), ''), pg_get_viewdef(oid) FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind = 'v'
"""
_TABLES = """
    SELECT relname, relrowsecurity AND relforcerowsecurity FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')
"""
_POLICIES = """
    SELECT tablename, coalesce(qual, ''), coalesce(with_check, '') FROM pg_policies
    WHERE schemaname = 'public' AND %s = ANY(roles)
"""
_GRANTS = """
    SELECT relname, coalesce(rolname, 'PUBLIC'), privilege_type
    FROM pg_class CROSS JOIN aclexplode(coalesce(relacl, acldefault('r', relowner)))
    LEFT JOIN pg_roles ON pg_roles.oid = grantee
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p', 'v') AND grantee <> relowner
"""
_ROLE = "SELECT rolsuper OR rolbypassrls OR rolcreaterole FROM pg_roles WHERE rolname = %s"
_TRIGGER_TEXT = re.compile(r"CREATE (?:CONSTRAINT )?TRIGGER (\w+)\s[^;]*?\sON (\w+)\s", re.DOTALL)
_FUNCTION_TEXT = re.compile(r"CREATE (?:OR REPLACE )?FUNCTION (\w+)")
_IN_LOOPS = {("log_trees", "refuse_delete"), ("log_tiles", "refuse_delete")} | {
    (table, "refuse_truncate") for table in ("log_trees", "log_tiles", "log_checkpoints")
}
"""Triggers that a migration makes for several tables at once."""
_NO_ROWS = {"events", "run_changes", "ledger_migrations"}
"""Tables without row-level security: PostgreSQL refuses COPY into one that has it."""
_OWN = "(account_id = ledger_current_account())"


def find_guard_faults(connection: Connection[Any], migrations: str) -> Iterator[Finding]:
    """What is not as the text of the migrations says."""
    yield from _triggers(connection, migrations)
    yield from _functions(connection, migrations)
    yield from _views(connection)
    yield from _tables(connection)
    yield from _grants(connection)


def _triggers(connection: Connection[Any], migrations: str) -> Iterator[Finding]:
    made = {(table, name) for name, table in _TRIGGER_TEXT.findall(migrations)}
    expected = {each for each in made | _IN_LOOPS if each[0] in GUARDED}
    found = {(table, name): enabled for table, name, enabled in connection.execute(_TRIGGERS) if table in GUARDED}
    for table, name in sorted(expected - found.keys()):
        yield Finding("guard", f"The trigger {name} on {table} is gone.")
    for table, name in sorted(found.keys() - expected):
        yield Finding("guard", f"There is a trigger {name} on {table} that no migration made.")
    for (table, name), enabled in sorted(found.items()):
        if enabled != "A":
            yield Finding("guard", f"The trigger {name} on {table} does not always fire.")


def _functions(connection: Connection[Any], migrations: str) -> Iterator[Finding]:
    made = {each[1]: each.end() for each in _FUNCTION_TEXT.finditer(migrations)}  # the last one counts

    def is_made(name: str, source: str) -> bool:
        rest = migrations[made.get(name, len(migrations)) :]
        return source in rest or source.replace("'", "''") in rest

    for name, source in connection.execute(_FUNCTIONS).fetchall():
        if name.startswith("ledger_") and not is_made(name, source):
            yield Finding("guard", f"The function {name} is not as its migration made it.")


def _views(connection: Connection[Any]) -> Iterator[Finding]:
    found = {name: (options, text) for name, options, text in connection.execute(_VIEWS)}
    for name in ("account_events", "account_run_changes"):
        options, text = found.get(name, ("", ""))
        if options != "security_barrier=true" or "account_id = ledger_current_account()" not in text:
            yield Finding("guard", f"The view {name} is not as its migration made it.")


def _tables(connection: Connection[Any]) -> Iterator[Finding]:
    policies = {table: (seen, written) for table, seen, written in connection.execute(_POLICIES, (SERVICE,))}
    for table, is_secured in connection.execute(_TABLES).fetchall():
        if table not in _NO_ROWS and not (is_secured and policies.get(table) == (_OWN, _OWN)):
            yield Finding("guard", f"The rows of {table} are not kept apart by account.")


def _grants(connection: Connection[Any]) -> Iterator[Finding]:
    for table, grantee, privilege in connection.execute(_GRANTS).fetchall():
        is_of_service = grantee == SERVICE and privilege not in _MAY.get(table, {privilege})
        is_never = table in GUARDED and privilege in _NEVER
        is_public = grantee == "PUBLIC" and table != "ledger_migrations"
        if is_of_service or is_never or is_public:
            yield Finding("guard", f"{grantee} may {privilege} on {table}, which no migration granted.")
    for role in _ROLES:
        row = connection.execute(_ROLE, (role,)).fetchone()
        if row is None or row[0]:
            yield Finding("guard", f"The role {role} is gone, or has more rights than it was made with.")
