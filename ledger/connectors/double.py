"""The fault-injecting target: records in memory, constraints as a database keeps them, misbehaviour on order.

For tests, for conformance, and for authors of connectors who want to see how the undo meets a fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from ledger.connectors.port import NO_SCHEMA, Capabilities, Found, Outcome, TargetLost, TypeSchema, Write
from ledger.connectors.schemas import related
from ledger.domain.record import State
from ledger.json_text import encode
from ledger.undo.comparing import Comparing

Key = tuple[str, str]


@dataclass(slots=True)
class Faults:
    """How the target misbehaves. Counters go down as writes come in."""

    new_ids: Mapping[Key, str] = field(default_factory=dict)
    """Ids that it cannot restore, with those that it gives instead."""
    reject: Mapping[Key, str] = field(default_factory=dict)
    """Records that it refuses for good, with its message."""
    crash_after: int | None = None
    """The connection dies with the write after so many."""
    lost_response: bool = False
    """The write that crashed did land."""
    rate_limit: int | None = None
    """Every n-th write is first answered "too many requests"."""


class DoubleTarget:
    """A target in memory."""

    def __init__(self, schemas: Mapping[str, TypeSchema] | None = None) -> None:
        self.capabilities = Capabilities(keeps_ids=False)
        self.schemas = related(schemas or {})
        self.records: dict[Key, State] = {}
        self.merged: dict[Key, str] = {}
        self.faults = Faults()
        self.writes: Counter[Key] = Counter()
        """Writes that reached the target, by the id they named."""
        self.order: list[tuple[str, str, str]] = []
        """(op, object type, id) of each write that was done."""
        self.before_write: Callable[[], None] = lambda: None
        self._created: dict[tuple[str, Key], str] = {}
        self._written = 0
        self._limited = 0
        self._throttled: set[tuple[str, str, str]] = set()

    def misbehave(self, faults: Faults) -> None:
        """From now on the target has these faults."""
        self.faults, self._written, self._limited = faults, 0, 0
        self._throttled.clear()

    def object_types(self) -> Sequence[str]:
        return list(self.schemas)

    def describe(self, object_type: str) -> TypeSchema:
        return self.schemas.get(object_type, NO_SCHEMA)

    def change_schema(
        self, object_type: str, *, drop_field: str | None = None, require_field: str | None = None
    ) -> None:
        """Drops a field, with its values, or makes one required."""
        schema = self.describe(object_type)
        if drop_field is not None:
            schema = _without(schema, drop_field)
            for (record_type, _), state in self.records.items():
                if record_type == object_type:
                    state.pop(drop_field, None)
        if require_field is not None:
            schema = replace(schema, required=schema.required | {require_field})
        self.schemas[object_type] = schema

    def read(self, object_type: str, record_ids: Sequence[str]) -> dict[str, Found]:
        found: dict[str, Found] = {}
        for record_id in record_ids:
            winner = self.winner(object_type, record_id)
            state = self.records.get((object_type, winner))
            if state is not None:
                found[record_id] = Found(dict(state), winner if winner != record_id else None)
        return found

    def winner(self, object_type: str, record_id: str) -> str:
        """The id of the record that answers for an id."""
        while (object_type, record_id) in self.merged:
            record_id = self.merged[object_type, record_id]
        return record_id

    def find(
        self, object_type: str, fields: tuple[str, ...], values: Iterable[tuple[bytes, ...]]
    ) -> list[tuple[str, State]]:
        wanted = set(values)
        return [
            (record_id, dict(state))
            for (record_type, record_id), state in self.records.items()
            if record_type == object_type and tuple(state.get(name, b"null") for name in fields) in wanted
        ]

    def write(self, writes: Sequence[Write], run_id: str) -> list[Outcome]:
        return [self._write(write, run_id) for write in writes]

    def find_created(self, write: Write, run_id: str) -> str | None:
        return self._created.get((run_id, (write.object_type, write.record_id)))

    def _write(self, write: Write, run_id: str) -> Outcome:
        key = write.object_type, write.record_id
        self.before_write()
        faults = self.faults
        if self._is_throttled(write):
            return Outcome("throttled", retry_after_s=0.0)
        if faults.crash_after is not None and self._written >= faults.crash_after and not faults.lost_response:
            raise TargetLost("The connection to the target was lost before the write.")
        if key in faults.reject:
            return Outcome("rejected", message=faults.reject[key])
        outcome = self._apply(write, run_id)
        if outcome.status == "applied":
            if faults.crash_after is not None and self._written >= faults.crash_after:
                raise TargetLost("The connection to the target was lost before its answer.")
            self._written += 1
        return outcome

    def _is_throttled(self, write: Write) -> bool:
        """Each n-th write is answered so when it first comes."""
        attempt = write.op, write.object_type, write.record_id
        if self.faults.rate_limit is None or attempt in self._throttled:
            self._throttled.discard(attempt)
            return False
        self._limited += 1
        if self._limited % self.faults.rate_limit:
            return False
        self._throttled.add(attempt)
        return True

    def _apply(self, write: Write, run_id: str) -> Outcome:
        key = write.object_type, write.record_id
        now = self.records.get(key)
        if key in self.merged and (key[0], self.winner(*key)) in self.records:
            return Outcome("merged")
        if write.op == "create":
            if now is not None:
                return Outcome("conflict", seen=dict(now))
        elif now is None:
            return Outcome("missing")
        elif self._differs(write, now):
            return Outcome("conflict", seen=dict(now))
        after = None if write.op == "delete" else self._after(write, now or {})
        new_id = self.faults.new_ids.get(key, write.record_id) if write.op == "create" else write.record_id
        refusal = self._refusal((write.object_type, new_id), after)
        if refusal is not None:
            return Outcome("rejected", message=refusal)
        self.writes[key] += 1
        self.order.append((write.op, *key))
        if after is None:
            del self.records[key]
        else:
            self.records[write.object_type, new_id] = after
            self.merged.pop((write.object_type, new_id), None)
        if write.op == "create":
            self._created[run_id, key] = new_id
        return Outcome("applied", new_id)

    def _differs(self, write: Write, now: State) -> bool:
        comparing = Comparing(self.describe(write.object_type), null_is_missing=True)
        return any(not comparing.same(name, now.get(name), text) for name, text in write.expected.items())

    def _after(self, write: Write, now: State) -> State:
        after = dict(now)
        for name, text in write.values.items():
            if text is None or text == b"null":
                after.pop(name, None)
            else:
                after[name] = text
        return after

    def _refusal(self, key: Key, after: State | None) -> str | None:
        """What a database would say of a record that becomes `after`; None: nothing."""
        if after is None:
            return self._still_referenced(key)
        schema = self.describe(key[0])
        for name in schema.required - after.keys():
            return f"Field {name} is required."
        for reference in schema.references:
            parent = reference.record_id(after)
            if parent is not None and (reference.object_type, parent) not in self.records.keys() | {key}:
                return f"There is no {reference.object_type} {parent}."
        for group in schema.unique:
            holder = self._holder(key, group, after)
            if holder is not None:
                return f"{'/'.join(group)} is taken by {holder}."
        return None

    def _still_referenced(self, key: Key) -> str | None:
        for child, state in self.records.items():
            for reference in self.describe(child[0]).references:
                if child != key and reference.object_type == key[0] and reference.record_id(state) == key[1]:
                    return f"{key[0]} {key[1]} is still referenced by {child[0]} {child[1]}."
        return None

    def _holder(self, key: Key, group: tuple[str, ...], after: State) -> str | None:
        values = [after.get(name) for name in group]
        if None in values:
            return None
        others = (other for other in self.records if other[0] == key[0] and other != key)
        return next((other[1] for other in others if [self.records[other].get(name) for name in group] == values), None)


def _without(schema: TypeSchema, name: str) -> TypeSchema:
    """The schema without a field, and without the constraints that speak of it."""
    return replace(
        schema,
        dropped=schema.dropped | {name},
        references=tuple(reference for reference in schema.references if name not in reference.fields),
        unique=tuple(group for group in schema.unique if name not in group),
        required=schema.required - {name},
    )


def stored(fields: Mapping[str, object]) -> State:
    """Fields as plain JSON values to a state; null fields are left out, as this target does not tell them apart."""
    return {name: encode(value) for name, value in fields.items() if value is not None}
