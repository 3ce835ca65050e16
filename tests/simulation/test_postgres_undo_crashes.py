"""An undo of PostgreSQL tables dies at every point there is between intent, write and outcome, with the write lost and
lost-but-done, the process killed or the connection gone. Resumed, it always comes to the same end, and every row was
written once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import psycopg
import pytest

import bootstrap
from bootstrap import Services
from ledger.connectors.port import Alike, Outcome, TargetLost, Write
from ledger.connectors.postgres.target import PostgresTarget
from ledger.domain.operation import Operation
from ledger.embedded import DatabaseUrls
from ledger.undo.request import UndoRequest
from ledger.undo.result import UndoResult
from ledger.undo.service import AccountUndo
from tests.examples import ndjson

TABLES = """
    CREATE TABLE firms (id int PRIMARY KEY, name text UNIQUE NOT NULL);
    CREATE TABLE people (id int PRIMARY KEY, city text, firm int REFERENCES firms);
    CREATE TABLE writes (kind text, name text, id int);
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO writes VALUES (TG_OP, TG_TABLE_NAME, coalesce(NEW.id, OLD.id)); RETURN NULL; END $$;
"""
BEFORE = """
    TRUNCATE writes, people, firms;
    INSERT INTO firms VALUES (1, 'a'), (2, 'b');
    INSERT INTO people SELECT i, 'paris', 1 + i % 2 FROM generate_series(1, 9) i;
"""
BAD_RUN = """
    UPDATE people SET city = 'x' WHERE id <= 6; DELETE FROM people WHERE id BETWEEN 7 AND 9;
    INSERT INTO people VALUES (20, 'new', 1); UPDATE firms SET name = 'c' WHERE id = 2;
"""
CHANGES: list[dict[str, Any]] = [
    *({"record_id": str(each), "action": "update", "before": {"city": "paris"}, "after": {"city": "x"}}
      for each in range(1, 7)),
    *({"record_id": str(each), "action": "delete", "before": {"id": each, "city": "paris", "firm": 1 + each % 2}}
      for each in range(7, 10)),
    {"record_id": "20", "action": "create", "after": {"id": 20, "city": "new", "firm": 1}},
    {"object_type": "firm", "record_id": "2", "action": "update", "before": {"name": "b"}, "after": {"name": "c"}},
]  # fmt: skip


Answer = TypeVar("Answer")


class Killed(BaseException):
    """The process is gone: nothing of ours runs any more."""


class DyingTarget(PostgresTarget):
    """Dies at its n-th write, before it or after it. `how`: as the process, or as the connection."""

    def __init__(self, dsn: str, *, point: int | None, is_done: bool, how: type[BaseException]) -> None:
        super().__init__(dsn, {"person": "people", "firm": "firms"})
        self.capabilities = replace(self.capabilities, write_records_max=3)
        self.calls, self._point, self._is_done, self._how = 0, point, is_done, how

    def write(self, writes: Sequence[Write], run_id: str) -> list[Outcome]:
        return self._do(lambda: super(DyingTarget, self).write(writes, run_id))

    def write_alike(self, updates: Alike, run_id: str) -> list[int]:
        return self._do(lambda: super(DyingTarget, self).write_alike(updates, run_id))

    def _do(self, write: Callable[[], Answer]) -> Answer:
        is_last = self.calls == self._point
        self.calls += 1
        if is_last and not self._is_done:
            raise self._how("before the write")
        answer = write()
        if is_last:
            raise self._how("after the write, before its answer")
        return answer


class PlainTarget(DyingTarget):
    """Without the short way: every write is one of a list."""

    write_alike = None  # type: ignore[assignment]  # so it does not have what WritesAlike asks for


class Shop:
    """Tables after a bad run, in a fresh account each time."""

    kind: type[DyingTarget] = DyingTarget

    def __init__(self, database: DatabaseUrls, services: Services) -> None:
        self.connection = psycopg.connect(database.owner_url, autocommit=True)
        self.connection.execute(TABLES)
        for table in ("firms", "people"):
            self.connection.execute(
                f"CREATE TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON {table} FOR EACH ROW EXECUTE FUNCTION note()"
            )
        self._dsn, self._services = database.owner_url, services
        self.connection.execute(BEFORE)
        self.rows_before = self.rows()

    def spoil(self, name: str) -> None:
        """The bad run happens, in the tables and in the account's ledger."""
        self.connection.execute(BEFORE)
        self.connection.execute(BAD_RUN)
        self.connection.execute("TRUNCATE writes")
        self._account_id = self._services.accounts().add(name).account_id
        ledger = self._services.ledger(self._account_id)
        ledger.start_run(Operation(object_type="person"), run_id="r-1")
        ledger.record_changes("r-1", [ndjson(CHANGES)])
        ledger.finish_run("r-1")

    def target(
        self, point: int | None = None, *, is_done: bool = False, how: type[BaseException] = Killed
    ) -> DyingTarget:
        return self.kind(self._dsn, point=point, is_done=is_done, how=how)

    def undos(self, target: PostgresTarget) -> AccountUndo:
        return self._services.undo(self._account_id, target)

    def rows(self) -> list[Any]:
        return self.connection.execute(
            "SELECT 'person', id, city, firm FROM people UNION ALL SELECT 'firm', id, name, NULL FROM firms"
            " ORDER BY 1, 2"
        ).fetchall()

    def writes(self) -> list[Any]:
        return self.connection.execute("SELECT * FROM writes ORDER BY 1, 2, 3").fetchall()


@pytest.fixture
def shop(database: DatabaseUrls) -> Iterator[Shop]:
    services = bootstrap.connect(database.service_url, flush_each_commit=False)
    shop = Shop(database, services)
    yield shop
    shop.connection.close()
    services.close()


def told(result: UndoResult) -> Any:
    applied = sorted(
        (one.op, one.object_type, one.record_id, sorted(one.fields.items())) for one in result.applied.items
    )
    return result.status, applied, result.skipped.items, result.failed.items


@pytest.mark.parametrize(
    ("kind", "how"),
    [(DyingTarget, Killed), (PlainTarget, Killed), (DyingTarget, TargetLost)],
    ids=["process", "process, no short way", "connection"],
)
@pytest.mark.parametrize("is_done", [False, True], ids=["lost", "lost-but-done"])
def test_at_every_write_it_is_resumed_to_the_same_end(
    shop: Shop, kind: type[DyingTarget], how: type[BaseException], is_done: bool
) -> None:
    shop.kind = kind
    shop.spoil("whole")
    target = shop.target()
    whole = told(shop.undos(target).undo(UndoRequest(("r-1",))))
    assert (whole[0], shop.rows()) == ("completed", shop.rows_before)
    once = shop.writes()
    assert len(once) == len(set(once)) == len(CHANGES)
    assert target.calls >= (3 if kind is DyingTarget else 4)
    for point in range(target.calls):
        shop.spoil(f"point-{point}")
        dying = shop.undos(shop.target(point, is_done=is_done, how=how))
        undo_id, _ = dying.begin(UndoRequest(("r-1",)))
        if how is Killed:
            with pytest.raises(Killed):
                dying.carry_on(undo_id)
        else:
            assert dying.carry_on(undo_id).status == "interrupted"
        living = shop.undos(shop.target())
        assert living.state(undo_id) == "interrupted"
        assert (point, told(living.resume(undo_id))) == (point, whole)
        assert (shop.rows(), shop.writes()) == (shop.rows_before, once), f"point {point}"
        assert told(living.result(undo_id)) == whole


def test_killed_again_and_again_it_comes_to_the_same_end(shop: Shop) -> None:
    shop.spoil("first")
    target = shop.target()
    whole = told(shop.undos(target).undo(UndoRequest(("r-1",))))
    once = shop.writes()
    shop.spoil("second")
    undo_id, _ = shop.undos(target).begin(UndoRequest(("r-1",)))
    result: UndoResult | None = None
    for number in range(8 * target.calls):  # even times nothing is written, odd times one write is
        try:
            result = shop.undos(shop.target(0, is_done=number % 2 == 1)).carry_on(undo_id)
            break
        except Killed:
            continue
    assert result is not None, "each second time it comes one write further"
    assert told(result) == whole
    assert (shop.rows(), shop.writes()) == (shop.rows_before, once)


def test_a_row_edited_between_the_kill_and_the_resume_is_a_conflict(shop: Shop) -> None:
    shop.spoil("edited")
    dying = shop.undos(shop.target(0, is_done=False))
    undo_id, _ = dying.begin(UndoRequest(("r-1",)))
    with pytest.raises(Killed):
        dying.carry_on(undo_id)
    shop.connection.execute("UPDATE people SET city = 'hand' WHERE id = 1")
    result = shop.undos(shop.target()).resume(undo_id)
    assert [(item.record_id, item.field, item.reason) for item in result.skipped.items] == [
        ("1", "city", "modified_since")
    ]
    assert result.status == "partial"
    assert shop.rows() == [
        (kind, number, "hand" if (kind, number) == ("person", 1) else text, firm)
        for kind, number, text, firm in shop.rows_before
    ]
