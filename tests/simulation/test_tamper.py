"""A superuser alters a sealed log, with every trigger off and put back; plain verification tells, and tells where."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import psycopg
import pytest

from bootstrap import Services
from ledger.access import Account
from ledger.embedded import DatabaseUrls
from ledger.integrity.sealing import AccountSealer
from ledger.integrity.signed_heads import SignedHeads
from ledger.integrity.verifying import Expected, Verdict
from ledger.service import AccountLedger
from projections.runner import project_once
from tests.examples import a_change, a_ledger, record
from tests.sealed import ACCOUNT, new_signing
from tests.simulation.tamper import ANY, InsideDatabase, Tamperer

OPEN = Account(ACCOUNT, "default", 0)


@pytest.fixture
def signing(tmp_path: Path) -> SignedHeads:
    return new_signing(tmp_path)


@pytest.fixture
def prepared(database: DatabaseUrls, signing: SignedHeads) -> DatabaseUrls:
    """A log of some 600 events in 12 runs, sealed after every third, with its views."""
    with a_ledger(database.service_url) as ledger:
        sealer = AccountSealer(ledger.store.recorder.database, ACCOUNT, "default", signing)
        for number in range(12):
            lines = [a_line(number, each) for each in range(10 + 7 * number)]
            record(ledger, f"r-{number}", lines, finish=number % 5 != 4, template=None)
            if number % 3 == 2:
                sealer.seal()
        sealer.seal()
        project_once(ledger.store.recorder.database, ACCOUNT)
    return database


def a_line(run: int, number: int) -> dict[str, Any]:
    match number % 5:
        case 0:
            return a_change(number, record_id=f"r-{run}-{number}", action="create", before=...)
        case 1:
            return a_change(number, action="none", before=..., after=...)
        case 2:
            return a_change(number, result="failed", message="It is read-only.")
        case 3:
            return a_change(number, action="merge")
    return a_change(number)


def verify(database: Any, signing: SignedHeads) -> Verdict:
    """As `ledger verify` does where the key is."""
    signed = signing.read(ACCOUNT, "default")
    assert signed is not None
    expected = [Expected(signed, "head signed last")]
    return Services(database).verify(OPEN, signing.keys.trusted("default"), expected)


def tamperer(connection: psycopg.Connection[Any], chance: random.Random) -> Tamperer:
    head = connection.execute("SELECT head FROM accounts").fetchone()
    assert head is not None
    sizes = [size for (size,) in connection.execute("SELECT size FROM log_checkpoints ORDER BY size")]
    return Tamperer(connection, chance, head[0], sizes)


@pytest.mark.parametrize("alterations", [200, pytest.param(1_000, marks=pytest.mark.long)])
def test_every_alteration_is_found_where_it_is(
    prepared: DatabaseUrls, signing: SignedHeads, alterations: int, seed: int
) -> None:
    chance = random.Random(seed)
    kinds: Counter[str] = Counter()
    with psycopg.connect(prepared.owner_url, autocommit=True) as connection:
        by = tamperer(connection, chance)
        assert verify(InsideDatabase(connection), signing).findings == []
        for number in range(alterations):
            with connection.transaction(force_rollback=True):
                altered = by.alter()
                verdict = verify(InsideDatabase(connection), signing)
                told = f"seed {seed}, alteration {number}: {altered.what}; found {verdict.findings[:3]}"
                assert verdict.findings, told
                assert altered.positions == ANY or verdict.first_position in altered.positions, told
                kinds[verdict.findings[0].kind] += 1
        assert verify(InsideDatabase(connection), signing).findings == []
    assert len(kinds) >= 10, kinds


@pytest.mark.parametrize("runs", [20, pytest.param(200, marks=pytest.mark.long)])
def test_log_in_order_raises_no_alarm(prepared: DatabaseUrls, signing: SignedHeads, runs: int, seed: int) -> None:
    chance = random.Random(seed)
    with a_ledger(prepared.service_url) as ledger:
        for number in range(runs):
            _go_on(ledger, signing, chance, f"more-{number}")
            verdict = verify(ledger.store.recorder.database, signing)
            assert verdict.findings == [], f"seed {seed}, run {number}"


def test_log_that_goes_on_while_it_is_verified_raises_no_alarm(prepared: DatabaseUrls, signing: SignedHeads) -> None:
    with a_ledger(prepared.service_url) as ledger:
        database = ledger.store.recorder.database

        def go_on(_done: int, _all: int) -> None:
            record(ledger, "meanwhile", [a_line(99, each) for each in range(600)])
            AccountSealer(database, ACCOUNT, "default", signing).seal()

        signed = signing.read(ACCOUNT, "default")
        assert signed is not None
        trusted, expected = signing.keys.trusted("default"), [Expected(signed, "head signed last")]
        verdict = Services(database).verify(OPEN, trusted, expected, on_progress=go_on)
        assert verdict.findings == []
        assert verdict.size == verdict.signed == signed.size
        assert verify(database, signing).size > signed.size


def _go_on(ledger: AccountLedger, signing: SignedHeads, chance: random.Random, run_id: str) -> None:
    """Something that happens to a log: a run, sealed or not, projected or not."""
    lines = [a_line(99, each) for each in range(chance.randrange(30))]
    record(ledger, run_id, lines, finish=chance.random() < 0.7)
    if chance.random() < 0.6:
        AccountSealer(ledger.store.recorder.database, ACCOUNT, "default", signing).seal()
    if chance.random() < 0.6:
        project_once(ledger.store.recorder.database, ACCOUNT)
