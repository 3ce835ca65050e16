"""The model's verdicts: what a run changed, against what the target holds. It moves a virtual target on as it goes."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.simulation.undo_model.runs import Net, Piece
from tests.simulation.undo_model.target import Fields, Key, Lost, Target

CONFLICTS = {
    "modified_since",
    "already_exists",
    "record_missing",
    "record_merged",
    "missing_reference",
    "still_referenced",
    "unique_violation",
    "required_field_missing",
}
"""Reasons that a policy acts on. The others (nothing was recorded, it was erased, the field is no more) are facts."""


@dataclass
class Verdicts:
    """What an undo of one net change comes to. Pieces are by the id that the record has by now."""

    written: set[Piece] = field(default_factory=set)
    noop: dict[Piece, str] = field(default_factory=dict)
    skipped: dict[Piece, str] = field(default_factory=dict)

    def relying_on(self, written: set[Piece]) -> set[Piece]:
        """What of the writes of newer runs' undos makes a noop of this one, as far as can be seen from outside."""
        return {
            piece
            for piece in written
            for key, name in self.noop
            if piece[0] == key and (name is None or piece[1] in (name, None))
        }


def judge(net: Net, target: Target, now: Target, *, forced: bool, names: frozenset[str] | None) -> Verdicts:
    """The verdicts on one net change; what can be written is written to `target`, which began as the target is `now`:
    no undo takes a merge back. `names`: these fields alone."""
    key = target.resolve(net.key)
    whole = (key, None)
    if now.is_merged(key):
        return Verdicts(skipped={whole: "record_merged"})
    if net.kind == "update":
        return _judge_update(net, key, target, forced=forced, names=names)
    if net.kind == "create":
        return _judge_create(net, key, target, forced=forced)
    return _judge_delete(net, key, target, forced=forced)


def _judge_update(net: Net, key: Key, target: Target, *, forced: bool, names: frozenset[str] | None) -> Verdicts:
    verdicts = Verdicts()
    now = target.records.get(key)
    if now is None:
        return Verdicts(skipped={(key, None): "record_missing"})
    for name, before in net.before.items():
        piece = (key, name)
        if names is not None and name not in names:
            continue
        if isinstance(before, Lost):
            verdicts.skipped[piece] = before.value
        elif target.same(key[0], name, now.get(name), before):
            verdicts.noop[piece] = "already_restored"
        elif name in target.rules(key[0]).dropped:
            verdicts.skipped[piece] = "field_missing"
        elif forced or target.same(key[0], name, now.get(name), net.after.get(name)):
            verdicts.written.add(piece)
            target.put(key, {name: before})
        else:
            verdicts.skipped[piece] = "modified_since"
    return verdicts


def _judge_create(net: Net, key: Key, target: Target, *, forced: bool) -> Verdicts:
    piece = (key, None)
    now = target.records.get(key)
    if now is None:
        return Verdicts(noop={piece: "already_absent"})
    if target.differing(key[0], now, net.after) and not forced:
        return Verdicts(skipped={piece: "modified_since"})
    del target.records[key]
    return Verdicts(written={piece})


def _judge_delete(net: Net, key: Key, target: Target, *, forced: bool) -> Verdicts:
    piece = (key, None)
    if net.is_before_unknown:
        return Verdicts(skipped={piece: Lost.NEVER_RECORDED.value})
    restorable, impossible = _restorable(net, key, target)
    now = target.records.get(key)
    if now is None:
        target.records[key] = restorable
        return Verdicts({piece}, skipped=impossible)
    differing = target.differing(key[0], now, restorable)
    if not differing:
        return Verdicts(noop={piece: "already_restored"})
    if not forced:
        return Verdicts(skipped={piece: "already_exists"})
    # What the ledger never recorded of the record that is there now stays as it is.
    known = [name for name in differing if name in net.before and not isinstance(net.before[name], Lost)]
    target.put(key, {name: restorable.get(name) for name in known})
    return Verdicts({(key, name) for name in known}, skipped=impossible)


def _restorable(net: Net, key: Key, target: Target) -> tuple[Fields, dict[Piece, str]]:
    """The fields with which a deleted record can be created again, and why the others cannot be restored."""
    rules, restorable, impossible = target.rules(key[0]), Fields(), dict[Piece, str]()
    for name, before in net.before.items():
        if name in rules.system:
            continue
        if isinstance(before, Lost):
            impossible[key, name] = before.value
        elif name in rules.dropped and before is not None:
            impossible[key, name] = "field_missing"
        elif before is not None:
            restorable[name] = before
    return restorable, impossible
