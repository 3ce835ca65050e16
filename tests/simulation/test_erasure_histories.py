"""Random histories with erasures among them: what was erased is nowhere, what was not is as it was, the views agree."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

import bootstrap
from bootstrap import Services
from ledger.embedded import DatabaseUrls
from ledger.ids import account_id_of
from ledger.undo.refusals import UndoRefused
from ledger.undo.request import UndoRequest
from projections.registry import PROJECTION_NAMES
from tests.everything import tables_with
from tests.examples import add_account, an_operation, ndjson
from tests.projected import TABLES, rows_of

ACCOUNT = account_id_of("default")
FIELDS = ("email", "phone", "city")
STEPS = 25


class History:
    """Records whose every value and label is a secret of its own: `NUMBER-FIELD-VERSION@secret`."""

    def __init__(self, services: Services, chance: random.Random) -> None:
        self.services, self.chance = services, chance
        self.ledger = services.ledger(ACCOUNT)
        self.states: dict[str, dict[str, str]] = {}
        self.secrets: dict[str, set[tuple[str, str]]] = {}
        """Record id to (field or "", secret)."""
        self.runs: list[str] = []
        self.version = 0

    def secret(self, record_id: str, field: str) -> str:
        self.version += 1
        text = f"{record_id}-{field or 'label'}-{self.version}@secret"
        self.secrets.setdefault(record_id, set()).add((field, text))
        return text

    def change(self, record_id: str) -> dict[str, Any]:
        """A change of any kind, as its record allows."""
        state, chance = self.states.get(record_id), self.chance
        line: dict[str, Any] = {"object_type": "contact", "record_id": record_id}
        if chance.random() < 0.5:
            line["label"] = self.secret(record_id, "")
        if chance.random() < 0.3:
            line["message"] = f"told {self.secret(record_id, '')}"
        if state is None:
            return line | {"action": "create", "after": {name: self.secret(record_id, name) for name in FIELDS}}
        if chance.random() < 0.15:
            return line | {"action": "delete", "before": dict(state)}
        names = chance.sample(FIELDS, chance.randrange(1, 3))
        before = {name: state[name] for name in names if name in state}
        return line | {
            "action": "update", "before": before, "after": {name: self.secret(record_id, name) for name in names}
        }  # fmt: skip

    def run(self) -> None:
        run_id, chance = f"R{len(self.runs)}", self.chance
        mode = "preview" if chance.random() < 0.2 else "update"
        self.ledger.start_run(an_operation(mode=mode), run_id=run_id)
        for record_id in chance.sample([f"r{number}" for number in range(8)], chance.randrange(1, 6)):
            line = self.change(record_id)
            if chance.random() < 0.15:
                line["result"] = "failed"
            self.ledger.record_changes(run_id, [ndjson([line])])
            if mode == "update" and "result" not in line:
                if line["action"] == "delete":
                    del self.states[record_id]
                else:
                    self.states[record_id] = self.states.get(record_id, {}) | line["after"]
        self.ledger.finish_run(run_id)
        self.runs.append(run_id)

    def undo(self) -> None:
        if self.runs:
            try:
                result = self.services.undo(ACCOUNT).undo(UndoRequest((self.chance.choice(self.runs),)))
            except UndoRefused:
                return
            if result.undo_id is not None:
                self.runs.append(result.undo_id)
            self.look_again()

    def look_again(self) -> None:
        self.services.project_once(ACCOUNT)
        self.states = {
            record["record_id"]: {name: bytes(raw).decode().strip('"') for name, raw in record["fields"].items()}
            for record in self.services.records(ACCOUNT).states("contact")
        }

    def erase(self, owner_url: str) -> None:
        if not self.secrets:
            return
        record_id = self.chance.choice(sorted(self.secrets))
        fields = self.chance.sample(FIELDS, self.chance.randrange(1, 3)) if self.chance.random() < 0.5 else None
        others = {key: dict(state) for key, state in self.states.items() if key != record_id}
        self.services.erasure(ACCOUNT).erase("contact", record_id, fields=fields, reason="Request", user="Ann")
        gone = {text for field, text in self.secrets[record_id] if fields is None or field in ("", *fields)}
        self.secrets[record_id] -= {(field, text) for field, text in self.secrets[record_id] if text in gone}
        if not self.secrets[record_id]:
            del self.secrets[record_id]
        assert tables_with(owner_url, *(text.encode() for text in gone)) == []
        kept = self.states.get(record_id)
        self.look_again()
        assert {key: state for key, state in self.states.items() if key != record_id} == others
        if fields is not None and kept is not None:
            assert self.states[record_id] == {name: text for name, text in kept.items() if name not in fields}


@pytest.fixture
def services(database: DatabaseUrls) -> Iterator[Services]:
    found = bootstrap.connect(database.service_url, flush_each_commit=False)
    add_account(found.database)
    yield found
    found.close()


@pytest.mark.parametrize("number", [0, 1, *(pytest.param(number, marks=pytest.mark.long) for number in range(2, 30))])
def test_what_was_erased_is_nowhere_and_the_rest_is_as_it_was(
    number: int, services: Services, database: DatabaseUrls, seed: int
) -> None:
    history = History(services, random.Random(seed + number))
    for _ in range(STEPS):
        step = history.chance.random()
        if step < 0.6:
            history.run()
        elif step < 0.8:
            history.undo()
        else:
            history.erase(database.owner_url)
    services.project_once(ACCOUNT)
    live = rows_of(database.owner_url, ACCOUNT)
    for name in PROJECTION_NAMES:
        services.rebuild(ACCOUNT, name)
    rebuilt = rows_of(database.owner_url, ACCOUNT, generations=dict.fromkeys(TABLES, 2))
    blocks = set(live.pop("change_blocks"))
    assert set(rebuilt.pop("change_blocks")) <= blocks, "the index may hold more than is there, never less"
    assert rebuilt == live
