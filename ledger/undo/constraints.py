"""The target's constraints, judged on the end state of the undo. UNDO.md, "Verdicts".

Only writes of the undo are ever withdrawn: a violating update loses the field, a violating create or delete the record.
One withdrawal can bring about another violation, so it goes on until nothing violates.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ledger.connectors.port import Connector, Reference, TypeSchema
from ledger.json_text import JsonFault, canonical, encode, split_list
from ledger.undo.comparing import NULL
from ledger.undo.judging import Step

Key = tuple[str, str]
Values = tuple[bytes, ...]


class Violation(NamedTuple):
    """What of a step violates a constraint. names None: the record as a whole."""

    step: Step
    reason: str
    names: tuple[str, ...] | None


def is_bound(step: Step, schema: TypeSchema) -> bool:
    """Whether the step touches anything that a constraint speaks of."""
    if step.op is None or not schema.has_constraints:
        return False
    return step.op != "update" or schema.constrains(step.values)


def keep_constraints(steps: Sequence[Step], schemas: Mapping[str, TypeSchema], connector: Connector) -> None:
    """Withdraws from `steps` (with the whole present state of their records) what would violate a constraint."""
    surroundings = Surroundings(connector, schemas)
    while violations := _violations(steps, schemas, surroundings):
        for step, reason, names in violations:
            if step.op is not None:
                step.withdraw(reason, None if names is None else [name for name in names if name in step.values])


def _violations(
    steps: Sequence[Step], schemas: Mapping[str, TypeSchema], surroundings: Surroundings
) -> list[Violation]:
    """Those of one round: of what is written first, of deletes only when nothing written violates, since a write that
    is withdrawn may have been what still refers to a record."""
    ends = {step.key: step.end_state() for step in steps}
    written = [step for step in steps if step.op in ("create", "update")]
    found = [
        *_without_required(written, schemas),
        *_without_parent(written, schemas, ends, surroundings),
        *_not_unique(written, schemas, ends, surroundings),
    ]
    deleted = [step for step in steps if step.op == "delete"]
    return found or list(_still_referenced(deleted, ends, surroundings))


def _violation(step: Step, reason: str, names: Iterable[str]) -> Violation:
    return Violation(step, reason, None if step.op == "create" else tuple(n for n in names if n in step.values))


def _without_required(steps: Sequence[Step], schemas: Mapping[str, TypeSchema]) -> Iterable[Violation]:
    for step in steps:
        for name in sorted(schemas[step.object_type].required):
            looked_at = name in step.values or step.op == "create"
            if looked_at and step.values.get(name) in (None, NULL):
                yield _violation(step, "required_field_missing", [name])


def _without_parent(
    steps: Sequence[Step],
    schemas: Mapping[str, TypeSchema],
    ends: Mapping[Key, Mapping[str, bytes | None] | None],
    surroundings: Surroundings,
) -> Iterable[Violation]:
    wanted: list[tuple[Step, Reference, Key]] = []
    for step in steps:
        end = ends[step.key] or {}
        for reference in schemas[step.object_type].references:
            parent = reference.record_id(end)
            if parent is not None and not step.values.keys().isdisjoint(reference.fields):
                wanted.append((step, reference, (reference.object_type, parent)))
    there = surroundings.present({key for _, _, key in wanted if key not in ends})
    for step, reference, key in wanted:
        if (ends[key] is None) if key in ends else (key not in there):
            yield _violation(step, "missing_reference", reference.fields)


def _not_unique(
    steps: Sequence[Step],
    schemas: Mapping[str, TypeSchema],
    ends: Mapping[Key, Mapping[str, bytes | None] | None],
    surroundings: Surroundings,
) -> Iterable[Violation]:
    takers: dict[tuple[str, tuple[str, ...]], list[tuple[Step, Values]]] = defaultdict(list)
    for step in steps:
        for group in schemas[step.object_type].unique:
            values = values_of(ends[step.key] or {}, group)
            if values is not None and not step.values.keys().isdisjoint(group):
                takers[step.object_type, group].append((step, values))
    for (object_type, group), taking in takers.items():
        holders = surroundings.holders(object_type, group, {values for _, values in taking})
        for key, end in ends.items():
            if key[0] == object_type:
                for held in holders.values():
                    held.discard(key)
                values = values_of(end or {}, group)
                if values in holders:
                    holders[values].add(key)
        for step, values in taking:
            if holders[values] - {step.key}:
                yield _violation(step, "unique_violation", group)


def _still_referenced(
    steps: Sequence[Step],
    ends: Mapping[Key, Mapping[str, bytes | None] | None],
    surroundings: Surroundings,
) -> Iterable[Violation]:
    going: dict[str, dict[str, Step]] = defaultdict(dict)
    for step in steps:
        going[step.object_type][step.record_id] = step
    reported: set[Key] = set()
    for object_type, records in going.items():
        for child_type, reference in surroundings.references_to(object_type):
            for child, parent in surroundings.referring(child_type, reference, records):
                end = ends.get((child_type, child))
                gone = (child_type, child) in ends and (end is None or reference.record_id(end) != parent)
                if not gone and (object_type, parent) not in reported:
                    reported.add((object_type, parent))
                    yield Violation(records[parent], "still_referenced", None)


def values_of(state: Mapping[str, bytes | None], group: Sequence[str]) -> Values | None:
    """The values of a unique group; None where one is null or missing: such a record violates nothing."""
    values = tuple(state.get(name) or NULL for name in group)
    return None if NULL in values else values


class Surroundings:
    """What the target holds besides the records that the undo writes. Looks once at each thing."""

    def __init__(self, connector: Connector, schemas: Mapping[str, TypeSchema]) -> None:
        self._connector = connector
        self._schemas = schemas
        self._present: dict[Key, bool] = {}
        self._holders: dict[tuple[str, tuple[str, ...], Values], frozenset[Key]] = {}
        self._referring: dict[tuple[str, Reference, str], list[str]] = {}

    def present(self, keys: set[Key]) -> set[Key]:
        """Those of the records that are there."""
        by_type: dict[str, list[str]] = defaultdict(list)
        for object_type, record_id in keys - self._present.keys():
            by_type[object_type].append(record_id)
        for object_type, ids in by_type.items():
            found = self._connector.read(object_type, ids)
            for record_id in ids:
                there = found.get(record_id)
                self._present[object_type, record_id] = there is not None and there.merged_into is None
        return {key for key in keys if self._present[key]}

    def holders(self, object_type: str, group: tuple[str, ...], values: set[Values]) -> dict[Values, set[Key]]:
        """Which records hold each of the values now."""
        fresh = [value for value in values if (object_type, group, value) not in self._holders]
        if fresh:
            found: dict[Values, set[Key]] = {value: set() for value in fresh}
            for record_id, state in self._connector.find(object_type, group, fresh):
                held = values_of(state, group)
                if held in found:
                    found[held].add((object_type, record_id))
            for value, keys in found.items():
                self._holders[object_type, group, value] = frozenset(keys)
        return {value: set(self._holders[object_type, group, value]) for value in values}

    def references_to(self, object_type: str) -> list[tuple[str, Reference]]:
        """The references of all types that may refer to records of this one."""
        return [
            (child_type, reference)
            for child_type in self._connector.object_types()
            for reference in self._describe(child_type).references
            if reference.object_type == object_type
        ]

    def referring(
        self, child_type: str, reference: Reference, records: Mapping[str, Step]
    ) -> Iterable[tuple[str, str]]:
        """(child, parent) ids of the records that refer to one of `records` now."""
        fresh = [record_id for record_id in records if (child_type, reference, record_id) not in self._referring]
        if fresh:
            for record_id in fresh:
                self._referring[child_type, reference, record_id] = []
            texts = [text for record_id in fresh for text in _texts_of(record_id, reference)]
            for child, state in self._connector.find(child_type, reference.fields, texts):
                parent = reference.record_id(state)
                if parent is not None and (child_type, reference, parent) in self._referring:
                    self._referring[child_type, reference, parent].append(child)
        for record_id in records:
            for child in self._referring[child_type, reference, record_id]:
                yield child, record_id

    def _describe(self, object_type: str) -> TypeSchema:
        schema = self._schemas.get(object_type)
        return self._connector.describe(object_type) if schema is None else schema


def _texts_of(record_id: str, reference: Reference) -> Iterable[Values]:
    """How a reference to this id may stand in its fields: ids are text or numbers to the target that holds them."""
    if len(reference.fields) == 1:
        yield (encode(record_id),)
        try:
            number = canonical(record_id.encode())
        except JsonFault:
            return
        if number[:1] not in b'"{[ntf':
            yield (number,)
        return
    try:
        parts = split_list(record_id.encode())
    except JsonFault:
        return
    if len(parts) == len(reference.fields):
        yield tuple(parts)
