"""The public history in the shared data folder, recorded through the service, against its oracle of five snapshots.

The folder is found beside the checkout (`../shared/data`) or where LEDGER_TEST_DATA says; without it these tests skip.
"""

from __future__ import annotations

import gzip
import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec import Raw

import bootstrap
from bootstrap import Services
from ledger import embedded
from ledger.domain.operation import Operation, User
from ledger.ids import account_id_of
from ledger.json_text import encode
from ledger.undo.request import UndoRequest
from ledger.undo.result import ITEMS_MAX
from migrations.migrate import migrate
from projections.records.moment import Moment
from tests.conftest import temporary_home
from tests.examples import add_account

DATA = Path(os.environ.get("LEDGER_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
HISTORY = DATA / "congress-legislators"
ACCOUNT = account_id_of("default")

pytestmark = pytest.mark.skipif(
    not HISTORY.is_dir(), reason="the shared data are not here: set LEDGER_TEST_DATA to their folder"
)


@pytest.fixture(scope="module")
def recorded() -> Iterator[tuple[Services, dict[str, int]]]:
    """The services on the whole history, and the position after each run."""
    with temporary_home() as home, embedded.database(home, durable=False) as urls:
        migrate(urls.owner_url)
        services = bootstrap.connect(urls.service_url)
        try:
            add_account(services.database)
            positions = dict(_record_all(services))
            services.project_once(ACCOUNT)
            yield services, positions
        finally:
            services.close()


class _Run(msgspec.Struct):
    run_id: str
    user: str
    message: str
    started_at: datetime
    finished_at: datetime
    status: str
    changes: list[dict[str, Raw]]


class _Change(msgspec.Struct):
    object_type: str
    record_id: str
    action: str
    before: dict[str, Raw]
    after: dict[str, Raw]


def _change_line(change: dict[str, Raw], run: _Run) -> bytes:
    """The change as it stands in the file, its values untouched, and when it happened."""
    return encode(change | {"occurred_at": run.finished_at.isoformat()})


def _record_all(services: Services) -> Iterator[tuple[str, int]]:
    ledger = services.ledger(ACCOUNT)
    with gzip.open(HISTORY / "runs.ndjson.gz") as lines:
        for line in lines:
            run = msgspec.json.decode(line, type=_Run)
            operation = Operation(user=User(name=run.user), message=run.message)
            ledger.start_run(operation, run_id=run.run_id, started_at=run.started_at)
            ledger.record_changes(run.run_id, [b"\n".join(_change_line(change, run) for change in run.changes)])
            if run.status == "ok":
                ended = ledger.finish_run(run.run_id, finished_at=run.finished_at)
            else:
                ended = ledger.fail_run(run.run_id, "failed_files", "unreadable", finished_at=run.finished_at)
            assert ended.position is not None
            yield run.run_id, ended.position


def _snapshots() -> list[dict[str, Any]]:
    if not HISTORY.is_dir():
        return []
    found: list[dict[str, Any]] = json.loads((HISTORY / "META.json").read_bytes())["states"]
    return found


def _oracle(snapshot: dict[str, Any]) -> dict[tuple[str, str], Any]:
    with gzip.open(HISTORY / snapshot["file"]) as lines:
        found = [json.loads(line, parse_float=str) for line in lines]
    return {(record["object_type"], record["record_id"]): record["fields"] for record in found}


def _states(services: Services, object_types: set[str], moment: Moment) -> dict[tuple[str, str], Any]:
    records = services.records(ACCOUNT)
    found: dict[tuple[str, str], Any] = {}
    for object_type in sorted(object_types):
        record_ids = []
        for state in records.states(object_type, moment):
            record_ids.append(state["record_id"])
            found[object_type, state["record_id"]] = json.loads(encode(state["fields"]), parse_float=str)
        assert record_ids == sorted(record_ids)
    return found


TYPES = {
    "legislator", "district_office", "social_account", "committee", "subcommittee", "committee_membership", "executive",
}  # fmt: skip


@pytest.mark.parametrize("snapshot", _snapshots(), ids=lambda snapshot: f"run-{snapshot['seq']}")
@pytest.mark.parametrize("by", ["after_run", "at", "position"])
def test_states_equal_the_snapshot(
    recorded: tuple[Services, dict[str, int]], snapshot: dict[str, Any], by: str
) -> None:
    services, positions = recorded
    moments = {
        "after_run": Moment.after_run(snapshot["run_id"]),
        "at": Moment.at(datetime.fromisoformat(snapshot["as_of"])),
        "position": Moment.at_position(positions[snapshot["run_id"]]),
    }
    oracle = _oracle(snapshot)
    assert {object_type for object_type, _ in oracle} <= TYPES
    found = _states(services, TYPES, moments[by])
    assert len(found) == snapshot["records"]
    differing = [key for key in oracle.keys() | found.keys() if not _same(oracle.get(key), found.get(key))]
    assert differing == []


def _same(expected: Any, found: Any) -> bool:
    """Field by field, types included: in Python 1 == True, in JSON not."""
    return json.dumps(expected, sort_keys=True) == json.dumps(found, sort_keys=True)


def test_run_and_its_exact_revert_leave_the_state_from_before(recorded: tuple[Services, dict[str, int]]) -> None:
    services, positions = recorded
    run_ids = list(positions)
    bulk, revert = run_ids[132], run_ids[133]
    before = _states(services, TYPES, Moment.before_run(bulk))
    between = _states(services, TYPES, Moment.after_run(bulk))
    after = _states(services, TYPES, Moment.after_run(revert))
    assert before == after != between


def test_a_single_state_its_blame_and_its_history_agree_with_the_snapshot(
    recorded: tuple[Services, dict[str, int]],
) -> None:
    services, positions = recorded
    snapshot = _snapshots()[2]
    oracle = _oracle(snapshot)
    (object_type, record_id), fields = next(item for item in oracle.items() if item[0][0] == "legislator")
    records, moment = services.records(ACCOUNT), Moment.after_run(snapshot["run_id"])
    state, blame = records.state(object_type, record_id, moment), records.blame(object_type, record_id, moment)
    assert _same(json.loads(encode(state.as_dict()["fields"]), parse_float=str), fields)
    history = records.history(object_type, record_id, limit=1_000)
    changes = {change.position: change for change in history.changes}
    assert {field.field for field in blame.fields} == fields.keys()
    for field in blame.fields:
        change = changes[field.position]
        assert field.position <= positions[snapshot["run_id"]]
        assert field.field in json.loads(change.after or b"{}")
        assert (field.run_id, field.user) == (change.run_id, change.actor)


State = dict[str, Any]
Key = tuple[str, str]


class ThreeWay:
    """The undo of one run as three states make it: before and after each change, and the oracle's newest. Written from
    the rules alone, for changes of at most one per record."""

    def __init__(self, changes: list[dict[str, Raw]], now: dict[Key, State]) -> None:
        self.applied: set[tuple[str, Key, tuple[str, ...]]] = set()
        self.skipped: set[tuple[Key, str | None, str]] = set()
        self.noop: set[tuple[Key, str | None, str]] = set()
        self.states: dict[Key, State | None] = {}
        for change in msgspec.json.decode(encode(changes), type=list[_Change]):
            key = (change.object_type, change.record_id)
            before, after = _plain(change.before), _plain(change.after)
            getattr(self, f"_{change.action}")(key, before, after, now.get(key))

    def _update(self, key: Key, before: State, after: State, now: State | None) -> None:
        names = [name for name in before.keys() | after.keys() if not _same(_at(before, name), _at(after, name))]
        if now is None and names:
            self.skipped.add((key, None, "record_missing"))
            return
        written, end = [], dict(now or {})
        for name in names:
            found = _at(now or {}, name)
            if _same(found, _at(before, name)):
                self.noop.add((key, name, "already_restored"))
            elif not _same(found, _at(after, name)):
                self.skipped.add((key, name, "modified_since"))
            else:
                written.append(name)
                end.pop(name, None)
                end.update({name: before[name]} if name in before else {})
        if written:
            self.applied.add(("update", key, tuple(sorted(written))))
            self.states[key] = end

    def _create(self, key: Key, before: State, after: State, now: State | None) -> None:
        if now is None:
            self.noop.add((key, None, "already_absent"))
        elif _same(now, after):
            self.applied.add(("delete", key, ()))
            self.states[key] = None
        else:
            self.skipped.add((key, None, "modified_since"))

    def _delete(self, key: Key, before: State, after: State, now: State | None) -> None:
        if now is None:
            self.applied.add(("create", key, tuple(sorted(before))))
            self.states[key] = before
        elif _same(now, before):
            self.noop.add((key, None, "already_restored"))
        else:
            self.skipped.add((key, None, "already_exists"))


def _plain(fields: dict[str, Raw]) -> State:
    found: State = json.loads(encode(fields), parse_float=str)
    return found


def _at(state: State, name: str) -> list[Any]:
    """A field as a value of its own: a null and a missing field are two things."""
    return [state[name]] if name in state else []


def _runs() -> Iterator[_Run]:
    with gzip.open(HISTORY / "runs.ndjson.gz") as lines:
        for line in lines:
            yield msgspec.json.decode(line, type=_Run)


def test_the_undo_of_every_run_at_the_head_of_history_is_the_three_way_result(
    recorded: tuple[Services, dict[str, int]],
) -> None:
    services, _ = recorded
    now, undos = _oracle(_snapshots()[-1]), services.undo(ACCOUNT)
    number = 0
    for run in _runs():
        expected, plan = ThreeWay(run.changes, now), undos.preview(UndoRequest((run.run_id,)))
        found = {
            "applied": {(one.op, (one.object_type, one.record_id), tuple(sorted(one.fields)))
                        for one in plan.applied.items},
            "skipped": {((one.object_type, one.record_id), one.field, one.reason) for one in plan.skipped.items},
            "noop": {((one.object_type, one.record_id), one.field, one.reason) for one in plan.noop.items},
        }  # fmt: skip
        for name, items in found.items():
            wanted = getattr(expected, name)
            assert getattr(plan, name).count == len(wanted), (run.run_id, name)
            assert items <= wanted if len(wanted) > ITEMS_MAX else items == wanted, (run.run_id, name)
        number += 1
    assert number == 1_039


def test_newest_runs_undone_one_after_another_leave_the_three_way_states(
    recorded: tuple[Services, dict[str, int]],
) -> None:
    services, _ = recorded
    states = _oracle(_snapshots()[-1])
    for run in list(_runs())[-25:]:
        expected = ThreeWay(run.changes, states)
        services.undo(ACCOUNT).undo(UndoRequest((run.run_id,)))
        states = {key: state for key, state in (states | expected.states).items() if state is not None}
    services.project_once(ACCOUNT)
    found = _states(services, TYPES, Moment.now())
    assert [key for key in states.keys() | found.keys() if not _same(states.get(key), found.get(key))] == []
