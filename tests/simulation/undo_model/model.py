"""The model of undoing: plays a scenario (docs/conformance.md) on plain values and tells what every undo should answer.

Written from the rules alone. It shares no code with the product and is slow on purpose: everything is computed anew
from the whole history, nothing is kept that could be derived.
"""

from __future__ import annotations

import copy
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.undo_model.constraints import Writes, take_back, withdraw, writes_between
from tests.simulation.undo_model.judging import CONFLICTS, Verdicts, judge
from tests.simulation.undo_model.runs import Net, Piece, Run, erase, net_effect
from tests.simulation.undo_model.target import Key, Target

Item = tuple[Key, str | None, str]
"""(record, field or None, reason)."""


@dataclass
class Answer:
    """What an undo answers; in the words of a scenario's `expect`."""

    status: str
    reason: str | None = None
    applied: dict[Key, tuple[str, dict[str, Any], str | None]] = field(default_factory=dict)
    """By the id that the record has afterwards: op, fields, and the old id of a record created under a new one."""
    skipped: set[Item] = field(default_factory=set)
    noop: set[Item] = field(default_factory=set)
    failed: set[Item] = field(default_factory=set)
    cascaded_runs: set[str] = field(default_factory=set)


class Model:
    """The ledger and the target system of one scenario."""

    def __init__(self, scenario: dict[str, Any]) -> None:
        self.target = Target(scenario.get("initial", []), scenario.get("schema", {}))
        self.runs: list[Run] = []
        self.undone: dict[str, str] = {}
        """The runs that are undone, and the undo that left nothing of each to do."""
        self._redone: dict[str, dict[str, str]] = {}
        """By the undo of an undo: the entries that it took out of `undone`."""
        self._answers: dict[str, Answer] = {}
        """By idempotency key; and by undo_id, for what a resumed undo answers in the end."""

    def play(self, step: dict[str, Any]) -> Answer | None:
        """Do one step; the answer of an undo."""
        kind = step["step"]
        if kind == "run":
            self._run(step)
        elif kind == "external":
            for change in step["changes"]:
                self.target.change(change)
        elif kind == "schema":
            self.target.schema_change(step)
        elif kind == "erase":
            self._erase(step)
        elif kind == "resume":
            return self._answers[step["undo_id"]]
        else:
            return self._undo(step)
        return None

    def named(self, run_id: str) -> list[Run]:
        """The run; of a recipe the runs that are not undone yet, or all where all are."""
        runs = [run for run in self.runs if run.run_id == run_id]
        children = [run for run in self.runs if run.recipe_run_id == run_id and not run.is_preview]
        return runs or [run for run in children if run.run_id not in self.undone] or children

    def note(self, undo: Run, group: list[Run], whole: set[str]) -> None:
        """Record an undo: `whole` are those of its group of which nothing is left to undo."""
        self.runs.append(undo)
        self.undone |= dict.fromkeys(whole, undo.run_id)
        for run in group if undo.has_written else ():
            taken_out = {each: run.run_id for each in run.undoes if self.undone.get(each) == run.run_id}
            self._redone[undo.run_id] = {**self._redone.get(undo.run_id, {}), **taken_out}
            self.undone = {each: by for each, by in self.undone.items() if each not in taken_out}
            if run.run_id in whole:
                ids = {each.run_id for each in group}
                again = {each: by for each, by in self._redone.get(run.run_id, {}).items() if each not in ids}
                self.undone = {**again, **self.undone}

    def _run(self, step: dict[str, Any]) -> None:
        changes = copy.deepcopy(step["changes"])
        is_preview = step.get("mode") == "preview"
        run = Run(step["run_id"], len(self.runs), changes, step.get("recipe_run_id"), is_preview)
        run.is_expired = step.get("before_states_expired", False)
        self.runs.append(run)
        for change in [] if is_preview else changes:
            if change.get("result", "succeeded") == "succeeded":
                self.target.change(change)

    def _erase(self, step: dict[str, Any]) -> None:
        key = (step["object_type"], step["id"])
        for run in self.runs:
            erase(run, key, step["fields"], self.target)
        record = self.target.records.get(key, {})
        for name in step["fields"]:
            record.pop(name, None)

    def _undo(self, step: dict[str, Any]) -> Answer:
        key = step.get("idempotency_key")
        if key is not None and key in self._answers:
            return self._answers[key]
        reason = self._refusal(step["runs"])
        answer = Answer("rejected", reason) if reason else Undoing(self, step).carry_out()
        if reason is None:
            self._answers[step["undo_id"] if key is None else key] = answer
        return answer

    def _refusal(self, run_ids: list[str]) -> str | None:
        recipes = {run.recipe_run_id for run in self.runs}
        if not all(run_id in recipes or self.named(run_id) for run_id in run_ids):
            return "unknown_run"
        runs = [run for run_id in run_ids for run in self.named(run_id)]
        if any(run.is_preview for run in runs):
            return "preview_run"
        if any(run.is_expired for run in runs):
            return "before_states_expired"
        return "already_undone" if any(run.run_id in self.undone for run in runs) else None


class Undoing:
    """One undo of some runs as one."""

    def __init__(self, model: Model, step: dict[str, Any]) -> None:
        self._model = model
        self._step = step
        self._target = model.target
        self._virtual = model.target.copied()
        self._names = None if step.get("fields") is None else frozenset(step["fields"])
        named = {run.run_id: run for run_id in step["runs"] for run in model.named(run_id)}
        self._cascaded = self._later_runs(list(named.values())) if step.get("policy") == "cascade" else []
        self._group = sorted([*named.values(), *self._cascaded], key=lambda run: -run.index)
        self._verdicts: list[tuple[Run, Net, Verdicts]] = []
        self._needed: dict[str, set[Piece]] = {}
        """By run: what must be written if it is to be undone."""
        self._withdrawn: set[Piece] = set()
        """What the verdicts had written, and a policy or a constraint took back."""

    def carry_out(self) -> Answer:
        policy, written = self._step.get("policy", "skip"), set[Piece]()
        for run in self._group:
            for net in self._selected(net_effect(run, self._target)):
                verdicts = judge(net, self._virtual, self._target, forced=policy == "force", names=self._names)
                self._needed.setdefault(run.run_id, set()).update(verdicts.written | verdicts.relying_on(written))
                written |= verdicts.written
                self._verdicts.append((run, net, verdicts))
        planned = writes_between(self._target, self._virtual)
        skipped = {(piece, reason) for _, _, each in self._verdicts for piece, reason in each.skipped.items()}
        if policy == "skip_record":
            skipped |= self._leave_records({piece[0] for piece, reason in skipped if reason in CONFLICTS})
        withdrawn = withdraw(self._target, self._virtual, whole_records=policy == "skip_record")
        skipped |= set(withdrawn.items())
        self._withdrawn |= self._written_with(withdrawn)
        is_aborted = policy == "abort" and any(reason in CONFLICTS for _, reason in skipped)
        answer = Answer("", skipped={(*piece, reason) for piece, reason in skipped})
        answer.noop = self._noops({piece for piece, _ in skipped}, planned)
        return self._finish(answer, is_aborted=is_aborted)

    def _noops(self, skipped: set[Piece], planned: Writes) -> set[Item]:
        """What is as before already, and would be without what the undo writes."""
        return {
            (*piece, reason)
            for _, _, verdicts in self._verdicts
            for piece, reason in verdicts.noop.items()
            if piece not in skipped and not self._is_written(piece, planned)
        }

    # What is undone.

    def _later_runs(self, named: list[Run]) -> list[Run]:
        """The runs that wrote what one of these, or a run found so, had written before; transitively."""
        found: list[Run] = []
        group = list(named)
        while added := [run for run in self._model.runs if run not in group and self._comes_after(run, group)]:
            found += added
            group += added
        return found

    def _comes_after(self, run: Run, group: list[Run]) -> bool:
        keys = set() if run.is_expired else self._written_keys(run)
        return any(run.index > earlier.index and keys & self._written_keys(earlier) for earlier in group)

    def _written_keys(self, run: Run) -> set[Key]:
        """The selected records that the run wrote, whatever came of it all in all; a field filter is no matter here."""
        changes = [] if run.is_preview else [each for each in run.changes if each["result"] == "succeeded"]
        keys = {(each["object_type"], each["id"]) for each in changes}
        return {self._target.resolve(key) for key in keys if self._takes_record(key)}

    def _takes_record(self, key: Key) -> bool:
        records, types = self._step.get("records"), self._step.get("object_types")
        resolved = self._target.resolve(key)
        return (types is None or key[0] in types) and (
            records is None or any(self._target.resolve((each[0], each[1])) == resolved for each in records)
        )

    def _selected(self, nets: list[Net]) -> list[Net]:
        return [
            net
            for net in nets
            if self._takes_record(net.key)
            and (self._names is None or (net.kind == "update" and self._names & net.before.keys()))
        ]

    # Policies and constraints.

    def _leave_records(self, keys: set[Key]) -> set[tuple[Piece, str]]:
        """Leave these records alone whole; what is said of the fields that would have been written."""
        written = self._written_with({(key, None) for key in keys})
        skipped = {piece for _, _, each in self._verdicts for piece in each.skipped}
        for key in keys:
            take_back(self._target, self._virtual, key, None)
        self._withdrawn |= written
        return {(piece, "record_skipped") for piece in written - skipped if piece[1] is not None}

    def _written_with(self, pieces: Collection[Piece]) -> set[Piece]:
        """All that the verdicts had written of these fields, or (None) of these records."""
        whole = {key for key, name in pieces if name is None}
        written = {piece for _, _, each in self._verdicts for piece in each.written}
        return {piece for piece in written if piece in pieces or piece[0] in whole}

    # What comes of it.

    def _finish(self, answer: Answer, *, is_aborted: bool) -> Answer:
        writes = {} if is_aborted else self._taken_writes(answer)
        changes = self._write(writes, answer)
        answer.status = "aborted" if is_aborted else _status(answer)
        answer.cascaded_runs = {run.run_id for run in self._cascaded}
        if not self._step.get("dry_run"):
            whole = set() if is_aborted else {run.run_id for run in self._group if self._is_whole(run)}
            self._model.note(self._as_run(changes), self._group, whole)
        return answer

    def _taken_writes(self, answer: Answer) -> Writes:
        """The writes that the target takes; those that it refuses for good are `failed`, and nothing relies on them."""
        writes = writes_between(self._target, self._virtual)
        told = [] if self._step.get("dry_run") else (self._step.get("target") or {}).get("reject", [])
        refused = {(object_type, record_id) for object_type, record_id, _ in told} & writes.keys()
        answer.failed = {(key, None, "rejected") for key in refused}
        self._withdrawn |= self._written_with({(key, None) for key in refused})
        for key in refused:
            take_back(self._target, self._virtual, key, None)
        return {key: fields for key, fields in writes.items() if key not in refused}

    def _is_written(self, piece: Piece, writes: Writes) -> bool:
        """A record that is created or deleted is written with all its fields."""
        key, name = piece
        is_whole = writes.get(key) is None or key not in self._target.records
        return key in writes and (is_whole or name in (writes[key] or {}))

    def _is_whole(self, run: Run) -> bool:
        """Whether nothing of a run is left to undo: all was put back or found put back, and what a filter left out an
        undo of this run alone would find put back. A run that changed nothing is never undone."""
        if self._withdrawn & self._needed.get(run.run_id, set()):
            return False
        if any(verdicts.skipped for each, _, verdicts in self._verdicts if each is run):
            return False
        return run.has_written and all(self._is_put_back(net) for net in net_effect(run, self._target))

    def _is_put_back(self, net: Net) -> bool:
        taken = self._selected([net])
        verdicts = judge(net, self._target.copied(), self._target, forced=False, names=None)
        if taken and self._names is not None:
            return all(piece[1] in self._names for piece in [*verdicts.written, *verdicts.skipped])
        return bool(taken) or not (verdicts.written or verdicts.skipped)

    def _write(self, writes: Writes, answer: Answer) -> list[dict[str, Any]]:
        """Write to the target (a preview: to a copy), parents of new ids first; the changes of the undo's run."""
        target = self._target.copied() if self._step.get("dry_run") else self._target
        misbehaviour = self._step.get("target") or {}
        now = {key: target.records.get(key) for key in writes}
        for key in writes:
            new_id = misbehaviour.get("new_ids", {}).get("/".join(key))
            if now[key] is None and new_id is not None and not self._step.get("dry_run"):
                target.moved[key] = (key[0], new_id)
        changes = []
        for key, fields in writes.items():
            op = "delete" if fields is None else "create" if now[key] is None else "update"
            written = {name: target.followed(key[0], name, value) for name, value in (fields or {}).items()}
            new_key = target.resolve(key)
            before = None if op == "create" else dict(now[key] or {})
            if op == "update" and before is not None:
                before = {name: before.get(name) for name in written}
            change = {"op": op, "object_type": new_key[0], "id": new_key[1], "result": "succeeded"}
            changes.append({**change, "before": before, "after": None if op == "delete" else written})
            target.change(changes[-1])
            answer.applied[new_key] = (op, written, key[1] if new_key != key else None)
        return changes

    def _as_run(self, changes: list[dict[str, Any]]) -> Run:
        undoes = {each.run_id for each in self._group}
        return Run(self._step["undo_id"], len(self._model.runs), changes, undoes=undoes)


def _status(answer: Answer) -> str:
    if answer.applied:
        return "partial" if answer.skipped or answer.failed else "completed"
    return "nothing_applied" if answer.skipped or answer.failed else "nothing_to_do"
