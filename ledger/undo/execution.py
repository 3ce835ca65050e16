"""Carrying out: per batch intent, connector writes, outcome events, in this order. The order is the point: whatever
moment the process or the target dies at, the intent tells what was under way and the target tells how far it came.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple
from uuid import UUID

from ledger.connectors.port import Connector, Found, Outcome, Reference, Write, read_many
from ledger.domain.run import Run
from ledger.domain.tally import tally_of
from ledger.errors import StreamMoved
from ledger.json_text import encode
from ledger.store.event_store import AccountStore
from ledger.undo.intents import encode_intent
from ledger.undo.judging import Step
from ledger.undo.ordering import OrderedWrite, order_writes
from ledger.undo.outcomes import Done, events_of, proven_fields, tell_done
from ledger.undo.planning import Planner
from ledger.undo.result import Item, UndoResult
from ledger.undo.reversing import Reverser

TRIES_MAX = 5
"""How often a record that changes under our hands is looked at again."""
WAIT_S = 1.0
"""Wait after "too many requests" without a Retry-After; doubled each time up to WAIT_MAX_S."""
WAIT_MAX_S = 60.0

Sleep = Callable[[float], None]


class Cancelled(Exception):
    """The undo was cancelled between two batches."""


class Progress(NamedTuple):
    """How far an undo is: records dealt with, of at most `total` changes."""

    records: int
    total: int


class Execution:
    """Carries out one undo. `run` is the undo's own."""

    def __init__(
        self,
        store: AccountStore,
        run: Run,
        planner: Planner,
        result: UndoResult,
        *,
        clock: Callable[[], datetime],
        sleep: Sleep,
        check: Callable[[int], None],
        reverser: Reverser | None = None,
    ) -> None:
        self._store, self._run, self._planner, self._result = store, run, planner, result
        self._connector: Connector = planner.connector
        self._clock, self._sleep, self._check = clock, sleep, check
        self._reverser = reverser
        self._new_ids: dict[tuple[str, str], str] = {}
        self.unsettled: set[str] = set()
        self._actor = run.operation.user.shown if run.operation.user else None

    def carry_out(self) -> None:
        """All steps of the plan: the free ones window by window, then the bound ones in their order."""
        for steps in self._planner.free_windows(take=self._reverser.take if self._reverser else None):
            self._carry_out_free(steps)
            self._check(self._run.accepted)
        self.unsettled |= self._reverser.unsettled if self._reverser else set()
        bound = self._planner.settle_bound()
        active = [step for step in bound if step.op is not None]
        self._record([Done(step) for step in bound if step.op is None])
        if active:
            self._check(self._run.accepted)
            schemas = {step.object_type: self._planner.schema(step.object_type) for step in active}
            comparings = {object_type: self._planner.comparing(object_type) for object_type in schemas}
            keeps_ids = self._connector.capabilities.keeps_ids
            self._batch(order_writes(active, schemas, comparings, keeps_ids=keeps_ids))

    def resume(self, layers: Sequence[Sequence[OrderedWrite]]) -> None:
        """Goes on with a batch whose intent was recorded and whose outcome was not."""
        self._finish_batch(layers, is_repeat=True)

    def _carry_out_free(self, steps: Sequence[Step], tries: int = TRIES_MAX) -> None:
        idle = [step for step in steps if step.op is None]
        active = [step for step in steps if step.op is not None]
        if self._connector.capabilities.reads_events:
            self._append_to_ledger(steps, tries)
            return
        self._record([Done(step) for step in idle])
        if active:
            layer = [
                OrderedWrite(step, step.write(self._planner.comparing(step.object_type)), True) for step in active
            ]  # fmt: skip
            moved = self._batch([layer], may_look_again=tries > 0)
            if moved:
                self._carry_out_free(self._planner.again(moved), tries - 1)

    def _append_to_ledger(self, steps: Sequence[Step], tries: int) -> None:
        """The ledger's own records: the outcome events are the write, under the condition that nothing moved."""
        if not steps:
            return
        unmoved = {step.stream: step.position for step in steps if step.op is not None and step.stream is not None}
        done = [Done(step, step.op is not None, proven=max(1, len(step.values)) if step.op else 0) for step in steps]
        try:
            self._record(done, unmoved=unmoved)
        except StreamMoved:
            if tries == 0:
                raise
            self._carry_out_free(self._planner.again(steps), tries - 1)

    def _batch(self, layers: list[list[OrderedWrite]], *, may_look_again: bool = False) -> list[Step]:
        """One batch from intent to outcome events. Returns steps to look at again: they were found changed."""
        if self._connector.capabilities.reads_events:
            last = {id(w.step): w.step for layer in layers for w in layer}
            self._append_to_ledger(list(last.values()), 0)
            return []
        self._run.intend(encode_intent(layers), self._clock())
        self._store.save(self._run)
        return self._finish_batch(layers, is_repeat=False, may_look_again=may_look_again)

    def _finish_batch(
        self, layers: Sequence[Sequence[OrderedWrite]], *, is_repeat: bool, may_look_again: bool = False
    ) -> list[Step]:
        fates: dict[int, Outcome] = {}
        """By identity of the OrderedWrite."""
        done: dict[int, Done] = {}
        for layer in layers:
            for ordered in layer:
                done.setdefault(id(ordered.step), Done(ordered.step))
            if is_repeat:
                self._look_what_arrived(layer, layers, fates)
            self._write_layer([ordered for ordered in layer if id(ordered) not in fates], fates, done)
        moved = self._judge_fates(layers, fates, done, may_look_again=may_look_again)
        again = {id(step) for step in moved}
        kept = [one for one in done.values() if id(one.step) not in again]
        self._prove([one for one in kept if one.is_applied])
        self._record(kept)
        return moved

    def _write_layer(self, layer: Sequence[OrderedWrite], fates: dict[int, Outcome], done: dict[int, Done]) -> None:
        """Writes that do not depend on each other, until each has its outcome. What the target throttles waits."""
        pending = [ordered for ordered in layer if not self._is_hopeless(ordered, fates)]
        wait_s = WAIT_S
        size = self._connector.capabilities.write_records_max
        while pending:
            throttled: list[OrderedWrite] = []
            retry_after_s: float | None = None
            for start in range(0, len(pending), size):
                chunk = pending[start : start + size]
                writes = [self._with_new_ids(ordered.write) for ordered in chunk]
                for ordered, write, outcome in zip(
                    chunk, writes, self._connector.write(writes, self._run.run_id), strict=True
                ):
                    if outcome.status == "throttled":
                        throttled.append(ordered)
                        retry_after_s = outcome.retry_after_s if retry_after_s is None else retry_after_s
                    else:
                        fates[id(ordered)] = self._settled(write, outcome)
                        self._note_new_id(ordered, outcome, done)
            if throttled:
                self._sleep(wait_s if retry_after_s is None else retry_after_s)
                wait_s = min(WAIT_MAX_S, wait_s * 2)
            pending = throttled

    def _settled(self, write: Write, outcome: Outcome) -> Outcome:
        """An outcome that the target did not tell is read from the target itself."""
        if outcome.status != "unknown":
            return outcome
        if write.op == "create" and not self._connector.capabilities.keeps_ids:
            new_id = self._connector.find_created(write, self._run.run_id)
            return Outcome("rejected", message=outcome.message) if new_id is None else Outcome("applied", new_id)
        found = self._connector.read(write.object_type, [write.record_id]).get(write.record_id)
        holds = self._holds(write, found)
        return Outcome("applied") if holds else Outcome("rejected", message=outcome.message or "No answer.")

    def _is_hopeless(self, ordered: OrderedWrite, fates: dict[int, Outcome]) -> bool:
        """Whether a write that this one needs was not done; then the step is left alone, for the need's reason."""
        for need, reason in ordered.needs:
            fate = fates.get(id(need))
            if fate is None or fate.status not in ("applied", "already"):
                fates[id(ordered)] = Outcome("missing")
                if reason:
                    ordered.step.withdraw(reason)
                    ordered.step.op = None
                return True
        return False

    def _note_new_id(self, ordered: OrderedWrite, outcome: Outcome, done: dict[int, Done]) -> None:
        if ordered.write.op == "create" and outcome.new_id not in (None, ordered.write.record_id):
            assert outcome.new_id is not None
            done[id(ordered.step)].new_id = outcome.new_id
            self._new_ids[ordered.step.key] = outcome.new_id

    def _with_new_ids(self, write: Write) -> Write:
        """The write with records that this undo created under new ids called by these, in references too."""
        if not self._new_ids:
            return write
        record_id = self._new_ids.get((write.object_type, write.record_id), write.record_id)
        if write.op == "create":
            record_id = write.record_id
        values = dict(write.values)
        for reference in self._planner.schema(write.object_type).references:
            self._point_to_new(reference, values)
        return Write(write.op, write.object_type, record_id, values, write.expected)

    def _point_to_new(self, reference: Reference, values: dict[str, bytes | None]) -> None:
        old = reference.record_id(values) if values.keys() >= set(reference.fields) else None
        new = None if old is None else self._new_ids.get((reference.object_type, old))
        if new is not None and len(reference.fields) == 1:
            values[reference.fields[0]] = encode(new)

    def _look_what_arrived(
        self, layer: Sequence[OrderedWrite], layers: Sequence[Sequence[OrderedWrite]], fates: dict[int, Outcome]
    ) -> None:
        """After an interruption: which writes of a layer the target holds already. The rest is written as it was
        intended; its expected values make a change in between a conflict."""
        found = self._read([ordered.write for ordered in layer])
        later: dict[int, list[OrderedWrite]] = defaultdict(list)
        for ordered in (ordered for some in layers for ordered in some):
            later[id(ordered.step)].append(ordered)
        for ordered in layer:
            write = ordered.write
            if write.op == "create" and not self._connector.capabilities.keeps_ids:
                new_id = self._connector.find_created(write, self._run.run_id)
                if new_id is not None:
                    fates[id(ordered)] = Outcome("applied", new_id)
                    self._new_ids[ordered.step.key] = new_id
                continue
            phases = later[id(ordered.step)]
            now = found.get((write.object_type, write.record_id))
            if any(self._holds(phase.write, now) for phase in phases[phases.index(ordered) :]):
                fates[id(ordered)] = Outcome("applied")
            elif write.op == "delete" and now is not None and now.merged_into is None:
                intended = {**(ordered.step.current or {}), **write.expected}
                is_changed = self._planner.comparing(write.object_type).differing(now.fields, intended)
                if is_changed:
                    fates[id(ordered)] = Outcome("conflict", seen=now.fields)

    def _holds(self, write: Write, now: Found | None) -> bool:
        """Whether the target holds what a write was to bring about."""
        if write.op == "delete":
            return now is None
        if now is None or now.merged_into is not None:
            return False
        comparing = self._planner.comparing(write.object_type)
        return all(comparing.same(name, now.fields.get(name), text) for name, text in write.values.items())

    def _read(self, writes: Iterable[Write]) -> dict[tuple[str, str], Found]:
        by_type: dict[str, list[str]] = defaultdict(list)
        for write in writes:
            by_type[write.object_type].append(
                self._new_ids.get((write.object_type, write.record_id), write.record_id)
            )  # fmt: skip
        found: dict[tuple[str, str], Found] = {}
        for object_type, ids in by_type.items():
            there = read_many(self._connector, object_type, ids)
            found.update({(object_type, record_id): record for record_id, record in there.items()})
        return found

    def _judge_fates(
        self,
        layers: Sequence[Sequence[OrderedWrite]],
        fates: dict[int, Outcome],
        done: dict[int, Done],
        *,
        may_look_again: bool,
    ) -> list[Step]:
        moved: list[Step] = []
        for ordered in (ordered for layer in layers for ordered in layer):
            one, fate = done[id(ordered.step)], fates[id(ordered)]
            if fate.new_id is not None and fate.new_id != ordered.step.record_id:
                one.new_id = fate.new_id
            if fate.status in ("applied", "already"):
                one.is_applied = ordered.step.op is not None and (one.is_applied or not one.failed)
            elif fate.status == "rejected":
                one.is_applied = False
                one.message = fate.message
                one.failed = [Item(*ordered.step.key, None, "rejected", fate.message)]
                ordered.step.unsettle()
            elif ordered.step.op is not None:
                one.is_applied = False
                if may_look_again and ordered.step.origin is not None:
                    moved.append(ordered.step)
                else:
                    self._leave(ordered, fate)
        return moved

    def _leave(self, ordered: OrderedWrite, fate: Outcome) -> None:
        """A step whose record was changed between our look and our write."""
        step = ordered.step
        if fate.status in ("missing", "merged"):
            step.withdraw(f"record_{fate.status}")
            return
        reason = "already_exists" if step.op == "create" else "modified_since"
        if step.op != "update":
            step.withdraw(reason)
            return
        comparing = self._planner.comparing(step.object_type)
        seen = fate.seen
        names = sorted(step.values)
        changed = [
            name for name in names
            if seen is None or not comparing.same(name, seen.get(name), ordered.write.expected.get(name))
        ]  # fmt: skip
        step.withdraw(reason, changed or names)
        step.withdraw("record_skipped", sorted(step.values))
        step.op = None

    def _prove(self, applied: Sequence[Done]) -> None:
        """Reads back what was written: the target's word is not taken for it."""
        writes = [Write("update", one.step.object_type, one.new_id or one.step.record_id) for one in applied]
        found = self._read(writes)
        for one, write in zip(applied, writes, strict=True):
            comparing = self._planner.comparing(one.step.object_type)
            there = found.get((write.object_type, write.record_id))
            now = None if there is None or there.merged_into is not None else there.fields
            if self._new_ids and one.step.op != "delete":
                one.step.values = self._with_new_ids(
                    Write("update", one.step.object_type, write.record_id, one.step.values)
                ).values
            proven_fields(one, now, comparing)

    def _record(self, done: Sequence[Done], *, unmoved: Mapping[UUID, int] | None = None) -> None:
        """The outcome events of a batch and the event that counts them: one transaction."""
        if not done:
            return
        events = events_of(
            self._store.account_id, self._run.run_id, done, offset=self._run.accepted, actor=self._actor
        )  # fmt: skip
        counted: Counter[tuple[str, str]] = Counter()
        for event in events:
            counted[
                _ACTIONS.get(event.topic, "update"), "failed" if event.topic == "record-failed" else "succeeded"
            ] += 1
        now = self._clock()
        version = self._run.version
        tally = self._run.tally
        self._run.record_changes(self._run.accepted, tally_of(counted), now)
        try:
            appended = self._store.save(self._run, events, unmoved=unmoved)
        except StreamMoved:
            self._run.step_back(version, tally)
            raise
        self._result.position = appended.last
        if self._reverser is not None:
            self._reverser.note(appended)
        for one in done:
            tell_done(self._result, one)
            self.unsettled |= one.step.unsettled


_ACTIONS = {"record-created": "create", "record-deleted": "delete", "record-unmodified": "none"}
