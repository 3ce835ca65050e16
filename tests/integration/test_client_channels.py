"""The client over both channels, to the same ledger: one face, one outcome."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

import bootstrap
from ledger.client import Client, Producer
from ledger.embedded import DatabaseUrls
from ledger.errors import NotSignedIn, RunEnded, RunExists
from ledger.ids import account_id_of
from ledger.sending.local import LocalChannel
from tests.command import Command


@pytest.fixture
def ledger(database: DatabaseUrls) -> Command:
    command = Command(urls=database)
    command("account", "add", "default")
    return command


@pytest.fixture(params=["http", "local"])
def producer(request: pytest.FixtureRequest, ledger: Command, database: DatabaseUrls) -> Iterator[Producer]:
    """A client of the database's account `default`."""
    if request.param == "local":
        services = bootstrap.connect(database.service_url)
        yield Producer(LocalChannel(services.ledger(account_id_of("default"))))
        services.close()
        return
    token = ledger("token", "make", "producer").stdout.decode().strip()
    with serving(ledger) as url, Client(url, token) as client:
        yield client


class serving:  # noqa: N801 - used as a block
    """`ledger serve` on a free port; entered once it answers, with its URL."""

    def __init__(self, ledger: Command) -> None:
        self._process = ledger.start("serve", "--port", 0, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)

    def __enter__(self) -> str:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if b"http://127.0.0.1:" in line:
                return "http://127.0.0.1:" + line.split(b"http://127.0.0.1:")[1].split()[0].strip(b'",').decode()
        raise AssertionError("the server ended before it served")

    def __exit__(self, *exception: object) -> None:
        self._process.terminate()
        assert self._process.stdout is not None
        self._process.stdout.read()
        self._process.stdout.close()
        assert self._process.wait() == 0


def test_run_is_recorded_exactly(producer: Producer, ledger: Command) -> None:
    odd = {"d": Decimal("1.10"), "big": 2**200, "null": None, "nul": "a\0b", "list": [1, Decimal("0.0")]}
    with producer.run(run_id="r-1", object_type="contact", template="T", user="Ann", app="HubSpot") as run:
        run.created("1", after=odd, label="ann@example.com", link="https://example.com/1")
        run.updated("1", before={"d": Decimal("1.10")}, after={"d": None}, message="cleared")
        run.unmodified("2")
        run.failed(None, "No such record.", action="delete")
        run.change("merge", "3", before={"x": 1}, after={"x": 2})
    assert run.summary is not None
    assert (run.stamp_run_id, run.summary["status"]) == ("r-1", "finished")
    ledger("project", "--once")
    tally = ledger("show", "r-1", "--json").document["tally"]
    assert {name: tally[name] for name in ("created", "updated", "unmodified", "failed", "other")} == dict.fromkeys(
        ("created", "updated", "unmodified", "failed", "other"), 1
    )
    state = ledger("state", "contact", "1", "--json").stdout
    assert b'"big":' + str(2**200).encode() in state
    assert b'"list":[1,0.0]' in state
    assert b'"d":null' in state


def test_recipe_stamps_its_own_run_id(producer: Producer, ledger: Command) -> None:
    with producer.recipe("Weekly", run_id="rec") as recipe, recipe.run(template="A", object_type="contact") as run:
        run.deleted("1", before={"x": 1})
        assert run.stamp_run_id == "rec"
    ledger("project", "--once")
    assert ledger("show", "rec", "--json").document["tally"]["deleted"] == 1


def test_exception_fails_the_run(producer: Producer, ledger: Command) -> None:
    def die() -> None:
        with producer.run(run_id="r-1", object_type="contact") as run:
            run.unmodified("1")
            raise RuntimeError("quota exhausted")

    with pytest.raises(RuntimeError):
        die()
    ledger("project", "--once")
    row: dict[str, Any] = ledger("show", "r-1", "--json").document
    assert (row["status"], row["error"]) == ("failed", {"code": "RuntimeError", "message": "quota exhausted"})
    assert row["tally"]["unmodified"] == 1


def test_run_given_again_from_the_first_is_recorded_once(producer: Producer, ledger: Command) -> None:
    run = producer.run(run_id="r-1", object_type="contact")
    for number in range(3):
        run.unmodified(str(number))
    run.flush()
    with producer.run(run_id="r-1", object_type="contact") as again:
        assert again.accepted == 3
        for number in range(5):
            again.unmodified(str(number))
    ledger("project", "--once")
    assert ledger("show", "r-1", "--json").document["tally"]["unmodified"] == 5


def test_errors_are_those_of_the_ledger(producer: Producer) -> None:
    producer.run(run_id="r-1", object_type="contact").finish()
    with pytest.raises(RunExists):
        producer.run(run_id="r-1", object_type="company")
    ended = producer.run(run_id="r-1", object_type="contact")
    ended.unmodified("1")
    with pytest.raises(RunEnded):
        ended.flush()


def test_wrong_token_is_refused(ledger: Command) -> None:
    with serving(ledger) as url, Client(url, "ldg_wrong") as client, pytest.raises(NotSignedIn):
        client.run(template="T")
