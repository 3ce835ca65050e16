"""The product against an independent model of the rules, over random histories; and the model against itself.

A failing history is named by its seed and shown as small as it gets, as a scenario document. One seed alone:
`UNDO_HISTORY=17 python -m pytest tests/simulation/test_undo_model.py`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from decimal import Decimal
from functools import partial
from itertools import count
from typing import Any

import pytest

import bootstrap
from bootstrap import Services
from ledger.conformance.postgres_world import PostgresWorld
from ledger.conformance.scenario import SCENARIOS
from ledger.embedded import DatabaseUrls
from tests.simulation.undo_model.comparison import first_difference, shrunk
from tests.simulation.undo_model.histories import History, beats
from tests.simulation.undo_model.model import Answer, Model
from tests.simulation.undo_model.target import present

BLOCK = 50
QUICK, LONG = range(300), range(300, 10_300)
SEEDS = range(seed := int(os.environ.get("UNDO_HISTORY", 0)), seed + 1) if "UNDO_HISTORY" in os.environ else QUICK
NOT_MODELLED = {"crash_after", "lost_response", "reject"}
"""Random histories have these, where the rules say what comes of it; the shipped scenarios have more of them."""


@pytest.fixture
def services(database: DatabaseUrls) -> Iterator[Services]:
    services = bootstrap.connect(database.service_url, flush_each_commit=False)
    yield services
    services.close()


def check_histories(services: Services, seeds: range) -> None:
    names = (f"history-{number}" for number in count())
    for seed in seeds:
        difference = first_difference(services, History(seed, beats(seed)), next(names))
        if difference is not None:
            small = shrunk(seed, beats(seed), lambda each: first_difference(services, each, next(names)) is not None)
            shown = "\n".join(json.dumps(part) for part in [*small.scenario.items(), *small.scenario["steps"]])
            pytest.fail(f"seed {seed}: {first_difference(services, small, next(names))}\n{shown}", pytrace=False)


@pytest.mark.parametrize("start", range(SEEDS.start, SEEDS.stop, BLOCK))
def test_product_and_model_agree_on_random_histories(services: Services, start: int) -> None:
    check_histories(services, range(start, min(start + BLOCK, SEEDS.stop)))


@pytest.mark.long
@pytest.mark.parametrize("start", range(LONG.start, LONG.stop, BLOCK))
def test_product_and_model_agree_on_10000_random_histories(services: Services, start: int) -> None:
    check_histories(services, range(start, start + BLOCK))


@pytest.mark.long
@pytest.mark.parametrize("start", range(0, 300, BLOCK))
def test_product_and_model_agree_on_real_tables(services: Services, database: DatabaseUrls, start: int) -> None:
    for seed in range(start, start + BLOCK):
        name = f"tables_{seed}"
        world_of = partial(PostgresWorld, owner_url=database.owner_url, name=name)
        history = History(seed, beats(seed), on_tables=True)
        difference = first_difference(services, history, name, world_of)
        assert difference is None, f"seed {seed}: {difference}\n{json.dumps(history.scenario)}"


def test_histories_meet_every_reason_status_and_policy() -> None:
    """What the histories never come to, they do not test."""
    answers = [answer for seed in range(600) for answer in History(seed, beats(seed)).answers]
    reasons = {reason for answer in answers for _, _, reason in answer.skipped | answer.noop}
    assert reasons == {
        "already_restored", "already_absent", "modified_since", "already_exists", "record_missing", "record_merged",
        "record_skipped", "missing_reference", "still_referenced", "unique_violation", "required_field_missing",
        "field_missing", "no_before_state", "before_state_erased",
    }  # fmt: skip
    assert any(answer.failed for answer in answers)
    statuses = {"completed", "partial", "nothing_applied", "nothing_to_do", "aborted", "rejected"}
    assert {answer.status for answer in answers} == statuses
    refusals = {"already_undone", "preview_run", "unknown_run", "before_states_expired"}
    assert {answer.reason for answer in answers if answer.reason} == refusals


@pytest.mark.parametrize("start", range(0, 500, 100))
def test_what_an_undo_wrote_its_redo_brings_back(start: int) -> None:
    """Of the model alone; as the product does the same, of the product too."""
    for seed in range(start, start + 100):
        history = History(seed, beats(seed))
        model, target = history.model, history.model.target
        runs = [run.run_id for run in model.runs if not run.is_preview and run.run_id not in model.undone]
        if not runs:
            continue
        before = target.copied()
        answer = model.play({"step": "undo", "undo_id": "last", "runs": runs[-1:], "policy": "force"})
        redo = model.play({"step": "undo", "undo_id": "redo", "runs": ["last"]})
        assert answer is not None
        assert redo is not None
        if answer.applied:
            assert redo.status == "completed", f"seed {seed}"
        there = {key: target.records[key] for key in target.records}
        assert there.keys() == before.records.keys(), f"seed {seed}"
        assert not any(target.differing(key[0], there[key], before.records[key]) for key in there), f"seed {seed}"


def _is_modelled(step: dict[str, Any]) -> bool:
    faults = NOT_MODELLED & (step.get("target") or {}).keys()
    return step["step"] != "resume" and not faults and "concurrent_with" not in step


def _exact(text: str) -> Any:
    """A number by its digits: 1 and 1.0 differ."""
    return int(text) if text.lstrip("-").isdigit() else {"digits": str(Decimal(text))}


def shipped_scenarios() -> list[Any]:
    found = []
    for path in sorted(SCENARIOS.glob("*.json")):
        for scenario in json.loads(path.read_text(), parse_float=_exact, parse_int=_exact)["scenarios"]:
            if all(_is_modelled(step) for step in scenario["steps"]):
                found.append(pytest.param(scenario, id=scenario["id"]))
    return found


@pytest.mark.parametrize("scenario", shipped_scenarios())
def test_model_answers_shipped_scenarios_as_they_expect(scenario: dict[str, Any]) -> None:
    model = Model(scenario)
    for step in scenario["steps"]:
        answer = model.play(step)
        if answer is not None:
            assert _told(answer, step["expect"]) == _expected(step["expect"])
    final = {(each["object_type"], each["id"]): present(each["fields"]) for each in scenario["final"]}
    assert final.keys() == model.target.records.keys()
    assert [key for key in final if model.target.differing(key[0], final[key], model.target.records[key])] == []


def _expected(expect: dict[str, Any]) -> dict[str, Any]:
    told: dict[str, Any] = {name: expect[name] for name in ("status", "reason") if name in expect}
    for name in ("skipped", "noop", "failed"):
        if name in expect:
            told[name] = {((each["object_type"], each["id"]), each["field"], each["reason"]) for each in expect[name]}
    if "cascaded_runs" in expect:
        told["cascaded_runs"] = set(expect["cascaded_runs"])
    if "applied" in expect:
        told["applied"] = {
            (each["object_type"], each["id"]): (each["op"], present(each.get("fields") or {}), each.get("old_id"))
            for each in expect["applied"]
        }
    return told


def _told(answer: Answer, expect: dict[str, Any]) -> dict[str, Any]:
    told = {name: getattr(answer, name) for name in (*_expected(expect),)}
    if "applied" in told:
        told["applied"] = {key: (op, present(fields), old) for key, (op, fields, old) in answer.applied.items()}
    return told
