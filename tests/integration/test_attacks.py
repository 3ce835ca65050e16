"""As an attacker would: with the service's login, as the tables' owner and as a superuser.

The service's login may set any account in its transactions, since it serves all of them; what is tried here is to
change what was recorded, and to see or write rows of an account that was not set.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, LiteralString
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg import errors, sql

from ledger.embedded import DatabaseUrls
from ledger.ids import keeping_stream_id
from ledger.service import AccountLedger
from ledger.store.database import Database
from ledger.store.recorder import Recorder
from ledger.store.rows import NewEvent
from tests.examples import a_ledger, add_account, an_operation, changes, opened

INSERT = """
    INSERT INTO events (account_id, position, originator_id, originator_version, recorded_at, occurred_at, sequence,
                        topic, run_id, salt, payload)
    VALUES (%(account)s, %(position)s, gen_random_uuid(), 1, now(), now(), 0, 'test-event', 'x', '0123456789abcdef',
            '{}')
"""
COPY = "COPY events FROM STDIN"


@dataclass
class Scene:
    """Two accounts with a run of five changes each: events 1 to 7."""

    urls: DatabaseUrls
    store: Database
    mine: UUID
    theirs: UUID


@pytest.fixture
def scene(database: DatabaseUrls) -> Iterator[Scene]:
    with opened(database.service_url) as store:
        accounts = [add_account(store, name) for name in ("mine", "theirs")]
        for account in accounts:
            ledger = AccountLedger(store, account)
            run = ledger.start_run(an_operation(), run_id="run").run
            ledger.record_changes(run.run_id, [changes(1, 5)])
        before = contents(database)
        yield Scene(database, store, *accounts)
        assert contents(database)[: len(before)] == before, "nothing that was recorded has changed"


def contents(urls: DatabaseUrls) -> list[tuple[Any, ...]]:
    with psycopg.connect(urls.owner_url) as owner:
        return owner.execute("SELECT * FROM events WHERE position <= 7 ORDER BY account_id, position").fetchall()


@pytest.fixture
def service(scene: Scene) -> Iterator[psycopg.Connection[Any]]:
    """The service's login as the ledger uses it, with account `mine` set for the session."""
    with psycopg.connect(scene.urls.service_url, autocommit=True) as connection:
        connection.execute("SET ROLE ledger_service")
        set_account(connection, scene.mine)
        yield connection


@pytest.fixture
def owner(scene: Scene) -> Iterator[psycopg.Connection[Any]]:
    """The tables' owner, a superuser here, with account `mine` set for the session."""
    with psycopg.connect(scene.urls.owner_url, autocommit=True) as connection:
        set_account(connection, scene.mine)
        yield connection


def set_account(connection: psycopg.Connection[Any], account: UUID | str) -> None:
    connection.execute("SELECT set_config('ledger.account_id', %s, false)", (str(account),))


# Changing or removing what was recorded.

CHANGES: list[LiteralString] = [
    "UPDATE events SET payload = '{}'",
    "UPDATE events SET position = position + 100",
    "UPDATE events SET salt = NULL, payload = NULL",
    "DELETE FROM events",
    "DELETE FROM events WHERE position = 1",
    "TRUNCATE events",
    "TRUNCATE events, accounts CASCADE",
    "TRUNCATE accounts CASCADE",
    "DELETE FROM accounts",
    "WITH gone AS (DELETE FROM events RETURNING *) SELECT count(*) FROM gone",
    "WITH changed AS (UPDATE events SET topic = 'x' RETURNING 1) SELECT count(*) FROM changed",
    """MERGE INTO events e USING (SELECT 1 AS p) s ON e.position = s.p
       WHEN MATCHED THEN UPDATE SET payload = '{}'""",
    "MERGE INTO events e USING (SELECT 1 AS p) s ON e.position = s.p WHEN MATCHED THEN DELETE",
    """INSERT INTO events
       SELECT account_id, 1, gen_random_uuid(), 1, now(), now(), 0, 'x', 'x', '0123456789abcdef', '{}' FROM accounts
       WHERE name = 'mine' ON CONFLICT (account_id, position) DO UPDATE SET payload = excluded.payload""",
    "UPDATE accounts SET head = 0",
    "UPDATE accounts SET head = head - 1",
    "UPDATE accounts SET head_at = '2000-01-01'",
    "UPDATE accounts SET name = 'other'",
    "UPDATE accounts SET account_id = gen_random_uuid()",
]
THROUGH_THE_VIEW: list[LiteralString] = [
    "UPDATE account_events SET payload = '{}'",
    "DELETE FROM account_events",
    "WITH gone AS (DELETE FROM account_events RETURNING *) SELECT count(*) FROM gone",
    "MERGE INTO account_events e USING (SELECT 1 AS p) s ON e.position = s.p WHEN MATCHED THEN DELETE",
    "SELECT * FROM account_events FOR UPDATE",
]
DEFINITIONS: list[LiteralString] = [
    "ALTER TABLE events DISABLE TRIGGER ALL",
    "ALTER TABLE events ADD COLUMN extra text",
    "DROP TABLE events CASCADE",
    "CREATE TABLE heir () INHERITS (events)",
    "CREATE RULE swallow AS ON INSERT TO events DO INSTEAD NOTHING",
    "CREATE TRIGGER mine BEFORE INSERT ON events FOR EACH ROW EXECUTE FUNCTION ledger_refuse_change()",
    "CREATE OR REPLACE VIEW account_events AS SELECT * FROM events",
    "ALTER VIEW account_events SET (security_barrier = false)",
    "CREATE OR REPLACE FUNCTION ledger_current_account() RETURNS uuid LANGUAGE sql AS 'SELECT gen_random_uuid()'",
    "ALTER TABLE accounts NO FORCE ROW LEVEL SECURITY",
    "DROP POLICY own_account ON accounts",
    "CREATE TABLE public.loot AS SELECT * FROM account_events",
    "CREATE FUNCTION public.leak(text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "CREATE FUNCTION pg_temp.leak(text) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
    "CREATE SCHEMA loot",
    "CREATE EXTENSION dblink",
    "SET session_replication_role = replica",
    "SET ROLE postgres",
    "SET SESSION AUTHORIZATION postgres",
    "COPY account_events TO PROGRAM 'cat'",
    "COPY events TO '/nowhere/loot'",
    "BEGIN; LOCK TABLE events IN ACCESS EXCLUSIVE MODE",
    "ALTER SYSTEM SET row_security = off",
]
READS: list[LiteralString] = [
    "SELECT * FROM events",
    "SELECT count(*) FROM events",
    "SELECT position FROM ONLY events",
    "TABLE events",
    "COPY events TO STDOUT",
    "COPY (SELECT payload FROM events) TO STDOUT",
    "INSERT INTO idempotency_keys SELECT account_id, run_id, payload FROM events",
    "SELECT ledger_check_append()",
]


Refusal = type[Exception] | tuple[type[Exception], ...]


def not_refused(
    connection: psycopg.Connection[Any],
    statements: list[LiteralString],
    refusal: Refusal = errors.InsufficientPrivilege,
    word: str = "",
) -> list[str]:
    """Those of the statements that are carried out, or fail for another reason than that they are not permitted."""
    found = []
    for statement in statements:
        try:
            connection.execute(statement)
            found.append(statement)
        except psycopg.Error as error:
            if not isinstance(error, refusal) or word not in str(error):
                found.append(f"{statement}: {error!r}")
        if connection.info.transaction_status != psycopg.pq.TransactionStatus.IDLE:
            connection.execute("ROLLBACK")
    return found


def test_the_service_cannot_change_or_remove(service: psycopg.Connection[Any]) -> None:
    assert not_refused(service, CHANGES) == []


def test_the_owner_cannot_change_or_remove(owner: psycopg.Connection[Any]) -> None:
    assert not_refused(owner, CHANGES, word="is refused") == []


def test_replication_does_not_switch_the_triggers_off(owner: psycopg.Connection[Any]) -> None:
    owner.execute("SET session_replication_role = replica")
    assert not_refused(owner, CHANGES, word="is refused") == []


def test_the_service_cannot_write_through_the_view(service: psycopg.Connection[Any]) -> None:
    refusal = (errors.InsufficientPrivilege, errors.FeatureNotSupported)
    assert not_refused(service, THROUGH_THE_VIEW, refusal) == []


def test_the_service_cannot_change_definitions_or_its_rights(scene: Scene) -> None:
    """Temporary objects too: where the database's ACL was copied with it (a clone's is not), they are refused."""
    with psycopg.connect(scene.urls.owner_url, autocommit=True) as owner:
        owner.execute(sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(sql.Identifier(owner.info.dbname)))
    with psycopg.connect(scene.urls.service_url, autocommit=True) as service:
        service.execute("SET ROLE ledger_service")
        set_account(service, scene.mine)
        assert not_refused(service, DEFINITIONS) == []


def test_the_service_cannot_read_the_table_itself(service: psycopg.Connection[Any]) -> None:
    assert not_refused(service, READS) == []


def test_the_service_cannot_pass_its_rights_on(service: psycopg.Connection[Any]) -> None:
    """PostgreSQL only warns here, so what counts is what others may do afterwards."""
    service.execute("GRANT INSERT ON events TO PUBLIC")
    service.execute("GRANT SELECT ON account_events TO PUBLIC")
    passed_on = service.execute(
        "SELECT relname FROM pg_class, aclexplode(relacl) WHERE grantee = 0 AND relname IN ('events', 'account_events')"
    ).fetchall()
    assert passed_on == []


def test_the_migration_takes_temporary_tables_from_everybody(empty_database: DatabaseUrls) -> None:
    from migrations.migrate import migrate

    migrate(empty_database.owner_url)
    connect = psycopg.connect(empty_database.service_url, autocommit=True)
    with connect as service, pytest.raises(errors.InsufficientPrivilege):
        service.execute("CREATE TEMPORARY TABLE events (account_id uuid)")


# Other accounts' rows.


def test_a_forgotten_where_shows_own_rows_only(service: psycopg.Connection[Any], scene: Scene) -> None:
    rows = service.execute("SELECT account_id FROM account_events").fetchall()
    assert rows == [(scene.mine,)] * 7
    assert service.execute("SELECT account_id FROM accounts").fetchall() == [(scene.mine,)]


def test_asking_for_another_accounts_rows_shows_none(service: psycopg.Connection[Any], scene: Scene) -> None:
    found = service.execute("SELECT count(*) FROM account_events WHERE account_id = %s", (scene.theirs,)).fetchone()
    assert found == (0,)
    changed = service.execute("UPDATE accounts SET head = head WHERE account_id = %s", (scene.theirs,))
    assert changed.rowcount == 0


WITHOUT_AN_ACCOUNT: list[LiteralString] = [
    "SELECT * FROM account_events",
    "SELECT count(*) FROM account_events WHERE false OR position > 0",
    "SELECT * FROM account_events WHERE account_id = (SELECT account_id FROM ledger_heads() LIMIT 1)",
    "SELECT * FROM accounts",
    "UPDATE accounts SET head = head",
]


@pytest.mark.parametrize("account", ["", "not-a-uuid", None])
def test_without_an_account_a_query_fails(scene: Scene, account: str | None) -> None:
    with psycopg.connect(scene.urls.service_url, autocommit=True) as service:
        service.execute("SET ROLE ledger_service")
        if account is not None:
            set_account(service, account)
        refusal = (errors.InsufficientPrivilege, errors.InvalidTextRepresentation)
        assert not_refused(service, WITHOUT_AN_ACCOUNT, refusal) == []


@pytest.mark.parametrize("role", ["service", "owner"])
def test_a_row_of_another_account_is_refused(role: str, scene: Scene, request: pytest.FixtureRequest) -> None:
    connection: psycopg.Connection[Any] = request.getfixturevalue(role)
    with pytest.raises(errors.InsufficientPrivilege, match="another account"):
        connection.execute(INSERT, {"account": scene.theirs, "position": 8})
    with pytest.raises(errors.InsufficientPrivilege, match="another account"):
        copy_row(connection, scene.theirs, 8)


@pytest.mark.parametrize("role", ["service", "owner"])
def test_a_row_is_refused_when_no_account_is_set(role: str, scene: Scene, request: pytest.FixtureRequest) -> None:
    connection: psycopg.Connection[Any] = request.getfixturevalue(role)
    set_account(connection, "")
    with pytest.raises(errors.InsufficientPrivilege, match="no account is set"):
        copy_row(connection, scene.mine, 8)


def copy_row(connection: psycopg.Connection[Any], account: UUID, position: int) -> None:
    row = (account, position, uuid4(), 1, "now", "now", 0, "test-event", "x", b"0123456789abcdef", b"{}")
    with connection.cursor().copy(COPY) as copy:
        copy.write_row(row)


def test_one_foreign_row_in_a_batch_refuses_the_whole(service: psycopg.Connection[Any], scene: Scene) -> None:
    refused = pytest.raises(errors.InsufficientPrivilege, match="another account")
    with refused, service.transaction():
        service.execute("UPDATE accounts SET head = head + 1")
        with service.cursor().copy(COPY) as copy:
            for account, position in ((scene.mine, 8), (scene.theirs, 8)):
                copy.write_row((account, position, uuid4(), 1, "now", "now", 0, "t", "x", b"0123456789abcdef", b"{}"))


@pytest.mark.parametrize("account_position", [(8, 1), (9, 2), (100, 1), (1, 0)])
def test_events_that_do_not_follow_the_log_are_refused(
    service: psycopg.Connection[Any], scene: Scene, account_position: tuple[int, int]
) -> None:
    """Without taking the position, with a gap before it, far off, and in the place of another."""
    position, taken = account_position
    refused = pytest.raises((errors.IntegrityConstraintViolation, errors.UniqueViolation))
    with refused, service.transaction():
        service.execute("UPDATE accounts SET head = head + %s", (taken if position != 8 else 0,))
        service.execute(INSERT, {"account": scene.mine, "position": position})


def test_a_head_without_its_events_is_refused_at_commit(service: psycopg.Connection[Any]) -> None:
    with pytest.raises(errors.IntegrityConstraintViolation, match="has no event"):
        service.execute("UPDATE accounts SET head = head + 1")


def test_a_new_account_begins_empty(scene: Scene) -> None:
    account = uuid4()
    statement = "INSERT INTO accounts (account_id, name, head) VALUES (%s, 'new', 5)"
    with psycopg.connect(scene.urls.service_url, autocommit=True) as service:
        service.execute("SET ROLE ledger_service")
        set_account(service, account)
        with pytest.raises(errors.InsufficientPrivilege):
            service.execute(statement, (account,))
        with pytest.raises(errors.InsufficientPrivilege, match="row-level security"):
            service.execute("INSERT INTO accounts (account_id, name) VALUES (%s, 'foreign')", (uuid4(),))
    with psycopg.connect(scene.urls.owner_url, autocommit=True) as owner, pytest.raises(errors.InsufficientPrivilege):
        owner.execute(statement, (account,))


def test_a_leaky_condition_sees_own_rows_only(service: psycopg.Connection[Any], scene: Scene) -> None:
    """A function that tells what it is shown, called before the view's own condition would tell other accounts' rows.

    The service cannot make functions unless it may make temporary objects; here it may.
    """
    service.execute(
        "CREATE FUNCTION pg_temp.tells(uuid) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS"
        " $$BEGIN RAISE NOTICE '%', $1; RETURN true; END$$"
    )
    told: list[str] = []
    service.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
    service.execute("SELECT * FROM account_events WHERE pg_temp.tells(account_id)")
    service.execute("SELECT * FROM accounts WHERE pg_temp.tells(account_id)")
    assert set(told) == {str(scene.mine)}
    with pytest.raises(errors.DivisionByZero):
        service.execute("SELECT 1 / (position - 7) FROM account_events").fetchall()
    service.execute(
        "SELECT * FROM account_events WHERE 1 / (CASE WHEN account_id = %s THEN 0 ELSE 1 END) = 1", (scene.theirs,)
    )


def test_statistics_tell_the_service_nothing_of_events(service: psycopg.Connection[Any], scene: Scene) -> None:
    with psycopg.connect(scene.urls.owner_url, autocommit=True) as owner:
        owner.execute("ANALYZE events, accounts")
    assert service.execute("SELECT * FROM pg_stats WHERE tablename IN ('events', 'accounts')").fetchall() == []


def test_prepared_statements_follow_the_account_of_the_moment(service: psycopg.Connection[Any], scene: Scene) -> None:
    service.execute("PREPARE mine AS SELECT DISTINCT account_id FROM account_events")
    service.execute("SET plan_cache_mode = force_generic_plan")
    assert service.execute("EXECUTE mine").fetchall() == [(scene.mine,)]
    set_account(service, scene.theirs)
    assert service.execute("EXECUTE mine").fetchall() == [(scene.theirs,)]
    set_account(service, "")
    with pytest.raises(errors.InsufficientPrivilege):
        service.execute("EXECUTE mine")


def test_a_temporary_events_table_does_not_swallow_appends(scene: Scene) -> None:
    with opened(scene.urls.service_url, pool_size_max=1) as store:
        with store.connection() as connection:
            connection.execute("CREATE TEMPORARY TABLE events (LIKE account_events)")
        appended = Recorder(store, scene.mine).append([NewEvent(uuid4().bytes, None, "test-event", "", 0, None, b"{}")])
        assert [row.position for row in Recorder(store, scene.mine).read_after(7)] == [appended.last]


# What a login may do when it steps out of its role.


def test_a_login_of_its_own_has_no_rights_but_the_services(scene: Scene) -> None:
    with psycopg.connect(scene.urls.service_url, autocommit=True) as login:
        facts = login.execute(
            "SELECT rolsuper, rolbypassrls, rolcreaterole, rolcreatedb FROM pg_roles WHERE rolname = current_user"
        ).fetchone()
        assert facts == (False, False, False, False)
        login.execute("SET ROLE ledger_service; RESET ROLE")
        set_account(login, scene.mine)
        for statement in (
            "SELECT * FROM events",
            "DELETE FROM events",
            "TRUNCATE events",
            "UPDATE accounts SET head = 0",
        ):
            with pytest.raises(errors.InsufficientPrivilege):
                login.execute(statement)


# The pool: what one request leaves behind, the next must not find.


def test_the_account_ends_with_its_transaction(scene: Scene) -> None:
    with opened(scene.urls.service_url, pool_size_max=1) as store:
        with store.transaction(scene.mine) as connection:
            connection.execute("SELECT count(*) FROM account_events")
        with store.connection() as connection, pytest.raises(errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM account_events")


def test_an_account_set_in_a_nested_transaction_ends_with_the_outer(scene: Scene) -> None:
    """set_config(..., true) outlives an inner transaction, so the ledger never nests them; it ends with the outer."""
    with opened(scene.urls.service_url, pool_size_max=1) as store:
        with store.transaction(scene.mine) as connection, connection.transaction():
            connection.execute("SELECT set_config('ledger.account_id', %s, true)", (str(scene.theirs),))
        with store.transaction(scene.mine) as connection:
            assert connection.execute("SELECT DISTINCT account_id FROM account_events").fetchall() == [(scene.mine,)]
        with store.connection() as connection, pytest.raises(errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM account_events")


@pytest.mark.parametrize(
    "leftover",
    ["SET ledger.account_id = '00000000-0000-0000-0000-000000000001'", "RESET ROLE"],
    ids=["account", "role"],
)
def test_a_connection_that_comes_back_changed_is_not_lent_again(scene: Scene, leftover: LiteralString) -> None:
    with opened(scene.urls.service_url, pool_size_max=1) as store:
        with store.connection() as connection:
            process = connection.info.backend_pid
            connection.execute(leftover)
        with store.connection() as connection:
            assert connection.info.backend_pid != process
            assert connection.execute("SELECT current_user::text").fetchone() == ("ledger_service",)
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute("SELECT * FROM account_events")


def test_an_error_rolls_back_and_leaves_no_account(scene: Scene) -> None:
    with opened(scene.urls.service_url, pool_size_max=1) as store:
        with pytest.raises(errors.DivisionByZero), store.transaction(scene.mine) as connection:
            connection.execute("SELECT 1 / 0")
        with store.connection() as connection, pytest.raises(errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM account_events")


# The door of erasure (0009_erasure.sql).

TELL = """
    WITH taken AS (UPDATE accounts SET head = head + 1, head_at = clock_timestamp()
                   WHERE account_id = ledger_current_account() RETURNING head)
    INSERT INTO events (account_id, position, originator_id, originator_version, recorded_at, occurred_at, sequence,
                        topic, run_id, salt, payload)
    SELECT ledger_current_account(), head, %s, 1, now(), now(), 0, 'erasure-recorded', '',
        '0123456789abcdef', '{"run_id":"x","object_type":"x","record_id":"x","reason":"x","user":"x"}' FROM taken
"""
"""The event without which the door stays shut, at position 8."""
MISUSES: dict[str, LiteralString] = {
    "a statement of the service's own": "UPDATE events SET salt = NULL, payload = NULL WHERE position = 3",
    "an event of a transaction before": "SELECT ledger_erase(7, '{3}', '{\"\\\\x7b7d\"}')",
    "no event": "SELECT ledger_erase(99, '{3}', '{\"\\\\x7b7d\"}')",
    "a position that is not there": "SELECT ledger_erase(8, '{3,1000}', '{\"\\\\x7b7d\",\"\\\\x7b7d\"}')",
    "an event that tells of an erasure": "SELECT ledger_erase(8, '{8}', '{\"\\\\x7b7d\"}')",
    "an event that counts changes": "SELECT ledger_erase(8, '{7}', '{\"\\\\x7b7d\"}')",
    "no rest": "SELECT ledger_erase(8, '{3}', '{NULL}')",
    "putting in a rest by hand": "INSERT INTO erased_events VALUES (ledger_current_account(), 3, 8, 'x', 'x', 'x')",
    "removing what was erased": "DELETE FROM erased_events",
    "becoming the eraser": "SET ROLE ledger_eraser",
    "taking the door over": "ALTER FUNCTION ledger_erase(bigint, bigint[], bytea[]) OWNER TO ledger_service",
}
REFUSED = (
    errors.InsufficientPrivilege,
    errors.IntegrityConstraintViolation,
    errors.CheckViolation,
    errors.NotNullViolation,
)


@pytest.mark.parametrize("misuse", MISUSES)
def test_the_door_of_erasure_cannot_be_misused(misuse: str, service: psycopg.Connection[Any], scene: Scene) -> None:
    refused = pytest.raises(REFUSED)
    with refused, service.transaction():
        service.execute(TELL, (keeping_stream_id(scene.mine),))
        service.execute(MISUSES[misuse])


AS_THE_ERASER: list[LiteralString] = [
    "UPDATE events SET payload = '{}' WHERE position = 3",
    "UPDATE events SET salt = NULL, payload = NULL WHERE position = 3",
    "UPDATE events SET salt = NULL, payload = NULL, topic = 'x' WHERE position = 3",
    "UPDATE events SET topic = 'x' WHERE position = 3",
    "DELETE FROM events WHERE position = 3",
    "TRUNCATE events",
    "INSERT INTO erased_events VALUES (ledger_current_account(), 3, 8, sha256('x'), sha256('x'), '{}')",
    """INSERT INTO erased_events
       SELECT account_id, position, 7, sha256(salt || payload),
           sha256(salt || 'stream' || uuid_send(originator_id)), '{}'
       FROM events
       WHERE account_id = ledger_current_account() AND position = 3""",
    "TRUNCATE erased_events",
]
WHAT_WAS_ERASED: list[LiteralString] = [
    "UPDATE erased_events SET commitment = sha256('x')",
    'UPDATE erased_events SET rest = \'{"after":{"phone":"555"}}\'',
    "UPDATE erased_events SET erasure_position = 100",
    "DELETE FROM erased_events",
    "TRUNCATE erased_events",
]


def test_even_the_eraser_and_the_owner_cannot_do_more(owner: psycopg.Connection[Any], scene: Scene) -> None:
    with owner.transaction():
        owner.execute(TELL, (keeping_stream_id(scene.mine),))
    owner.execute("SET ROLE ledger_eraser")
    assert not_refused(owner, AS_THE_ERASER) == []
    owner.execute("RESET ROLE")
    assert not_refused(owner, AS_THE_ERASER) == []


def test_the_door_opens_for_an_erasure_with_its_event_and_shows_the_rest_as_no_leafs(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        ledger.start_run(an_operation(), run_id="run")
        ledger.record_changes("run", [changes(1, 5)])
        account = ledger.account_id
    with psycopg.connect(database.service_url, autocommit=True) as service:
        service.execute("SET ROLE ledger_service")
        set_account(service, account)
        query = "SELECT sha256(salt || payload) FROM account_events WHERE position = 3"
        committed = service.execute(query).fetchone()
        with service.transaction():
            service.execute(TELL, (keeping_stream_id(account),))
            rest = b'{"object_type":"contact","record_id":"r-2","erased":"whole"}'
            service.execute("SELECT ledger_erase(8, '{3}', %s)", ([rest],))
        shown = service.execute("SELECT salt, payload FROM account_events WHERE position = 3").fetchone()
        assert shown == (None, rest)
        assert service.execute("SELECT commitment FROM erased_events").fetchall() == [committed]
        assert not_refused(service, WHAT_WAS_ERASED) == []
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        assert not_refused(owner, WHAT_WAS_ERASED) == []
        owner.execute("SET ROLE ledger_eraser")
        set_account(owner, account)
        assert not_refused(owner, WHAT_WAS_ERASED) == []
