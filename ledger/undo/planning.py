"""The plan: what the undo would write, window by window. The same code for a preview and for the real undo."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from datetime import datetime
from hashlib import sha256
from typing import Any

from ledger.connectors.port import Connector, Found, TypeSchema, read_many
from ledger.domain.record import RecordEvent
from ledger.json_text import encode, plain
from ledger.undo.comparing import Comparing
from ledger.undo.constraints import is_bound, keep_constraints
from ledger.undo.gathering import Gathered, Gathering, Take
from ledger.undo.judging import IMPOSSIBLE, NOT_CONFLICTS, Step, judge
from ledger.undo.net_effect import NetEffect, net_effect, runs_apart, state_after
from ledger.undo.request import Policy, Selection
from ledger.undo.result import Applied, UndoResult


class Planner:
    """Plans the undo of a group of runs, each record judged on the target as it is now."""

    def __init__(
        self,
        gathering: Gathering,
        connector: Connector,
        runs: Sequence[str],
        policy: Policy,
        selection: Selection,
        *,
        undo_id: str | None = None,
        since: datetime | None = None,
    ) -> None:
        self._gathering = gathering
        self.connector = connector
        self._runs = frozenset(runs)
        self._policy = policy
        self._selection = selection
        self._undo_id = undo_id
        self._since = since
        self._schemas: dict[str, TypeSchema] = {}
        self._comparings: dict[str, Comparing] = {}
        self._present_ids: dict[tuple[str, str], str] = {}
        self.bound: list[Step] = []
        """Steps that constraints speak of, gathered by `free_windows`: they are judged and ordered together."""

    def free_windows(self, take: Take | None = None) -> Iterator[list[Step]]:
        """The steps of all records but the bound ones, which are kept in `bound`. Those that the undo `undo_id` has
        dealt with before an interruption are left out. `take` is offered the runs' events first, and answers those
        that are left."""
        for records in self._gathering.windows(sorted(self._runs), self._selection, take, since=self._since):
            fresh = [record for record in records if self._undo_id is None or self._undo_id not in record.touched_by]
            free: list[Step] = []
            for step in self._judged(fresh):
                (self.bound if is_bound(step, self.schema(step.object_type)) else free).append(step)
            yield free

    def steps(self) -> Iterator[Step]:
        """All steps of the plan."""
        for steps in self.free_windows():
            yield from steps
        yield from self.settle_bound()

    def settle_bound(self) -> list[Step]:
        """The bound steps with what would violate a constraint withdrawn."""
        if self.bound:
            schemas = {step.object_type: self.schema(step.object_type) for step in self.bound}
            if self._policy == "skip_record":
                self._settle_whole_records(schemas)
            else:
                keep_constraints(self.bound, schemas, self.connector)
        return self.bound

    def _settle_whole_records(self, schemas: dict[str, TypeSchema]) -> None:
        """A field withdrawn takes its record's others with it, which may bring about further violations."""
        while True:
            keep_constraints(self.bound, schemas, self.connector)
            torn = [step for step in self.bound if step.op == "update" and step.has_conflict]
            if not torn:
                return
            for step in torn:
                step.withdraw("record_skipped", sorted(step.values))

    def again(self, steps: Iterable[Step]) -> list[Step]:
        """The same records looked at again, after one of them was found changed."""
        return self._judged(self._gathering.gather(dict(step.origin for step in steps if step.origin is not None)))

    def schema(self, object_type: str) -> TypeSchema:
        if object_type not in self._schemas:
            self._schemas[object_type] = self.connector.describe(object_type)
        return self._schemas[object_type]

    def comparing(self, object_type: str) -> Comparing:
        if object_type not in self._comparings:
            null_is_missing = self.connector.capabilities.null_is_missing
            self._comparings[object_type] = Comparing(self.schema(object_type), null_is_missing=null_is_missing)
        return self._comparings[object_type]

    def result(self) -> UndoResult:
        """The whole plan as a preview answers it, with its digest."""
        result = UndoResult("nothing_to_do", tuple(sorted(self._runs)))
        digest = sha256()
        for free in self.free_windows():
            self._count(result, free, digest)
        self._count(result, self.settle_bound(), digest)
        result.status = status_of(result)
        if self._policy == "abort" and result.facts.get("conflicts"):
            abort(result)
        result.digest = digest.hexdigest()
        return result

    def _count(self, result: UndoResult, steps: Sequence[Step], digest: Any) -> None:
        for step in steps:
            tell(result, step)
            digest.update(_fingerprint(step))

    def _judged(self, records: Sequence[Gathered]) -> list[Step]:
        found = self._found(records)
        return [self._judge(record, found.get((record.object_type, record.record_id))) for record in records]

    def _judge(self, record: Gathered, found: Found | None) -> Step:
        comparing = self.comparing(record.object_type)
        own = [event for event in record.events if event.run_id in self._runs and self._is_selected(event)]
        nets = [
            net
            for events in reversed(list(runs_apart(own)))
            if (net := net_effect(events, record.erasure, comparing.same)) is not None
        ]
        if not self.connector.capabilities.keeps_ids and comparing.schema.references:
            nets = [self._with_present_ids(net, comparing.schema) for net in nets]
        newest = record.events[-1]
        step = Step(
            record.object_type,
            record.record_id,
            None if found is None else found.fields,
            old_id=record.old_id,
            position=record.position,
            stream=record.stream,
            origin=record.origin,
            label=newest.label,
            link=newest.link,
        )
        return judge(
            step,
            nets,
            found=found,
            comparing=comparing,
            policy=self._policy,
            selection=self._selection,
            author_of=lambda name, now: record.author(name, now, self._runs),
        )

    def _is_selected(self, event: RecordEvent) -> bool:
        """Whether the request asks for this change: late enough for a restoring, left in an edited report."""
        is_late = self._since is None or event.occurred_at is None or event.occurred_at > self._since
        return is_late and self._selection.takes_change(event.run_id, event.object_type, event.record_id or "")

    def _found(self, records: Sequence[Gathered]) -> dict[tuple[str, str], Found]:
        """The records as they are now. Where the ledger is the book of record, its events tell already, as far as the
        runs' fields go; only constraints want whole records."""
        found: dict[tuple[str, str], Found] = {}
        to_read: dict[str, list[str]] = defaultdict(list)
        for record in records:
            if self.connector.capabilities.reads_events and not self.schema(record.object_type).has_constraints:
                state = state_after(record.events)
                if state is not None:
                    found[record.object_type, record.record_id] = Found(state)
            else:
                to_read[record.object_type].append(record.record_id)
        for object_type, ids in to_read.items():
            for record_id, there in read_many(self.connector, object_type, ids).items():
                found[object_type, record_id] = there
        return found

    def _with_present_ids(self, net: NetEffect, schema: TypeSchema) -> NetEffect:
        """The net effect with references to records that have new ids by now pointing to these."""
        before, after = dict(net.before), dict(net.after)
        for reference in schema.references:
            if len(reference.fields) == 1:
                name = reference.fields[0]
                for values in (before, after):
                    value = values.get(name)
                    if isinstance(value, bytes) and value != b"null":
                        values[name] = self._present(reference.object_type, value)
        return replace(net, before=before, after=after)

    def _present(self, object_type: str, value: bytes) -> bytes:
        key = object_type, plain(value)
        if key not in self._present_ids:
            self._present_ids[key] = self._gathering.present_id(*key)
        return value if self._present_ids[key] == key[1] else encode(self._present_ids[key])


def tell(result: UndoResult, step: Step) -> None:
    """Adds what a step does, or would do, to a result."""
    if step.op is not None:
        result.records_to_write += 1
        fields = {} if step.op == "delete" else step.values
        result.applied.add(Applied(step.op, step.object_type, step.record_id, fields, step.old_id))
    tell_items(result, step)


def tell_items(result: UndoResult, step: Step) -> None:
    """Adds a step's verdicts other than its write to a result."""
    for item in step.skipped:
        result.skipped.add(item)
        if item.reason in IMPOSSIBLE:
            result.fields_impossible += 1
        else:
            result.fields_kept += 1
        if item.reason not in NOT_CONFLICTS:
            result.facts = {**result.facts, "conflicts": True}
    for item in step.noop:
        result.noop.add(item)


def status_of(result: UndoResult) -> Any:
    """UNDO.md, "Requests": the status that the counts make."""
    left = result.skipped.count + result.failed.count
    if result.applied.count:
        return "partial" if left else "completed"
    return "nothing_applied" if left else "nothing_to_do"


def abort(result: UndoResult) -> None:
    """Turns a plan with conflicts into an undo that writes nothing."""
    result.status = "aborted"
    result.applied.items.clear()
    result.applied.count = result.records_to_write = 0


def _fingerprint(step: Step) -> bytes:
    """What a plan's digest covers of one record: its newest event, the values read and what would be written."""
    current = {} if step.current is None else {name: text.decode() for name, text in step.current.items()}
    values = {name: None if text is None else text.decode() for name, text in step.values.items()}
    items = [[item.field, item.reason] for item in step.skipped]
    return encode(
        [
            *step.key,
            step.op,
            step.position,
            step.current is None,
            sorted(current.items()),
            sorted(values.items()),
            items,
        ]
    )
