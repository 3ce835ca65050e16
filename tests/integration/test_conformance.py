"""Every shipped scenario, played through the public path: on the fault-injecting target, and on real tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import pytest

import bootstrap
from bootstrap import Services
from ledger.conformance.player import Played, play_scenario
from ledger.conformance.postgres_world import PostgresWorld
from ledger.conformance.scenario import SCENARIOS, Scenario, read_scenarios
from ledger.conformance.world import DoubleWorld, World
from ledger.embedded import DatabaseUrls


@pytest.fixture
def services(database: DatabaseUrls) -> Iterator[Services]:
    services = bootstrap.connect(database.service_url)
    yield services
    services.close()


def play(services: Services, scenario: Scenario, number: int, world_of: Callable[[], World]) -> Played:
    """One scenario, played in an account of its own."""
    account_id = services.accounts().add(f"scenario-{number}").account_id
    return play_scenario(
        scenario, world_of, services.ledger(account_id), lambda target: services.undo(account_id, target)
    )


@pytest.mark.parametrize("chapter", sorted(path.stem for path in SCENARIOS.glob("*.json")))
def test_the_fault_injecting_target_plays_every_scenario_as_it_expects(services: Services, chapter: str) -> None:
    scenarios = read_scenarios(SCENARIOS / f"{chapter}.json")
    played = [
        play(services, scenario, number, partial(DoubleWorld, scenario)) for number, scenario in enumerate(scenarios)
    ]
    assert [one for one in played if one.verdict != "pass"] == []
    assert len(played) == len(scenarios) > 0


PARTS = 4
APPLICABLE_MIN = 250
"""How many of the shipped scenarios real tables can play, at the least: a test that skips all of them tests nothing."""


@pytest.mark.parametrize("part", range(PARTS))
def test_real_tables_play_every_scenario_that_they_can_express(
    services: Services, database: DatabaseUrls, part: int
) -> None:
    every = [scenario for path in sorted(SCENARIOS.glob("*.json")) for scenario in read_scenarios(path)]
    played = [
        play(services, scenario, number, partial(PostgresWorld, scenario, database.owner_url, f"scenario_{number}"))
        for number, scenario in enumerate(every[part::PARTS])
    ]
    assert [one for one in played if one.verdict == "fail"] == []
    assert sum(one.verdict == "pass" for one in played) >= APPLICABLE_MIN / PARTS
