"""An order of writes that a target takes which checks constraints write by write. UNDO.md, "Verdicts". Pure.

Parents before children, children's deletion before their parents', unique values freed before they are taken. Where
that goes in a circle, a record is written in two phases: first without the fields in question (null, or a passing value
where null is not taken), then whole.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ledger.connectors.port import TypeSchema, Values, Write
from ledger.json_text import encode
from ledger.undo.comparing import NULL, Comparing
from ledger.undo.constraints import values_of
from ledger.undo.judging import Step


class Need(NamedTuple):
    """`later` must wait for `earlier`; the fields by which each takes part (None: by being created or deleted).

    `reason` is the verdict on `later` when `earlier` is not done.
    """

    earlier: int
    earlier_fields: tuple[str, ...] | None
    later: int
    later_fields: tuple[str, ...] | None
    reason: str


@dataclass(slots=True)
class OrderedWrite:
    """A write in its place. `is_last`: the step is whole after it."""

    step: Step
    write: Write
    is_last: bool
    needs: list[tuple[OrderedWrite, str]] = field(default_factory=list)
    """Writes that must have been done, each with the verdict on this step if not."""


def order_writes(
    steps: Sequence[Step],
    schemas: Mapping[str, TypeSchema],
    comparings: Mapping[str, Comparing],
    *,
    keeps_ids: bool = True,
) -> list[list[OrderedWrite]]:
    """The writes of `steps` in layers: what stands in one layer does not depend on each other.

    A target that does not keep ids takes a new record's reference to itself only once it has told the new id.
    """
    needs = list(_needs(steps, schemas))
    split: dict[int, frozenset[str]] = {} if keeps_ids else dict(_to_themselves(steps, schemas))
    while True:
        nodes, edges = _graph(steps, needs, split)
        layers, rest = _layers(nodes, edges)
        if not rest:
            break
        chosen = _splits(steps, schemas, needs, split, {number for number, _ in rest})
        if not chosen:  # no way around: the target itself must tell
            layers.append(sorted(rest))
            break
        for number, aside in chosen.items():
            split[number] = split.get(number, frozenset()) | aside
    return _writes(steps, schemas, comparings, layers, edges, split)


def _needs(steps: Sequence[Step], schemas: Mapping[str, TypeSchema]) -> Iterable[Need]:
    number_of = {step.key: number for number, step in enumerate(steps)}
    yield from _reference_needs(steps, schemas, number_of)
    yield from _unique_needs(steps, schemas)


def _reference_needs(
    steps: Sequence[Step], schemas: Mapping[str, TypeSchema], number_of: Mapping[tuple[str, str], int]
) -> Iterable[Need]:
    for number, step in enumerate(steps):
        end = step.end_state()
        for reference in schemas[step.object_type].references:
            old = reference.record_id(step.current or {})
            new = None if end is None else reference.record_id(end)
            if old == new:
                continue
            for parent_id, is_taken in ((new, True), (old, False)):
                parent = None if parent_id is None else number_of.get((reference.object_type, parent_id))
                if parent is None or parent == number:
                    continue
                if is_taken and steps[parent].op == "create":
                    yield Need(parent, None, number, reference.fields, "missing_reference")
                elif not is_taken and steps[parent].op == "delete":
                    yield Need(number, reference.fields, parent, None, "still_referenced")


def _unique_needs(steps: Sequence[Step], schemas: Mapping[str, TypeSchema]) -> Iterable[Need]:
    for object_type, schema in schemas.items():
        for group in schema.unique:
            freed: dict[tuple[bytes, ...], int] = {}
            taken: list[tuple[tuple[bytes, ...], int]] = []
            for number, step in enumerate(steps):
                if step.object_type != object_type:
                    continue
                old, new = values_of(step.current or {}, group), values_of(step.end_state() or {}, group)
                if old != new:
                    if old is not None:
                        freed[old] = number
                    if new is not None:
                        taken.append((new, number))
            for values, taker in taken:
                holder = freed.get(values)
                if holder is not None and holder != taker:
                    yield Need(holder, group, taker, group, "unique_violation")


def _to_themselves(steps: Sequence[Step], schemas: Mapping[str, TypeSchema]) -> Iterable[tuple[int, frozenset[str]]]:
    for number, step in enumerate(steps):
        for reference in schemas[step.object_type].references:
            if step.op == "create" and (reference.object_type, reference.record_id(step.values)) == step.key:
                yield number, frozenset(reference.fields)


Node = tuple[int, int]
"""(number of the step, phase 1 or 2). A step that is not split has phase 2 alone."""


def _graph(
    steps: Sequence[Step], needs: Sequence[Need], split: Mapping[int, frozenset[str]]
) -> tuple[list[Node], dict[tuple[Node, Node], str]]:
    nodes = [(number, phase) for number in range(len(steps)) for phase in ((1, 2) if number in split else (2,))]
    edges: dict[tuple[Node, Node], str] = {((number, 1), (number, 2)): "" for number in split}
    for need in needs:
        earlier = (need.earlier, _phase(steps, split, need.earlier, need.earlier_fields, is_earlier=True))
        later = (need.later, _phase(steps, split, need.later, need.later_fields, is_earlier=False))
        edges[earlier, later] = need.reason
    return nodes, edges


def _phase(
    steps: Sequence[Step],
    split: Mapping[int, frozenset[str]],
    number: int,
    fields: tuple[str, ...] | None,
    *,
    is_earlier: bool,
) -> int:
    """In which phase a split step does its part: fields set aside are freed in the first and taken in the second."""
    aside = split.get(number)
    if aside is None:
        return 2
    if fields is None or aside.isdisjoint(fields):
        return 1 if steps[number].op == "create" else 2
    return 1 if is_earlier else 2


def _layers(nodes: Sequence[Node], edges: Mapping[tuple[Node, Node], str]) -> tuple[list[list[Node]], set[Node]]:
    """Topological layers, and what is left in circles or behind them."""
    waiting: dict[Node, int] = dict.fromkeys(nodes, 0)
    followers: dict[Node, list[Node]] = defaultdict(list)
    for earlier, later in edges:
        waiting[later] += 1
        followers[earlier].append(later)
    layers: list[list[Node]] = []
    ready = [node for node in nodes if not waiting[node]]
    left = set(nodes)
    while ready:
        layers.append(ready)
        left.difference_update(ready)
        following: list[Node] = []
        for node in ready:
            for later in followers[node]:
                waiting[later] -= 1
                if not waiting[later]:
                    following.append(later)
        ready = following
    return layers, left


def _splits(
    steps: Sequence[Step],
    schemas: Mapping[str, TypeSchema],
    needs: Sequence[Need],
    split: Mapping[int, frozenset[str]],
    left: set[int],
) -> dict[int, frozenset[str]]:
    """For each circle one step, and fields to set aside in its first phase. Empty: there is no way around."""
    chosen: dict[int, frozenset[str]] = {}
    for circle in _circles(needs, left, split):
        choice = _split_of(circle, steps, schemas, split)
        if choice is not None:
            chosen[choice[0]] = choice[1]
    return chosen


def _split_of(
    circle: Sequence[Need],
    steps: Sequence[Step],
    schemas: Mapping[str, TypeSchema],
    split: Mapping[int, frozenset[str]],
) -> tuple[int, frozenset[str]] | None:
    """Rather fields that can be null than a passing value."""
    fallback: tuple[int, frozenset[str]] | None = None
    for need in circle:
        for number, names in ((need.later, need.later_fields), (need.earlier, need.earlier_fields)):
            aside = frozenset(names or ())
            step, required = steps[number], schemas[steps[number].object_type].required
            if not aside or aside <= split.get(number, frozenset()):
                continue
            if step.op == "update" and aside.isdisjoint(step.values):
                continue
            is_unique = need.reason == "unique_violation"
            nullable = sorted(aside - required)
            if nullable:
                return number, frozenset(nullable[:1] if is_unique else nullable)
            if is_unique and step.op != "delete":
                fallback = fallback or (number, frozenset(sorted(aside)[:1]))
    return fallback


def _circles(needs: Sequence[Need], left: set[int], split: Mapping[int, frozenset[str]]) -> Iterable[list[Need]]:
    """Circles among the steps that are left, no two of which share a step."""
    outgoing: dict[int, list[Need]] = defaultdict(list)
    for need in needs:
        if need.earlier in left and need.later in left:
            outgoing[need.earlier].append(need)
    finished: set[int] = set()
    for start in sorted(left):
        path: list[Need] = []
        at: dict[int, int] = {}
        here = start
        while here not in finished:
            at[here] = len(path)
            onward = [need for need in outgoing[here] if need.later not in finished]
            if not onward:  # a dead end: what only hangs on circles, or is done
                finished.add(here)
                del at[here]
                if not path:
                    break
                here = path.pop().earlier
                continue
            need = next((need for need in onward if need.later not in split), onward[0])
            if need.later in at:
                circle = [*path[at[need.later] :], need]
                finished.update(at)
                yield circle
                break
            path.append(need)
            here = need.later


def _writes(
    steps: Sequence[Step],
    schemas: Mapping[str, TypeSchema],
    comparings: Mapping[str, Comparing],
    layers: Sequence[Sequence[Node]],
    edges: Mapping[tuple[Node, Node], str],
    split: Mapping[int, frozenset[str]],
) -> list[list[OrderedWrite]]:
    made: dict[Node, OrderedWrite] = {}
    for node in (node for layer in layers for node in layer):
        step = steps[node[0]]
        whole = step.write(comparings[step.object_type])
        aside = split.get(node[0])
        if aside is None:
            made[node] = OrderedWrite(step, whole, True)
            continue
        passing = _passing_values(step, aside, schemas[step.object_type])
        first, second = _two_phases(step, whole, passing)
        made[node] = OrderedWrite(step, first, False) if node[1] == 1 else OrderedWrite(step, second, True)
    for (earlier, later), reason in edges.items():
        made[later].needs.append((made[earlier], reason))
    return [[made[node] for node in layer] for layer in layers]


def _passing_values(step: Step, aside: frozenset[str], schema: TypeSchema) -> Values:
    """What stands in the fields set aside between the phases: null, else a value that nothing else has."""
    return {
        name: encode(f"~{step.record_id}~") if name in schema.required else NULL
        for name in aside
    }  # fmt: skip


def _two_phases(step: Step, whole: Write, passing: Values) -> tuple[Write, Write]:
    current = step.current or {}
    if step.op == "create":
        first = Write("create", step.object_type, step.record_id, {**whole.values, **passing})
        values = {name: whole.values.get(name) for name in passing}
        return first, Write("update", step.object_type, step.record_id, values, dict(passing))
    expected = {name: current.get(name) for name in passing}
    first = Write("update", step.object_type, step.record_id, dict(passing), expected)
    return first, Write(
        step.op or "update", step.object_type, step.record_id, whole.values, {**whole.expected, **passing}
    )
