"""Retention: before-states go by age, undo then says why it cannot. And the list that a restored backup needs."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

import bootstrap
from bootstrap import Services
from ledger.connectors.double import DoubleTarget, Faults
from ledger.connectors.port import TypeSchema
from ledger.embedded import DatabaseUrls
from ledger.erasure.retention import Retention
from ledger.errors import InputError, NotFound
from ledger.ids import account_id_of
from ledger.json_text import encode
from ledger.undo.refusals import UndoRefused
from ledger.undo.request import UndoRequest
from projections.erasing.postgres import ErasedViews
from projections.registry import PROJECTION_NAMES
from projections.run_changes.view import ChangeQuery
from projections.runner import Follower
from tests.everything import tables_with
from tests.examples import a_change, add_account, record
from tests.projected import TABLES, rows_of
from tests.web import opened_web

ACCOUNT = account_id_of("default")
WHY: Any = {"reason": "Policy 4.", "user": "Ann"}
BEFORE, AFTER = b"202 555 0100", b"+12025550001"


@pytest.fixture
def services(database: DatabaseUrls) -> Iterator[Services]:
    found = bootstrap.connect(database.service_url)
    add_account(found.database)
    yield found
    found.close()


def retention(services: Services, days_later: int) -> Retention:
    """As it will be applied in some days."""
    return Retention(
        services.database, ACCOUNT, ErasedViews(services.database, ACCOUNT),
        clock=lambda: datetime.now(UTC) + timedelta(days=days_later),
    )  # fmt: skip


def test_before_states_go_by_age_and_the_run_cannot_be_undone(database: DatabaseUrls, services: Services) -> None:
    record(services.ledger(ACCOUNT), "R1", [a_change(1), a_change(2, object_type="company")])
    services.keeping(ACCOUNT).set_retention("contact", 30, **WHY)
    assert [each.erased for each in retention(services, 29).apply()] == [0]
    assert [each.erased for each in retention(services, 31).apply()] == [1]
    assert [each.erased for each in retention(services, 32).apply()] == [0], "once"
    changes = services.run_changes(ACCOUNT).page(ChangeQuery("R1")).changes
    assert [(each.object_type, each.before, each.after) for each in changes] == [
        ("contact", b"null", b'{"phone":"%b"}' % AFTER),
        ("company", b'{"phone":"%b"}' % BEFORE, b'{"phone":"+12025550002"}'),
    ]
    assert services.records(ACCOUNT).state("contact", "r-1").fields == {"phone": encode(AFTER.decode())}
    with pytest.raises(UndoRefused) as refused:
        services.undo(ACCOUNT).preview(UndoRequest(("R1",)))
    assert refused.value.reason == "before_states_expired"
    services.project_once(ACCOUNT)
    live = rows_of(database.owner_url, ACCOUNT)
    for name in PROJECTION_NAMES:
        services.rebuild(ACCOUNT, name)
    assert rows_of(database.owner_url, ACCOUNT, generations=dict.fromkeys(TABLES, 2)) == live


def test_fields_that_an_old_change_removed_do_not_come_back(services: Services) -> None:
    record(services.ledger(ACCOUNT), "R1", [
        a_change(1, action="create", before=..., after={"phone": "1", "fax": "2"}),
        a_change(1, before={"phone": "1", "fax": "2"}, after={"phone": "3"}),
    ])  # fmt: skip
    before = services.records(ACCOUNT).state("contact", "r-1").fields
    services.keeping(ACCOUNT).set_retention("contact", 30, **WHY)
    assert retention(services, 31).apply()[0].erased == 1
    assert services.records(ACCOUNT).state("contact", "r-1").fields == before == {"phone": b'"3"'}
    services.project_once(ACCOUNT)
    assert [found["record_id"] for found in services.records(ACCOUNT).states("contact")] == ["r-1"]


def test_a_whole_policy_takes_everything_and_intents_too(database: DatabaseUrls, services: Services) -> None:
    record(services.ledger(ACCOUNT), "R1", [a_change(1, label="bo@example.com")])
    target = DoubleTarget({"contact": TypeSchema()})
    target.records["contact", "r-1"] = {"phone": encode(AFTER.decode())}
    assert services.undo(ACCOUNT, target).undo(UndoRequest(("R1",))).status == "completed"
    services.keeping(ACCOUNT).set_retention("contact", 30, what="whole", **WHY)
    assert retention(services, 31).apply()[0].erased == 3, "the change, the intent, the undo's change"
    assert tables_with(database.owner_url, BEFORE, AFTER, b"bo@example.com") == []


def test_retention_waits_for_an_undo_under_way(services: Services) -> None:
    record(services.ledger(ACCOUNT), "R1", [a_change(1)])
    target = DoubleTarget({"contact": TypeSchema()})
    target.records["contact", "r-1"] = {"phone": encode(AFTER.decode())}
    target.misbehave(Faults(crash_after=0))
    undo = services.undo(ACCOUNT, target)
    died = undo.undo(UndoRequest(("R1",)))
    services.keeping(ACCOUNT).set_retention("contact", 30, **WHY)
    applied = retention(services, 31).apply()[0]
    assert (applied.erased, applied.upto, applied.stopped) == (0, 0, f"Undo {died.undo_id} is under way.")
    target.misbehave(Faults())
    undo.resume(str(died.undo_id))
    assert retention(services, 31).apply()[0].erased > 0


@pytest.mark.parametrize("held", ["r-1", None])
def test_what_is_held_keeps_its_before_state_until_the_hold_is_lifted(services: Services, held: str | None) -> None:
    record(services.ledger(ACCOUNT), "R1", [a_change(1), a_change(2)])
    keeping = services.keeping(ACCOUNT)
    keeping.set_retention("contact", 30, **WHY)
    keeping.place_hold("contact", held, reason="Case 7.", user="Ann")
    retention(services, 31).apply()
    services.project_once(ACCOUNT)
    changes = services.run_changes(ACCOUNT).page(ChangeQuery("R1")).changes
    assert changes[0].before == b'{"phone":"%b"}' % BEFORE
    assert changes[1].before == (b"null" if held else changes[0].before)
    keeping.lift_hold("contact", held, reason="Closed.", user="Ann")
    retention(services, 31).apply()
    changes = services.run_changes(ACCOUNT).page(ChangeQuery("R1")).changes
    assert [each.before for each in changes] == [b"null", b"null"]


def test_rules_are_set_changed_lifted_and_refused(services: Services) -> None:
    keeping = services.keeping(ACCOUNT)
    assert keeping.set_retention("contact", 30, **WHY) is not None
    assert keeping.set_retention("contact", 30, **WHY) is None
    assert keeping.set_retention("contact", 60, **WHY) is not None
    assert [policy.keep_days for policy in keeping.load().policies.values()] == [60]
    assert keeping.lift_retention("contact", **WHY) is not None
    with pytest.raises(NotFound, match="no retention policy"):
        keeping.lift_retention("contact", **WHY)
    with pytest.raises(InputError, match=r"keeps 1 to 36,500 days, found 0"):
        keeping.set_retention("contact", 0, **WHY)


def test_the_follower_does_its_daily_work_once_a_day_for_each_account(services: Services) -> None:
    done: list[str] = []
    followers = [
        Follower(services.database, every_day=lambda account_id: done.append(str(account_id))) for _ in range(2)
    ]
    for follower in followers * 2:
        follower._do_daily(ACCOUNT)
    assert done == [str(ACCOUNT)]


def test_a_restored_backup_is_not_ready_before_the_erasure_list_is_replayed(
    database: DatabaseUrls, services: Services, tmp_path: Path
) -> None:
    """The backup is played by a second account that gets the list of the first: it never carried the erasures out."""
    erasing = bootstrap.connect(database.service_url, erasure_list=tmp_path / "list.ndjson")
    record(services.ledger(ACCOUNT), "R1", [a_change(1), a_change(2)])
    with opened_web(database.service_url) as web:
        web.app.extensions["services"] = erasing
        assert web.client.get("/readyz").status_code == 200
        erasing.erasure(ACCOUNT).erase("contact", "r-1", **WHY)
        assert web.client.get("/readyz").status_code == 200
        other = add_account(services.database, "restored")
        record(services.ledger(other), "R1", [a_change(1), a_change(2)])
        path = tmp_path / "list.ndjson"
        path.write_text(path.read_text().replace(str(ACCOUNT), str(other)))
        refused = web.client.get("/readyz")
        assert (refused.status_code, refused.get_json()["code"]) == (503, "not_erased")
        assert "ledger erase --replay" in refused.get_json()["detail"]
        services.keeping(other).place_hold("contact", "r-1", reason="Case.", user="Ann")
        assert erasing.erasure_list is not None
        repeated = erasing.repeat_erasures(erasing.erasure_list.read())
        assert [(each.record_id, each.reason, each.user) for each in repeated] == [("r-1", "Policy 4.", "Ann")]
        assert web.client.get("/readyz").status_code == 200
        assert erasing.repeat_erasures(erasing.erasure_list.read()) == []
        record(services.ledger(other), "R2", [a_change(1)])
        assert erasing.first_unerased() is None, "what was recorded after the erasure is new"
    erasing.close()
    assert len(path.read_text().splitlines()) == 1


def test_a_partly_restored_database_is_noticed(database: DatabaseUrls, services: Services, tmp_path: Path) -> None:
    """The erasure's event is there, and so is what it erased."""
    erasing = bootstrap.connect(database.service_url, erasure_list=tmp_path / "list.ndjson")
    record(services.ledger(ACCOUNT), "R1", [a_change(1)])
    query = "SELECT salt, payload FROM events WHERE position = 2"
    with psycopg.connect(database.owner_url, autocommit=True) as owner:
        old = owner.execute(query).fetchone()
        assert old is not None
        erasing.erasure(ACCOUNT).erase("contact", "r-1", **WHY)
        assert erasing.first_unerased() is None
        owner.execute("SET session_replication_role = replica")
        owner.execute("ALTER TABLE events DISABLE TRIGGER ALL")
        owner.execute("ALTER TABLE erased_events DISABLE TRIGGER ALL")
        owner.execute("UPDATE events SET salt = %s, payload = %s WHERE position = 2", old)
        owner.execute("DELETE FROM erased_events WHERE position = 2")
        owner.execute("ALTER TABLE events ENABLE ALWAYS TRIGGER refuse_change")
        owner.execute("ALTER TABLE events ENABLE ALWAYS TRIGGER check_append")
        owner.execute("ALTER TABLE erased_events ENABLE ALWAYS TRIGGER refuse_change")
        assert erasing.first_unerased() is not None
        erasing.repeat_erasures(erasing.erasure_list.read() if erasing.erasure_list else [])
        assert (erasing.first_unerased(), tables_with(database.owner_url, BEFORE, AFTER)) == (None, [])
    erasing.close()


def test_a_list_that_cannot_be_written_stops_the_erasure(
    database: DatabaseUrls, services: Services, tmp_path: Path
) -> None:
    erasing = bootstrap.connect(database.service_url, erasure_list=tmp_path / "not there" / "list")
    record(services.ledger(ACCOUNT), "R1", [a_change(1)])
    with pytest.raises(Exception, match=r"erasure list .* cannot be written"):
        erasing.erasure(ACCOUNT).erase("contact", "r-1", **WHY)
    assert tables_with(database.owner_url, AFTER) != []
    erasing.close()
