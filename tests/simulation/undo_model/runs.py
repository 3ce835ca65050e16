"""The model's ledger: the runs, their net effect, and what an erasure takes from them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tests.simulation.undo_model.target import Fields, Key, Lost, Target

Piece = tuple[Key, str | None]
"""What is restored or left alone by itself: a field of an updated record, or (None) a whole created or deleted one."""


@dataclass
class Run:
    """A run of the ledger, an undo included; `index` rises with time."""

    run_id: str
    index: int
    changes: list[dict[str, Any]]
    recipe_run_id: str | None = None
    is_preview: bool = False
    is_expired: bool = False
    undoes: set[str] = field(default_factory=set)

    @property
    def has_written(self) -> bool:
        """Whether it changed anything in the target; what a preview recorded never happened."""
        return not self.is_preview and any(change["result"] == "succeeded" for change in self.changes)


@dataclass
class Net:
    """What a run did to one record all in all. `before` of a delete and `after` of a create are the whole record."""

    key: Key
    kind: str
    before: Fields
    after: Fields
    is_before_unknown: bool = False
    """A delete of which no before-state was recorded."""

    def pieces(self) -> list[Piece]:
        return [(self.key, name) for name in self.before] if self.kind == "update" else [(self.key, None)]


def net_effect(run: Run, target: Target) -> list[Net]:
    """One Net for each record that the run left different; a preview left none."""
    by_record: dict[Key, list[dict[str, Any]]] = {}
    for change in [] if run.is_preview else run.changes:
        if change["result"] == "succeeded":
            by_record.setdefault((change["object_type"], change["id"]), []).append(change)
    nets = [_net(key, changes, target) for key, changes in by_record.items()]
    return [net for net in nets if net is not None]


def _net(key: Key, changes: list[dict[str, Any]], target: Target) -> Net | None:
    was_there, is_there = changes[0]["op"] != "create", changes[-1]["op"] != "delete"
    if not was_there and not is_there:
        return None
    before: Fields = {}
    after: Fields = {}
    is_whole = not was_there  # the fields not in `before` are known to have been null
    is_unknown = False
    for change in changes:
        held, left = change["before"], change["after"] or {}
        if change["op"] == "create":
            after = {**dict.fromkeys(before), **left}
        for name in {**(held or {}), **left} if was_there and not is_whole else ():
            before.setdefault(name, _held(name, held, left))
        if change["op"] == "update":
            after |= {**dict.fromkeys(held or {}), **left}
        if change["op"] == "delete":
            is_unknown |= held is None and not is_whole
            is_whole, after = True, {}
    if not was_there:
        return Net(key, "create", {}, after)
    if not is_there:
        return Net(key, "delete", before, {}, is_unknown)
    for name in [*before, *after]:
        before.setdefault(name, Lost.NEVER_RECORDED if is_unknown else None)
        if name in target.rules(key[0]).system or _is_unchanged(key[0], name, before[name], after.get(name), target):
            del before[name]
            after.pop(name, None)
    return Net(key, "update", before, after) if before else None


def _held(name: str, before: Fields | None, after: Fields) -> Any:
    """The value before a change, or what stands for it."""
    if after.get(name) is Lost.ERASED:
        return Lost.ERASED
    return Lost.NEVER_RECORDED if before is None else before.get(name)


def _is_unchanged(object_type: str, name: str, before: Any, after: Any, target: Target) -> bool:
    if isinstance(before, Lost) or isinstance(after, Lost):
        return False
    return target.same(object_type, name, before, after)


def erase(run: Run, key: Key, names: list[str], target: Target) -> None:
    """Take the values of these fields out of what the run recorded. Whether there was one cannot be told any more: of a
    field that a change listed, or that a deleted record may have had, all is lost."""
    for change in run.changes:
        if target.resolve((change["object_type"], change["id"])) != target.resolve(key):
            continue
        before, after = change["before"], change["after"]
        listed = {*names} if change["op"] == "delete" else {*names} & {*(before or {}), *(after or {})}
        lost = dict.fromkeys(sorted(listed), Lost.ERASED)
        change["before"] = before if before is None else {**before, **lost}
        change["after"] = after if after is None else {**after, **lost}
