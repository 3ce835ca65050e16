"""Plays a history on the product and tells its first difference from the model, in words; makes a failing one small."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from bootstrap import Services
from ledger.conformance import player
from ledger.conformance.scenario import Scenario
from ledger.conformance.world import DoubleWorld
from ledger.undo.result import Applied, Item
from tests.simulation.undo_model.histories import Beat, History
from tests.simulation.undo_model.model import Answer
from tests.simulation.undo_model.target import Fields, Key, Target, present

LISTS = ("applied", "skipped", "noop", "failed", "cascaded_runs")


def first_difference(services: Services, history: History, account: str) -> str | None:
    """Plays the history in an account of this name. None: product and model agree on all of it."""
    scenario = msgspec.json.decode(json.dumps(history.scenario).encode(), type=Scenario)
    world, account_id = DoubleWorld(scenario), services.accounts().add(account).account_id
    playing = player.Player(
        scenario, world, services.ledger(account_id), lambda target: services.undo(account_id, target)
    )
    playing.play()
    undos = [step for step in history.scenario["steps"] if step["step"] == "undo"]
    for step, expected, (_, answer) in zip(undos, history.answers, playing.answers, strict=True):
        found = _answer(answer)
        for name in ("status", "reason", *LISTS):
            if getattr(found, name) != getattr(expected, name):
                return f"{step['undo_id']}: {name}: {_shown(getattr(expected, name), getattr(found, name))}"
    return _state_difference(history.model.target, {key: _values(state) for key, state in world.target.records.items()})


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


def _applied(one: Applied) -> tuple[Key, tuple[str, Fields, str | None]]:
    fields = {} if one.op == "delete" else _values(one.fields)
    old_id = one.old_id if one.op == "create" and one.old_id != one.record_id else None
    return (one.object_type, one.record_id), (one.op, present(fields) if one.op == "create" else fields, old_id)


def _items(items: Sequence[Item]) -> set[tuple[Key, str | None, str]]:
    return {((item.object_type, item.record_id), item.field, item.reason) for item in items}


def _values(state: Mapping[str, bytes | None]) -> Fields:
    return {name: None if text is None else json.loads(text) for name, text in state.items()}


def _state_difference(target: Target, found: Mapping[Key, Fields]) -> str | None:
    for key in sorted(target.records.keys() | found.keys()):
        expected = target.records.get(key)
        if expected is None or key not in found:
            return f"in the end: {'/'.join(key)}: {_shown(expected, found.get(key))}"
        if present(found[key]) != expected:
            return f"in the end: {'/'.join(key)}: {_shown(expected, found[key])}"
    return None


def _shown(expected: Any, found: Any) -> str:
    if isinstance(expected, set):
        alone = [sorted(map(str, one - other)) for one, other in ((expected, found), (found, expected))]
        return f"the model alone has {alone[0]}, the product {alone[1]}"
    return f"the model has {expected}, the product {found}"
