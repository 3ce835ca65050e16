"""Plays a scenario through the product's own public path: runs recorded by the service, undone by the service, written
by a connector; and tells the first difference from what the scenario expects.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Literal, NamedTuple
from uuid import UUID

from msgspec import Raw

from ledger.conformance.expectation import differences
from ledger.conformance.scenario import (
    Change,
    EraseStep,
    ExternalStep,
    Record,
    ResumeStep,
    RunStep,
    Scenario,
    SchemaStep,
    Step,
    UndoStep,
    state_of,
)
from ledger.conformance.world import Key, NotApplicable, World
from ledger.connectors.double import DoubleTarget
from ledger.connectors.port import Connector
from ledger.domain.operation import Operation
from ledger.domain.record import State
from ledger.erasure.service import AccountErasure
from ledger.errors import NotFound
from ledger.json_text import encode
from ledger.service import AccountLedger, utc_now
from ledger.undo.comparing import Comparing
from ledger.undo.refusals import UndoRefused
from ledger.undo.request import Selection, UndoRequest
from ledger.undo.result import UndoResult
from ledger.undo.service import AccountUndo

Verdict = Literal["pass", "fail", "not applicable"]
UndoOf = Callable[[Connector], AccountUndo]


class Played(NamedTuple):
    """What came of one scenario. `reason`: the first difference, or why the target cannot play it."""

    scenario_id: str
    title: str
    verdict: Verdict
    reason: str | None = None


class Answer(NamedTuple):
    """What an undo answered: a result, or the reason of its refusal."""

    result: UndoResult | None
    refusal: str | None = None

    @property
    def status(self) -> str:
        return "rejected" if self.result is None else self.result.status


def play_scenario(scenario: Scenario, world_of: Callable[[], World], ledger: AccountLedger, undo_of: UndoOf) -> Played:
    """Plays one scenario in a world made for it, in an account made for it."""
    world: World | None = None
    try:
        world = world_of()
        difference = Player(scenario, world, ledger, undo_of).play()
    except NotApplicable as reason:
        return Played(scenario.id, scenario.title, "not applicable", str(reason))
    finally:
        if world is not None:
            world.close()
    return Played(scenario.id, scenario.title, "fail" if difference else "pass", difference)


class Player:
    """Plays one scenario in one world, with an account of its own."""

    def __init__(self, scenario: Scenario, world: World, ledger: AccountLedger, undo_of: UndoOf) -> None:
        self._scenario = scenario
        self._world = world
        self._ledger = ledger
        self._undo = undo_of(world.connector)
        self._names: dict[str, str] = {}
        """A scenario's undo_id to the Run ID that the undo got."""
        self._started: set[str] = set()
        self._played_early: set[int] = set()
        self.answers: list[tuple[Step, Answer]] = []
        self.first_difference: str | None = None

    @property
    def account_id(self) -> UUID:
        return self._ledger.account_id

    def play(self) -> str | None:
        """Plays all steps. The first difference from what is expected; None: there is none."""
        for number, step in enumerate(self._scenario.steps):
            if number in self._played_early:
                continue
            self._play(number, step)
        if self._scenario.final is not None:
            self._note(self._state_difference(self._scenario.final, whole=True), "at the end")
        return self.first_difference

    def _play(self, number: int, step: Step) -> None:
        if isinstance(step, RunStep):
            self._run(step)
        elif isinstance(step, ExternalStep):
            for change in step.changes:
                self._world.happen(change)
        elif isinstance(step, SchemaStep):
            self._world.change_schema(step)
        elif isinstance(step, EraseStep):
            erasure = AccountErasure(self._ledger.store.recorder.database, self._ledger.account_id)
            with suppress(NotFound):  # no run named the record so far: there is nothing to erase
                erasure.erase(step.object_type, step.id, fields=step.fields, reason="conformance", user="conformance")
            self._world.erase(step.object_type, step.id, step.fields)
        elif isinstance(step, UndoStep):
            self._take_back(number, step)
        else:
            self._resume(number, step)

    # Recording.

    def _run(self, step: RunStep) -> None:
        if step.recipe_run_id is not None and step.recipe_run_id not in self._started:
            self._ledger.start_run(Operation(kind="recipe"), run_id=step.recipe_run_id)
            self._started.add(step.recipe_run_id)
        operation = Operation(mode=step.mode, recipe_run_id=step.recipe_run_id)
        self._ledger.start_run(operation, run_id=step.run_id)
        lines = b"\n".join(encode(_line(change)) for change in step.changes)
        if lines:
            self._ledger.record_changes(step.run_id, [lines], offset=0)
        self._ledger.finish_run(step.run_id)
        if step.mode == "update":
            for change in step.changes:
                if change.result == "succeeded":
                    self._world.apply(change)
        if step.before_states_expired:
            run = self._ledger.store.load_run(step.run_id)
            run.expire_before_states(utc_now())
            self._ledger.store.save(run)

    # Undoing.

    def _take_back(self, number: int, step: UndoStep) -> None:
        self._world.misbehave(step.target)
        self._interleave(number, step)
        writes = self._world.writes()
        if writes is not None and isinstance(self._world.connector, DoubleTarget):
            self._world.connector.writes.clear()
            self._world.connector.order.clear()
        request = self._request(step)
        try:
            if step.dry_run:
                answer = Answer(self._undo.preview(request))
            else:
                answer = Answer(self._undo.undo(request))
                assert answer.result is not None
                self._names[step.undo_id] = answer.result.undo_id or step.undo_id
        except UndoRefused as refused:
            answer = Answer(None, refused.reason)
        self._judge(number, step, answer)

    def _resume(self, number: int, step: ResumeStep) -> None:
        self._world.recover()
        answer = Answer(self._undo.resume(self._names.get(step.undo_id, step.undo_id)))
        self._judge(number, step, answer)

    def _request(self, step: UndoStep) -> UndoRequest:
        selection = Selection(
            None if step.fields is None else frozenset(step.fields),
            None if step.records is None else frozenset(step.records),
            None if step.object_types is None else frozenset(step.object_types),
        )
        return UndoRequest(
            tuple(self._names.get(run_id, run_id) for run_id in step.runs),
            step.policy,  # type: ignore[arg-type]
            selection,
            idempotency_key=step.idempotency_key,
            undo_id=None if step.idempotency_key else step.undo_id,
        )

    def _interleave(self, number: int, step: UndoStep) -> None:
        """Undos that the scenario wants in the midst of this one are played at its first write."""
        target = self._world.connector
        during: list[int] = []
        for later in range(number + 1, len(self._scenario.steps)):
            other = self._scenario.steps[later]
            if not (isinstance(other, UndoStep) and other.concurrent_with == step.undo_id):
                break
            during.append(later)
        if not during or not isinstance(target, DoubleTarget):
            return
        if step.target is not None and step.target.crash_after is not None:
            return  # it will be under way still when their turn comes

        def play_them() -> None:
            target.before_write = lambda: None
            faults, written, order = target.faults, target.writes.copy(), list(target.order)
            self._names[step.undo_id] = step.undo_id
            for later in during:
                self._played_early.add(later)
                self._play(later, self._scenario.steps[later])
            target.misbehave(faults)
            target.writes, target.order = written, order

        target.before_write = play_them

    # Judging.

    def _judge(self, number: int, step: UndoStep | ResumeStep, answer: Answer) -> None:
        self.answers.append((step, answer))
        where = f"step {number + 1} ({step.undo_id})"
        found = differences(
            step.expect,
            answer.result,
            answer.refusal,
            names={actual: name for name, actual in self._names.items()},
            writes=self._world.writes(),
            order=self._world.order(),
        )
        self._note(found, where)
        if step.state_after:
            self._note(self._state_difference(step.state_after, whole=False), f"after {where}")

    def _note(self, difference: str | None, where: str) -> None:
        if difference is not None and self.first_difference is None:
            self.first_difference = f"{where}: {difference}"

    def _state_difference(self, expected: list[Record], *, whole: bool) -> str | None:
        wanted: dict[Key, State] = {(record.object_type, record.id): state_of(record.fields) for record in expected}
        found = {key: {n: t for n, t in state.items() if t != b"null"} for key, state in self._world.records().items()}
        for key in sorted(wanted.keys() | (found.keys() if whole else set())):
            if key not in found:
                return f"{'/'.join(key)}: the record is not there"
            if key not in wanted:
                return f"{'/'.join(key)}: the record is there, with {_shown(found[key])}"
            comparing = Comparing(self._world.connector.describe(key[0]), null_is_missing=True)
            names = sorted(wanted[key].keys() | found[key].keys())
            system = comparing.schema.system_fields
            for name in names:
                if name not in system and not comparing.same(name, wanted[key].get(name), found[key].get(name)):
                    return (
                        f"{'/'.join(key)}: field {name}: expected {_text(wanted[key].get(name))}, "
                        f"found {_text(found[key].get(name))}"
                    )
        return None


def _line(change: Change) -> dict[str, object]:
    """A change as a producer sends it."""
    line: dict[str, object] = {
        "object_type": change.object_type,
        "record_id": change.id,
        "action": "none" if change.result == "unmodified" else change.op,
        "result": "failed" if change.result == "failed" else "succeeded",
        "occurred_at": (utc_now() - timedelta(0)).isoformat(),
    }
    if change.before is not None:
        line["before"] = {name: Raw(bytes(raw)) for name, raw in change.before.items()}
    elif change.op != "create":
        line["before"] = None
    if change.after is not None:
        line["after"] = {name: Raw(bytes(raw)) for name, raw in change.after.items()}
    if change.merged_into is not None:
        line["details"] = {"merged_into": change.merged_into}
    return line


def _shown(state: State) -> str:
    return ", ".join(f"{name} {text.decode()}" for name, text in sorted(state.items())) or "no fields"


def _text(text: bytes | None) -> str:
    return "nothing" if text is None else text.decode()
