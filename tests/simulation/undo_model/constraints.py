"""The model's constraints: which writes of an undo cannot stand, judged on the state that the undo would leave.

Only what the undo itself writes is withdrawn, in rounds, until nothing is broken: first what is written, when nothing
of that is broken any more what is deleted (decision 0009).
"""

from __future__ import annotations

from tests.simulation.undo_model.runs import Piece
from tests.simulation.undo_model.target import Fields, Key, Target

Writes = dict[Key, Fields | None]
"""The fields that an undo writes to each record, all of them of one that it creates; None: it deletes the record."""


def writes_between(target: Target, virtual: Target) -> Writes:
    """What leads from one state to the other; what is equal as far as values are compared is not written."""
    writes: Writes = {}
    for key in [*target.records, *virtual.records]:
        now, then = target.records.get(key), virtual.records.get(key)
        if then is None:
            writes[key] = None
        elif now is None:
            writes[key] = then
        elif changed := target.differing(key[0], now, then):
            writes[key] = {name: then.get(name) for name in changed}
    return writes


def withdraw(target: Target, virtual: Target, *, whole_records: bool) -> dict[Piece, str]:
    """Take back in `virtual` what breaks a constraint there; why, by piece. `whole_records`: a record that loses a
    field loses its others too, as soon as nothing is broken any more."""
    reasons: dict[Piece, str] = {}
    while True:
        broken = _broken_writes(target, virtual) or _broken_deletions(target, virtual)
        if not broken and whole_records:
            torn = {key for key, _ in reasons}
            writes = writes_between(target, virtual)
            broken = {(key, name): "record_skipped" for key in writes if key in torn for name in writes[key] or ()}
        if not broken:
            return reasons
        reasons |= broken
        for key, name in broken:
            take_back(target, virtual, key, name)


def take_back(target: Target, virtual: Target, key: Key, name: str | None) -> None:
    """Leave a field, or (None) a whole record, as it is in the target now."""
    now = target.records.get(key)
    if name is not None and now is not None:
        virtual.put(key, {name: now.get(name)})
    elif now is not None:
        virtual.records[key] = dict(now)
    else:
        virtual.records.pop(key, None)


def _broken_writes(target: Target, virtual: Target) -> dict[Piece, str]:
    broken: dict[Piece, str] = {}
    for key, fields in writes_between(target, virtual).items():
        if fields is None:
            continue
        is_new = key not in target.records
        for name, reason in _violations(key, fields, is_new=is_new, virtual=virtual):
            broken.setdefault((key, None if is_new else name), reason)
    return broken


def _violations(key: Key, written: Fields, *, is_new: bool, virtual: Target) -> list[tuple[str, str]]:
    """(field, reason) for what is broken by what is written to one record."""
    state, rules = virtual.records[key], virtual.rules(key[0])
    concerned = {*written, *rules.required} if is_new else set(written)
    found = [(name, "required_field_missing") for name in sorted(rules.required & concerned) if name not in state]
    for name in sorted(rules.references.keys() & written.keys()):
        parent = virtual.reference(key[0], name, state)
        if parent is not None and parent not in virtual.records:
            found.append((name, "missing_reference"))
    for names in rules.unique:
        value = virtual.unique_value(key[0], names, state)
        if value is not None and written.keys() & set(names):
            for other, fields in virtual.records.items():
                if other != key and other[0] == key[0] and virtual.unique_value(key[0], names, fields) == value:
                    found += [(name, "unique_violation") for name in names if name in written]
    return found


def _broken_deletions(target: Target, virtual: Target) -> dict[Piece, str]:
    referenced = {
        virtual.reference(key[0], name, fields)
        for key, fields in virtual.records.items()
        for name in virtual.rules(key[0]).references
    }
    writes = writes_between(target, virtual)
    return {(key, None): "still_referenced" for key, fields in writes.items() if fields is None and key in referenced}
