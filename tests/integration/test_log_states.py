"""What /readyz and /metrics tell of the signed logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import psycopg
import pytest

from ledger.embedded import DatabaseUrls
from ledger.integrity.sealing import Sealer
from ledger.integrity.signed_heads import SignedHeads
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


def told(web: Web) -> Any:
    answer = web.get("/readyz", role=None)
    assert answer.status_code == 200, answer.text
    return answer.get_json().get("sealing")


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
