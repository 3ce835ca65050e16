"""Every shipped scenario, played through the public path: on the fault-injecting target, and on real tables."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import bootstrap
from bootstrap import Services
from ledger.conformance.player import Player
from ledger.conformance.postgres_world import PostgresWorld
from ledger.conformance.scenario import SCENARIOS, Scenario, read_scenarios
from ledger.conformance.world import DoubleWorld, NotApplicable
from ledger.embedded import DatabaseUrls


@pytest.fixture
def services(database: DatabaseUrls) -> Iterator[Services]:
    services = bootstrap.connect(database.service_url)
    yield services
    services.close()


def play(services: Services, scenario: Scenario, number: int) -> str | None:
    """The first difference of one scenario, played in an account of its own."""
    account_id = services.accounts().add(f"scenario-{number}").account_id
    player = Player(
        scenario, DoubleWorld(scenario), services.ledger(account_id), lambda target: services.undo(account_id, target)
    )
    return player.play()


@pytest.mark.parametrize("chapter", sorted(path.stem for path in SCENARIOS.glob("*.json")))
def test_the_fault_injecting_target_plays_every_scenario_as_it_expects(services: Services, chapter: str) -> None:
    scenarios = read_scenarios(SCENARIOS / f"{chapter}.json")
    played = {scenario.id: play(services, scenario, number) for number, scenario in enumerate(scenarios)}
    assert played == dict.fromkeys(played)
    assert len(played) == len(scenarios)


APPLICABLE_MIN = 250
"""How many of the shipped scenarios real tables can play, at the least: a test that skips all of them tests nothing."""


def test_real_tables_play_every_scenario_that_they_can_express(services: Services, database: DatabaseUrls) -> None:
    played: dict[str, str | None] = {}
    scenarios = [scenario for path in sorted(SCENARIOS.glob("*.json")) for scenario in read_scenarios(path)]
    for number, scenario in enumerate(scenarios):
        account_id = services.accounts().add(f"scenario-{number}").account_id
        try:
            world = PostgresWorld(scenario, database.owner_url, f"scenario_{number}")
            player = Player(
                scenario, world, services.ledger(account_id), lambda target, of=account_id: services.undo(of, target)
            )
            played[scenario.id] = player.play()
            world.close()
        except NotApplicable:
            continue
    assert played == dict.fromkeys(played)
    assert len(played) >= APPLICABLE_MIN
