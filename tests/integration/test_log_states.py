"""What /readyz and /metrics tell of the signed logs."""

from __future__ import annotations

from pathlib import Path
from threading import Event
from typing import Any

import psycopg
import pytest

from ledger.access import Account
from ledger.embedded import DatabaseUrls
from ledger.integrity.continuous import ContinuousVerification
from ledger.integrity.sealing import Sealer
from ledger.integrity.signed_heads import SignedHeads
from ledger.integrity.verifying import OnProgress, Verdict
from tests.examples import a_change
from tests.sealed import new_signing
from tests.web import Web


@pytest.fixture
def signing(tmp_path: Path) -> SignedHeads:
    return new_signing(tmp_path)


def alter(database: DatabaseUrls, statement: str) -> None:
    """As a superuser can, with the triggers off."""
    with psycopg.connect(database.owner_url, autocommit=True) as connection:
        for table in ("events", "log_tiles", "log_trees"):
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        connection.execute(statement)


def told(web: Web, what: str = "sealing") -> Any:
    answer = web.get("/readyz", role=None)
    assert answer.status_code == 200, answer.text
    return answer.get_json().get(what)


def verified_once(web: Web, signing: SignedHeads) -> None:
    """One look of a process that has been up for long enough."""
    whole = web.services.continuous_verification(signing)
    ContinuousVerification(web.services.database, whole.verify, begin_after_s=0).look_once(Event())


def test_where_nothing_was_ever_sealed_nothing_is_told(web: Web) -> None:
    web.record([a_change(1)])
    assert told(web) is None
    assert "ledger_sealing_standing 0.0" in web.get("/metrics", role=None).text


def test_sealed_log_is_told_as_well(web: Web, signing: SignedHeads) -> None:
    web.record([a_change(1)])
    Sealer(web.services.database, signing).look_once()
    assert told(web) == {"failing": 0, "standing": 0, "unsigned_s_max": 0.0}
    metrics = web.get("/metrics", role=None).text
    assert "ledger_sealing_failing 0.0" in metrics
    assert "ledger_sealing_unsigned_seconds 0.0" in metrics


def test_log_that_does_not_extend_what_was_signed_is_told_until_it_does(
    web: Web, signing: SignedHeads, database: DatabaseUrls
) -> None:
    web.record([a_change(1)])
    Sealer(web.services.database, signing).look_once()
    flip = "UPDATE log_tiles SET hashes = set_byte(hashes, 0, get_byte(hashes, 0) # 255)"
    alter(database, flip)
    web.record([a_change(2)])
    sealer = Sealer(web.services.database, signing)
    sealer.look_once()
    found = told(web)
    assert (found["failing"], found["standing"]) == (1, 1)
    metrics = web.get("/metrics", role=None).text
    assert "ledger_sealing_failing 1.0" in metrics
    assert "ledger_sealing_standing 1.0" in metrics
    (state,) = web.services.log_states()
    assert "The tree of 4 leaves was altered" in str(state.failure)
    alter(database, "DELETE FROM log_tiles; DELETE FROM log_trees")  # they are made again from the events
    Sealer(web.services.database, signing).look_once()
    assert told(web) == {"failing": 0, "standing": 0, "unsigned_s_max": 0.0}


def test_event_that_nobody_signs_is_told(web: Web, signing: SignedHeads, database: DatabaseUrls) -> None:
    web.record([a_change(1)])
    Sealer(web.services.database, signing).look_once()
    web.record([a_change(2)])
    assert told(web)["standing"] == 0
    alter(database, "UPDATE events SET recorded_at = recorded_at - interval '1 hour' WHERE position = 5")
    found = told(web)
    assert (found["failing"], found["standing"]) == (0, 1)
    assert found["unsigned_s_max"] >= 3_600
    assert "ledger_sealing_standing 1.0" in web.get("/metrics", role=None).text
    alter(database, "UPDATE events SET recorded_at = recorded_at + interval '1 hour' WHERE position = 5")


def test_log_is_verified_unasked_and_what_was_found_is_told(
    web: Web, signing: SignedHeads, database: DatabaseUrls
) -> None:
    web.record([a_change(1)])
    verified_once(web, signing)
    assert told(web, "verification") is None  # nobody signs here
    Sealer(web.services.database, signing).look_once()
    assert told(web, "verification") == {"altered": 0, "never": 1, "ago_s_max": 0.0}
    assert "has not verified this log yet" in page(web)
    verified_once(web, signing)
    found = told(web, "verification")
    assert (found["altered"], found["never"]) == (0, 0)
    assert "As it was recorded: 4 events" in page(web)
    last = web.services.account_verification(web.account_id).last()
    verified_once(web, signing)  # not again so soon
    assert web.services.account_verification(web.account_id).last() == last
    alter(database, "UPDATE run_changes SET label = label || 'x' WHERE position = 2")
    web.services.account_verification(web.account_id).ask()
    verified_once(web, signing)
    assert told(web, "verification")["altered"] == 1
    assert "ledger_verification_altered 1.0" in web.get("/metrics", role=None).text
    assert "Not as it was recorded" in page(web)
    alter(database, "UPDATE run_changes SET label = left(label, -1) WHERE position = 2")


def test_verification_that_is_stopped_tells_nothing(web: Web, signing: SignedHeads) -> None:
    web.record([a_change(1)])
    Sealer(web.services.database, signing).look_once()
    stop = Event()
    whole = web.services.continuous_verification(signing)

    def verify(account: Account, tell: OnProgress) -> Verdict:
        stop.set()
        return whole.verify(account, tell)

    ContinuousVerification(web.services.database, verify, begin_after_s=0).look_once(stop)
    assert web.services.account_verification(web.account_id).last().verdict is None
    verified_once(web, signing)  # the lease was given back
    assert web.services.account_verification(web.account_id).last().verdict is not None


def page(web: Web) -> str:
    signed_in = web.client.post("/sign-in", data={"token": web.tokens["auditor"]})
    assert signed_in.status_code in (302, 303), signed_in.text
    return web.client.get("/verify").text
