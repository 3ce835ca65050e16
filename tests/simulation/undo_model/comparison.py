"""Plays a history on the product and tells its first difference from the model, in words; makes a failing one small."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from uuid import UUID

import msgspec

from bootstrap import Services
from ledger.conformance import player
from ledger.conformance.scenario import Scenario
from ledger.conformance.world import DoubleWorld, World
from ledger.undo.result import Applied, Item
from tests.simulation.undo_model.histories import Beat, History
from tests.simulation.undo_model.model import Answer
from tests.simulation.undo_model.target import Fields, Key, Target, instant, present

Written = tuple[str, Fields, str | None]
LISTS = ("applied", "skipped", "noop", "failed", "cascaded_runs")


def first_difference(
    services: Services, history: History, account: str, world_of: Callable[[Scenario], World] = DoubleWorld
) -> str | None:
    """Plays the history in an account of this name. None: product and model agree. Raises NotApplicable."""
    scenario = msgspec.json.decode(json.dumps(history.scenario).encode(), type=Scenario)
    world, account_id = world_of(scenario), services.accounts().add(account).account_id
    try:
        return _first_difference(services, history, scenario, world, account_id)
    finally:
        world.close()


def _first_difference(
    services: Services, history: History, scenario: Scenario, world: World, account_id: UUID
) -> str | None:
    playing = player.Player(
        scenario, world, services.ledger(account_id), lambda target: services.undo(account_id, target)
    )
    playing.play()
    undos = [step for step in history.scenario["steps"] if step["step"] in ("undo", "resume")]
    for step, expected, (_, answer) in zip(undos, history.answers, playing.answers, strict=True):
        found = _answer(answer)
        writes_max = step.get("target", {}).get("crash_after", len(expected.applied))
        if found.status == "interrupted" and "crash_after" in step.get("target", {}):
            continue
        if len(expected.applied) > writes_max:
            return f"{step['undo_id']}: not interrupted by a crash after {writes_max} writes"
        target = history.model.target
        expected.applied = _with_instants(expected.applied, target)
        found.applied = _told_as(expected.applied, _with_instants(found.applied, target))
        for name in ("status", "reason", *LISTS):
            if getattr(found, name) != getattr(expected, name):
                return f"{step['undo_id']}: {name}: {_shown(getattr(expected, name), getattr(found, name))}"
    return _state_difference(history.model.target, {key: _values(state) for key, state in world.records().items()})


def shrunk(seed: int, beats: list[Beat], differs: Callable[[History], bool]) -> History:
    """A smaller history of which something differs still: beats left out and made shorter, as long as that works."""
    was_smaller = True
    while was_smaller:
        was_smaller = False
        for number in range(len(beats) - 1, -1, -1):
            for fewer in _smaller(beats, number):
                if differs(History(seed, fewer)):
                    beats, was_smaller = fewer, True
                    break
    return History(seed, beats)


def _smaller(beats: list[Beat], number: int) -> list[list[Beat]]:
    head, beat, tail = beats[:number], beats[number], beats[number + 1 :]
    return [[*head, *tail], *([*head, beat._replace(size=size), *tail] for size in range(1, beat.size))]


def _answer(answer: player.Answer) -> Answer:
    result = answer.result
    if result is None:
        return Answer("rejected", answer.refusal)
    return Answer(
        result.status,
        None,
        dict(_applied(one) for one in result.applied.items),
        _items(result.skipped.items),
        _items(result.noop.items),
        _items(result.failed.items),
        set(result.cascaded_runs),
    )


def _applied(one: Applied) -> tuple[Key, Written]:
    fields = {} if one.op == "delete" else _values(one.fields)
    old_id = one.old_id if one.op == "create" and one.old_id != one.record_id else None
    return (one.object_type, one.record_id), (one.op, present(fields) if one.op == "create" else fields, old_id)


def _with_instants(applied: dict[Key, Written], target: Target) -> dict[Key, Written]:
    return {key: (op, _in_one_zone(target, key[0], fields), old) for key, (op, fields, old) in applied.items()}


def _told_as(expected: dict[Key, Written], found: dict[Key, Written]) -> dict[Key, Written]:
    """The old id counts where this undo gave a new one; the product names it too where an earlier undo did."""
    named = {key for key, (_, _, old) in expected.items() if old is not None}
    return {key: (op, fields, old if key in named else None) for key, (op, fields, old) in found.items()}


def _in_one_zone(target: Target, object_type: str, fields: Fields) -> Fields:
    """The fields with instants told in one time zone: a table tells them in its own."""
    names = target.rules(object_type).datetimes
    return {name: instant(value) if name in names and value else value for name, value in fields.items()}


def _items(items: Sequence[Item]) -> set[tuple[Key, str | None, str]]:
    return {((item.object_type, item.record_id), item.field, item.reason) for item in items}


def _values(state: Mapping[str, bytes | None]) -> Fields:
    return {name: None if text is None else json.loads(text) for name, text in state.items()}


def _state_difference(target: Target, found: Mapping[Key, Fields]) -> str | None:
    for key in sorted(target.records.keys() | found.keys()):
        expected = target.records.get(key)
        if expected is None or key not in found:
            return f"in the end: {'/'.join(key)}: {_shown(expected, found.get(key))}"
        if _in_one_zone(target, key[0], present(found[key])) != _in_one_zone(target, key[0], expected):
            return f"in the end: {'/'.join(key)}: {_shown(expected, found[key])}"
    return None


def _shown(expected: Any, found: Any) -> str:
    if isinstance(expected, set):
        alone = [sorted(map(str, one - other)) for one, other in ((expected, found), (found, expected))]
        return f"the model alone has {alone[0]}, the product {alone[1]}"
    return f"the model has {expected}, the product {found}"
