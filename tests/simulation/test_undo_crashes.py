"""An undo that dies at every write there is, lost and lost-but-done, and is resumed: the end is always the same, and
every record was written at most once.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

import bootstrap
from bootstrap import Services
from ledger.connectors.double import DoubleTarget, Faults
from ledger.connectors.port import Reference, TypeSchema
from ledger.domain.operation import Operation
from ledger.embedded import DatabaseUrls
from ledger.json_text import encode
from ledger.undo.request import UndoRequest
from ledger.undo.service import AccountUndo

SCHEMAS = {
    "company": TypeSchema(unique=(("name",),)),
    "contact": TypeSchema(references=(Reference(("company",), "company"), Reference(("boss",), "contact"))),
}


@pytest.fixture
def services(database: DatabaseUrls) -> Iterator[Services]:
    services = bootstrap.connect(database.service_url, flush_each_commit=False)
    yield services
    services.close()


class Crash:
    """A run over some records of two types, and the target it left behind. The same for the same size and seed."""

    def __init__(self, services: Services, name: str, size: int, seed: int) -> None:
        account_id = services.accounts().add(name).account_id
        self.before = {
            ("company", str(number)): {"name": encode(f"company {number}")} for number in range(max(2, size // 3))
        } | {
            ("contact", str(number)): {"city": encode("a"), "company": encode(str(number % max(2, size // 3)))}
            for number in range(size)
        }  # fmt: skip
        self.target = DoubleTarget(SCHEMAS)
        self.target.records = {key: dict(state) for key, state in self.before.items()}
        self.undo: AccountUndo = services.undo(account_id, self.target)
        ledger = services.ledger(account_id)
        ledger.start_run(Operation(), run_id="r-1")
        ledger.record_changes("r-1", [b"\n".join(self._change(random.Random(seed)))])
        ledger.finish_run("r-1")

    def _change(self, chance: random.Random) -> Iterator[bytes]:
        """Contacts are changed or deleted, one is created, two companies swap their names."""
        records = self.target.records
        for key in [key for key in records if key[0] == "contact"]:
            before = records.pop(key) if chance.random() < 0.4 else None
            if before is not None:
                yield _line("delete", key, before, None)
            else:
                records[key] = {**records[key], "city": encode("b")}
                yield _line("update", key, {"city": encode("a")}, {"city": encode("b")})
        one, other = ("company", "0"), ("company", "1")
        names = records[one]["name"], records[other]["name"]
        for key, old, new in ((one, names[0], names[1]), (other, names[1], names[0])):
            records[key] = {"name": new}
            yield _line("update", key, {"name": old}, {"name": new})
        records["contact", "new"] = {"city": encode("c")}
        yield _line("create", ("contact", "new"), None, {"city": encode("c")})


def _line(action: str, key: tuple[str, str], before: dict[str, bytes] | None, after: dict[str, bytes] | None) -> bytes:
    from msgspec import Raw

    line: dict[str, object] = {"object_type": key[0], "record_id": key[1], "action": action}
    for name, state in (("before", before), ("after", after)):
        if state is not None:
            line[name] = {field: Raw(text) for field, text in state.items()}
    return encode(line)


@pytest.mark.parametrize("size", [1, 3, 8])
@pytest.mark.parametrize("is_lost", [True, False], ids=["lost", "lost-but-done"])
def test_an_undo_that_dies_at_any_write_is_resumed_to_the_same_end(
    services: Services, size: int, is_lost: bool
) -> None:
    whole = Crash(services, f"whole-{size}", size, seed=size)
    assert whole.undo.undo(UndoRequest(("r-1",))).status == "completed"
    assert whole.target.records == whole.before
    points = sum(whole.target.writes.values())
    assert points > size
    for point in range(points):
        crash = Crash(services, f"c-{size}-{is_lost}-{point}".lower(), size, seed=size)
        crash.target.misbehave(Faults(crash_after=point, lost_response=not is_lost))
        died = crash.undo.undo(UndoRequest(("r-1",)))
        assert died.status == "interrupted"
        assert died.undo_id is not None
        crash.target.misbehave(Faults())
        resumed = crash.undo.resume(died.undo_id)
        assert (point, resumed.status, resumed.skipped.items, resumed.failed.items) == (point, "completed", [], [])
        assert crash.target.records == crash.before
        assert crash.target.writes == whole.target.writes
        assert resumed.applied.count == len(whole.undo.result(whole_id(whole)).applied.items)


def whole_id(crash: Crash) -> str:
    """The Run ID of the undo that was not interrupted."""
    run = crash.undo.store.load_run("r-1")
    assert run.undone_by is not None
    return run.undone_by


@pytest.mark.long
@pytest.mark.parametrize("seed", range(20))
def test_two_crashes_in_a_row_come_to_the_same_end(services: Services, seed: int) -> None:
    chance = random.Random(seed)
    crash = Crash(services, f"twice-{seed}", 12, seed)
    crash.target.misbehave(Faults(crash_after=chance.randrange(5), lost_response=chance.random() < 0.5))
    died = crash.undo.undo(UndoRequest(("r-1",)))
    assert died.undo_id is not None
    crash.target.misbehave(Faults(crash_after=chance.randrange(3), lost_response=chance.random() < 0.5))
    crash.undo.resume(died.undo_id)
    crash.target.misbehave(Faults())
    assert crash.undo.resume(died.undo_id).status == "completed"
    assert crash.target.records == crash.before
