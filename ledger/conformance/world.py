"""The target that a scenario happens in: the port of what a player needs besides the connector, and the double."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Protocol

from ledger.conformance.scenario import Change, External, Misbehaviour, Scenario, SchemaStep, state_of
from ledger.connectors.double import DoubleTarget, Faults
from ledger.connectors.port import Connector
from ledger.connectors.schemas import parse_schema
from ledger.domain.record import State
from ledger.json_text import canonical

Key = tuple[str, str]


class NotApplicable(Exception):
    """The target cannot express the scenario; the text says why."""


class World(Protocol):
    """A target with its records, changed from outside the undo."""

    connector: Connector

    def apply(self, change: Change) -> None:
        """A change of a run happens in the target too."""
        ...

    def happen(self, change: External) -> None:
        """A change behind the ledger's back."""
        ...

    def change_schema(self, step: SchemaStep) -> None: ...

    def erase(self, object_type: str, record_id: str, fields: Sequence[str] | None) -> None: ...

    def misbehave(self, faults: Misbehaviour | None) -> None:
        """How the target behaves from now on; None: well."""
        ...

    def recover(self) -> None:
        """The connection works again; other faults stay."""
        ...

    def close(self) -> None:
        """The scenario is over."""
        ...

    def records(self) -> dict[Key, State]:
        """All live records, null fields left out."""
        ...

    def writes(self) -> Counter[Key] | None:
        """Writes of the undo under way that reached the target; None: it does not tell."""
        ...

    def order(self) -> Sequence[tuple[str, str, str]] | None:
        """(op, object type, id) of these writes in order; None: it does not tell."""
        ...


class DoubleWorld:
    """The fault-injecting target."""

    def __init__(self, scenario: Scenario) -> None:
        schemas = {name: parse_schema(document) for name, document in scenario.schema.items()}
        self.target = DoubleTarget(schemas)
        self.connector: Connector = self.target
        for record in scenario.initial:
            self.target.records[record.object_type, record.id] = state_of(record.fields)

    def apply(self, change: Change) -> None:
        key = change.object_type, change.id
        if change.op == "delete":
            self.target.records.pop(key, None)
            if change.merged_into is not None:
                self.target.merged[key] = change.merged_into
            return
        self.target.merged.pop(key, None)
        before, after = change.before or {}, change.after or {}
        state = {} if change.op == "create" else self.target.records.setdefault(key, {})
        for name in before.keys() - after.keys():
            state.pop(name, None)
        self._set(state, {name: bytes(raw) for name, raw in after.items()})
        self.target.records[key] = state

    def happen(self, change: External) -> None:
        key = change.object_type, change.id
        if change.op == "merge":
            loser = change.object_type, change.loser
            self.target.records.pop(loser, None)
            self.target.merged[loser] = change.winner
        elif change.op == "delete":
            self.target.records.pop(key, None)
        elif change.op == "create":
            self.target.merged.pop(key, None)
            self.target.records[key] = state_of(change.fields)
        else:
            key = change.object_type, self.target.winner(*key)
            self._set(self.target.records[key], {name: bytes(raw) for name, raw in change.set.items()})

    def change_schema(self, step: SchemaStep) -> None:
        self.target.change_schema(step.object_type, drop_field=step.drop_field, require_field=step.require_field)

    def erase(self, object_type: str, record_id: str, fields: Sequence[str] | None) -> None:
        state = self.target.records.get((object_type, record_id))
        if state is not None:
            for name in list(state) if fields is None else fields:
                state.pop(name, None)

    def misbehave(self, faults: Misbehaviour | None) -> None:
        told = faults or Misbehaviour()
        self.target.misbehave(
            Faults(
                {_key(name): new_id for name, new_id in told.new_ids.items()},
                {(object_type, record_id): message for object_type, record_id, message in told.reject},
                told.crash_after,
                told.lost_response,
                told.rate_limit,
            )
        )

    def recover(self) -> None:
        self.target.faults.crash_after = None

    def close(self) -> None:
        """Nothing is held."""

    def records(self) -> dict[Key, State]:
        return self.target.records

    def writes(self) -> Counter[Key] | None:
        return self.target.writes

    def order(self) -> Sequence[tuple[str, str, str]] | None:
        return self.target.order

    @staticmethod
    def _set(state: State, values: dict[str, bytes]) -> None:
        for name, raw in values.items():
            text = canonical(raw)
            if text == b"null":
                state.pop(name, None)
            else:
                state[name] = text


def _key(name: str) -> Key:
    object_type, _, record_id = name.partition("/")
    return object_type, record_id
