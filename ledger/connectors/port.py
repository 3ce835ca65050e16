"""The port of connectors: what the undo asks of a target system, and what a target answers.

Values are canonical JSON texts (see ledger.json_text). None stands for a field that is missing. Duties of a connector:
- `write` compares and sets: a record that does not hold the expected values is not written and answered `conflict`;
- trouble with one record is an outcome, never an exception; TargetLost is raised when the connection died and what was
  under way may or may not have arrived; nothing is tried again inside a connector;
- it never touches a field that a write does not name, but for the Run ID stamp.
tests/contract/test_connectors.py is the suite that every connector passes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple, Protocol, runtime_checkable

from ledger.domain.record import State
from ledger.errors import Unavailable
from ledger.json_text import encode, plain

Op = Literal["create", "update", "delete"]
Status = Literal["applied", "already", "conflict", "missing", "merged", "rejected", "throttled", "unknown"]
Values = dict[str, bytes | None]
"""Field to canonical JSON text; None: missing."""


class TargetLost(Unavailable):
    """The target stopped answering; what was under way may or may not have been written."""

    code = "target_lost"
    title = "The target does not answer"


@dataclass(frozen=True, slots=True)
class Reference:
    """Fields that together hold the id of a record of `object_type`."""

    fields: tuple[str, ...]
    object_type: str

    def record_id(self, state: Mapping[str, bytes | None]) -> str | None:
        """The id that a record with these fields refers to; None: to nothing (a part is null or missing)."""
        return compose_id([state.get(name) for name in self.fields])


@dataclass(frozen=True, slots=True)
class TypeSchema:
    """What a target says of an object type. Everything empty: no constraints are known."""

    references: tuple[Reference, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    required: frozenset[str] = frozenset()
    datetimes: frozenset[str] = frozenset()
    system_fields: frozenset[str] = frozenset()
    fields: frozenset[str] | None = None
    """All fields that there are; None: any name may be used, but for those dropped."""
    dropped: frozenset[str] = frozenset()
    """Fields that the target had and has no longer."""
    is_referenced: bool = False
    """Whether another type, or this one, may refer to records of this type."""

    def has_field(self, name: str) -> bool:
        return name not in self.dropped and (self.fields is None or name in self.fields)

    def constrains(self, names: Iterable[str]) -> bool:
        """Whether a constraint speaks of one of these fields."""
        held = self.required.union(*self.unique, *(reference.fields for reference in self.references))
        return not held.isdisjoint(names)

    @property
    def has_constraints(self) -> bool:
        return bool(self.references or self.unique or self.required or self.is_referenced)


NO_SCHEMA = TypeSchema()


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a target can do."""

    null_is_missing: bool = True
    """Whether a field that is null and one that is missing are the same."""
    keeps_ids: bool = True
    """Whether a record that is created again gets its old id back."""
    reads_events: bool = False
    """The ledger's own events are the book of record: nothing is read from or written to anywhere else."""
    read_records_max: int = 1_000
    write_records_max: int = 1_000


class Found(NamedTuple):
    """A record as it is in the target now. `merged_into`: the id of the other record that answers for this one."""

    fields: State
    merged_into: str | None = None


@dataclass(frozen=True, slots=True)
class Write:
    """One write to one record.

    `values` are the fields to set (None: to clear); `expected` what the record must hold now. A create expects
    nothing and names all fields; a delete names none.
    """

    op: Op
    object_type: str
    record_id: str
    values: Values = field(default_factory=dict)
    expected: Values = field(default_factory=dict)


class Outcome(NamedTuple):
    """What became of one write. `seen`: the record as it is, where the target told (None: it told nothing)."""

    status: Status
    new_id: str | None = None
    """The id of a created record where the target could not give it the old one."""
    message: str | None = None
    """The target's own words, for `rejected`."""
    retry_after_s: float | None = None
    seen: State | None = None


class Connector(Protocol):
    """One target system."""

    capabilities: Capabilities

    def object_types(self) -> Sequence[str]:
        """All types that the target describes: where references to a record may come from."""
        ...

    def describe(self, object_type: str) -> TypeSchema:
        """The constraints of a type, as they are now."""
        ...

    def read(self, object_type: str, record_ids: Sequence[str]) -> dict[str, Found]:
        """The records that are there now, by the id asked for. Raises TargetLost."""
        ...

    def find(
        self, object_type: str, fields: tuple[str, ...], values: Iterable[tuple[bytes, ...]]
    ) -> list[tuple[str, State]]:
        """All records (id and fields) whose `fields` hold one of `values`, for uniqueness and references."""
        ...

    def write(self, writes: Sequence[Write], run_id: str) -> list[Outcome]:
        """Carries out writes in this order, each on its own; one outcome for each. Raises TargetLost."""
        ...

    def find_created(self, write: Write, run_id: str) -> str | None:
        """The id of the record that an earlier, unanswered create of this run made; None: it made none."""
        ...


class Alike(NamedTuple):
    """Updates of one object type that set the same fields: for each record the fields as they shall be and as they must
    be now, as canonical JSON objects of exactly `fields`, in this order."""

    object_type: str
    fields: tuple[str, ...]
    record_ids: Sequence[str]
    values: Sequence[bytes]
    expected: Sequence[bytes]


@runtime_checkable
class WritesAlike(Connector, Protocol):
    """A connector that can also write many records of one form in one go; no duty of a connector."""

    def write_alike(self, updates: Alike, run_id: str) -> list[int]:
        """Writes, in one transaction, the records that hold exactly the expected texts. Returns their numbers (from 0);
        none where the target refuses a single one: then they are to be written one by one. Raises TargetLost."""
        ...

    def holding(self, updates: Alike) -> list[int]:
        """The numbers of the records that hold exactly `values` now. Raises TargetLost."""
        ...


def read_many(connector: Connector, object_type: str, record_ids: Sequence[str]) -> dict[str, Found]:
    """`read` for any number of records, as many at a time as the target takes. Raises TargetLost."""
    found: dict[str, Found] = {}
    size = connector.capabilities.read_records_max
    for start in range(0, len(record_ids), size):
        found |= connector.read(object_type, record_ids[start : start + size])
    return found


def compose_id(parts: Sequence[bytes | None]) -> str | None:
    """The record id of key values: one as plain text, several as a compact JSON array. None where a part is null."""
    if any(part is None or part == b"null" for part in parts):
        return None
    if len(parts) == 1:
        return plain(parts[0])  # type: ignore[arg-type]
    return encode([json.loads(part) for part in parts]).decode()  # type: ignore[arg-type]
