"""`ledger conformance`: plays undo scenarios against a target and judges it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import open_output, write_json
from ledger.errors import NotFound

if TYPE_CHECKING:
    from bootstrap import Services
    from ledger.conformance.player import Played
    from ledger.conformance.scenario import Scenario
    from ledger.conformance.world import World

TARGETS = ("double", "postgres")


@click.command("conformance")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path), metavar="FILE...")
@click.option("--target", type=click.Choice(TARGETS), default="double", show_default=True,
              help="double: the fault-injecting target; postgres: real tables.")  # fmt: skip
@click.option("--only", metavar="ID,...", help="Only these scenarios.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def conformance(files: tuple[Path, ...], target: str, only: str | None, as_json: bool) -> int:
    """Play undo scenarios (default: those shipped) in a database of their own; no account of yours is touched.

    One line a scenario: pass, fail with the first difference, or not applicable with the reason. Exit status 0 only
    when none fails.
    """
    scenarios = _scenarios(files, None if only is None else set(only.split(",")))
    counts = {"pass": 0, "fail": 0, "not applicable": 0}
    played: list[Played] = []
    with _services() as (services, owner_url), open_output(None) as stream:
        for number, scenario in enumerate(scenarios):
            one = _play(services, owner_url, scenario, number, target)
            counts[one.verdict] += 1
            played.append(one)
            if not as_json:
                reason = f": {one.reason}" if one.reason else ""
                stream.write(f"{one.verdict:14}  {one.scenario_id}{reason}\n".encode())
                stream.flush()
        if as_json:
            write_json(stream, {"target": target, "counts": counts, "scenarios": [one._asdict() for one in played]})
        else:
            totals = f"{counts['pass']} pass, {counts['fail']} fail, {counts['not applicable']} not applicable\n"
            stream.write(totals.encode())
    return 1 if counts["fail"] else 0


def _scenarios(files: tuple[Path, ...], only: set[str] | None) -> list[Scenario]:
    from ledger.conformance.scenario import SCENARIOS, read_scenarios

    found = [
        scenario
        for file in files or sorted(SCENARIOS.glob("*.json"))
        for scenario in read_scenarios(file)
        if only is None or scenario.id in only
    ]
    if only is not None and (missing := only - {scenario.id for scenario in found}):
        raise NotFound(f"There is no scenario {', '.join(sorted(missing))} in these documents.")
    return found


@contextmanager
def _services() -> Iterator[tuple[Services, str]]:
    """Services on a database that is made for this and deleted afterwards."""
    import shutil

    import bootstrap
    from ledger import embedded
    from migrations.migrate import migrate

    home = Path(tempfile.mkdtemp(prefix="ledger-conformance-"))
    home.chmod(0o711)
    try:
        with embedded.database(home, durable=False) as urls:
            migrate(urls.owner_url)
            services = bootstrap.connect(urls.service_url)
            try:
                yield services, urls.owner_url
            finally:
                services.close()
        embedded.wait_until_stopped(home)
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _play(services: Services, owner_url: str, scenario: Scenario, number: int, target: str) -> Played:
    from ledger.conformance.player import play_scenario
    from ledger.conformance.world import DoubleWorld

    account_id = services.accounts().add(f"scenario-{number}").account_id

    def world() -> World:
        if target == "double":
            return DoubleWorld(scenario)
        from ledger.conformance.postgres_world import PostgresWorld

        return PostgresWorld(scenario, owner_url, f"scenario_{number}")

    return play_scenario(
        scenario, world, services.ledger(account_id), lambda connector: services.undo(account_id, connector)
    )
