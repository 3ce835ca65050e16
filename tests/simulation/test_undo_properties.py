"""Random histories on a target that keeps constraints: what must hold of every undo, whatever it meets.

A preview says what the undo then does; what it does not list is untouched; its redo brings back exactly what was there;
when nothing happened since, everything comes back. The seed of a failing history is in the test's name.
"""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
from msgspec import Raw

import bootstrap
from bootstrap import Services
from ledger.connectors.double import DoubleTarget
from ledger.connectors.port import Reference, TypeSchema, Write
from ledger.domain.operation import Operation
from ledger.domain.record import State
from ledger.embedded import DatabaseUrls
from ledger.json_text import encode
from ledger.undo.request import POLICIES, Selection, UndoRequest
from ledger.undo.result import UndoResult

Key = tuple[str, str]
SCHEMAS = {
    "company": TypeSchema(unique=(("name",),), required=frozenset(("name",))),
    "contact": TypeSchema(references=(Reference(("company",), "company"), Reference(("boss",), "contact"))),
    "deal": TypeSchema(),
}
HISTORIES = 300
BLOCK = 25


@pytest.fixture
def services(database: DatabaseUrls) -> Iterator[Services]:
    services = bootstrap.connect(database.service_url, flush_each_commit=False)
    yield services
    services.close()


class History:
    """Some runs, and edits in between behind the ledger's back. The target refuses what breaks a constraint, so only
    what it took is recorded."""

    def __init__(self, services: Services, seed: int) -> None:
        self.chance = random.Random(seed)
        account_id = services.accounts().add(f"history-{seed}").account_id
        self.target = DoubleTarget(SCHEMAS)
        self.undo = services.undo(account_id, self.target)
        self._ledger = services.ledger(account_id)
        for number in range(3):
            self.target.records["company", str(number)] = {"name": encode(f"n{number}")}
            self.target.records["contact", str(number)] = {"city": encode("a"), "company": encode(str(number))}
        self.runs: list[str] = []
        self.states: list[dict[Key, State]] = [self.state()]
        """The target before the first run, and after each."""

    def state(self) -> dict[Key, State]:
        return {key: dict(state) for key, state in self.target.records.items()}

    def run(self) -> None:
        """A run of some changes, several of one record among them."""
        run_id = f"r-{len(self.runs) + 1}"
        lines = [line for _ in range(self.chance.randint(1, 8)) if (line := self._change()) is not None]
        self._ledger.start_run(Operation(), run_id=run_id)
        self._ledger.record_changes(run_id, [b"\n".join(lines)])
        self._ledger.finish_run(run_id)
        self.runs.append(run_id)
        self.states.append(self.state())

    def edit(self) -> None:
        """Something that the ledger never hears of."""
        self._change()

    def _change(self) -> bytes | None:
        kind = self.chance.choice(["company", "contact", "contact", "deal"])
        key = kind, str(self.chance.randrange(5))
        now = self.target.records.get(key)
        if now is None:
            write = Write("create", *key, dict(self._fields(kind)))
        elif self.chance.random() < 0.25:
            write = Write("delete", *key)
        else:
            write = Write("update", *key, dict([self.chance.choice(sorted(self._fields(kind).items()))]))
        (outcome,) = self.target.write([write], "application")
        return _line(write, now, self.target.records.get(key)) if outcome.status == "applied" else None

    def _fields(self, kind: str) -> dict[str, bytes | None]:
        pick = self.chance.choice
        if kind == "company":
            return {"name": encode(f"n{self.chance.randrange(7)}"), "city": pick([encode("a"), encode("b"), None])}
        if kind == "contact":
            ids = [None, *(encode(str(number)) for number in range(5))]
            return {"city": encode(pick("abc")), "company": pick(ids), "boss": pick(ids)}
        return {"stage": encode(pick(["won", "lost"])), "size": pick([b"1", b"2", b"1.10", None])}


def _line(write: Write, before: State | None, after: State | None) -> bytes:
    line: dict[str, object] = {"object_type": write.object_type, "record_id": write.record_id, "action": write.op}
    names = set(write.values) if write.op == "update" else {*(before or {}), *(after or {})}
    for part, state in (("before", before), ("after", after)):
        if state is not None:
            line[part] = {name: Raw(state[name]) for name in sorted(names & state.keys())}
    return encode(line)


def listed(result: UndoResult) -> list[object]:
    """All that a result lists, in no order."""
    lists = (result.applied, result.skipped, result.noop, result.failed)
    return [sorted(map(_told, kind.items)) for kind in lists]


def _told(item: object) -> str:
    """An item as text; the order of an item's fields means nothing."""
    fields = getattr(item, "fields", None)
    return repr(item) if fields is None else repr((item[:3], sorted(fields.items())))  # type: ignore[index]


def check_only_listed_was_written(before: dict[Key, State], after: dict[Key, State], result: UndoResult) -> None:
    """Every written value is there, and nothing else has changed."""
    expected = {key: dict(state) for key, state in before.items()}
    for one in result.applied.items:
        key = (one.object_type, one.record_id)
        if one.op == "delete":
            del expected[key]
            continue
        state = expected.setdefault(key, {})
        for name, text in one.fields.items():
            state.pop(name, None)
            state.update({name: text} if text not in (None, b"null") else {})
    assert after == expected


@pytest.mark.parametrize("start", range(0, HISTORIES, BLOCK))
def test_a_preview_tells_the_truth_and_a_redo_brings_everything_back(services: Services, start: int) -> None:
    for seed in range(start, start + BLOCK):
        history = History(services, seed)
        for _ in range(history.chance.randint(1, 4)):
            history.run()
            if history.chance.random() < 0.5:
                history.edit()
        runs = tuple(history.chance.sample(history.runs, history.chance.randint(1, len(history.runs))))
        selection = history.chance.choice(
            [
                Selection(),
                Selection(),
                Selection(fields=frozenset(("city",))),
                Selection(object_types=frozenset(("contact",))),
            ]
        )
        request = UndoRequest(runs, history.chance.choice(POLICIES), selection)
        before = history.state()
        plan = history.undo.preview(request)
        assert history.state() == before, f"seed {seed}: a preview wrote something"
        result = history.undo.undo(request)
        assert listed(result) == listed(plan), f"seed {seed}"
        assert result.status == plan.status, f"seed {seed}"
        assert result.failed.items == [], f"seed {seed}: the order of writes does not satisfy the target"
        check_only_listed_was_written(before, history.state(), result)
        if result.status in ("completed", "partial"):
            assert result.undo_id is not None
            redo = history.undo.undo(UndoRequest((result.undo_id,)))
            assert (redo.status, history.state()) == ("completed", before), f"seed {seed}"


@pytest.mark.parametrize("start", range(1_000, 1_000 + HISTORIES, BLOCK))
def test_runs_that_nothing_came_after_are_taken_back_whole(services: Services, start: int) -> None:
    for seed in range(start, start + BLOCK):
        history = History(services, seed)
        for _ in range(history.chance.randint(1, 4)):
            history.run()
        newest = history.chance.randint(1, len(history.runs))
        runs = history.runs[-newest:]
        history.chance.shuffle(runs)
        result = history.undo.undo(UndoRequest(tuple(runs)))
        assert (result.skipped.items, result.failed.items) == ([], []), f"seed {seed}"
        assert history.state() == history.states[-newest - 1], f"seed {seed}"
