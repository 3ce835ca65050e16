"""A run's changes to one record, reduced to one. UNDO.md, "Net effect". Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

from ledger.domain.record import RecordCreated, RecordDeleted, RecordErased, RecordEvent, fold
from ledger.json_text import split_fields
from ledger.undo.comparing import NULL

Kind = Literal["create", "update", "delete"]


class Unknown(Enum):
    """Why a before-value is not there. The values are the reasons in verdicts."""

    NOT_RECORDED = "no_before_state"
    ERASED = "before_state_erased"


Before = bytes | None | Unknown
"""A field's value before: canonical JSON text, None where the field was missing, or why it is not known."""


@dataclass(frozen=True, slots=True)
class NetEffect:
    """What a run did to one record, first before to last after.

    update: `before` and `after` hold the fields that differ; create: `after` the whole record; delete: `before` the
    whole record. `whole_before` tells why a delete's before-state is not there at all.
    """

    kind: Kind
    run_id: str
    before: dict[str, Before] = field(default_factory=dict)
    after: dict[str, bytes | None] = field(default_factory=dict)
    whole_before: Unknown | None = None
    erased_after: frozenset[str] = frozenset()
    """Fields whose value after was erased: they cannot be compared."""

    def left(self) -> dict[str, bytes | None]:
        """The record as the run left it, less what was erased since: a value that is there now is somebody's work."""
        return {name: text for name, text in self.after.items() if name not in self.erased_after}


@dataclass(frozen=True, slots=True)
class Erasure:
    """What of a record's past was erased: some fields, or None for all of it."""

    fields: frozenset[str] | None

    def covers(self, name: str) -> bool:
        return self.fields is None or name in self.fields


def runs_apart(events: Sequence[RecordEvent]) -> Iterable[Sequence[RecordEvent]]:
    """Splits a record's events where the run changes, in order: each part is reduced by itself."""
    start = 0
    for number in range(1, len(events) + 1):
        if number == len(events) or events[number].run_id != events[start].run_id:
            yield events[start:number]
            start = number


def net_effect(
    events: Sequence[RecordEvent],
    erasure: Callable[[RecordEvent], Erasure | None],
    same: Callable[[str, bytes | None, bytes | None], bool],
) -> NetEffect | None:
    """The net effect of one run's changing events on one record, in order; None: none.

    `erasure` tells what was erased of an event since; `same` when two values of a field are the same.
    """
    if len(events) == 1 and isinstance(events[0], RecordEvent):
        quick = _single_update(events[0], erasure, same)
        if quick is not None:
            return quick
    reduced = _Reduced()
    for event in events:
        reduced.take(event, erasure(event))
    return reduced.result(events[-1].run_id, same)


def _single_update(
    event: RecordEvent,
    erasure: Callable[[RecordEvent], Erasure | None],
    same: Callable[[str, bytes | None, bytes | None], bool],
) -> NetEffect | None:
    """The way of nearly all records: one update, nothing erased. None: take the general way."""
    if (
        isinstance(event, RecordCreated | RecordDeleted)
        or event.before in (None, NULL)
        or event.erased
        or erasure(event)
    ):
        return None
    before, after = split_fields(event.before), split_fields(event.after)
    if before.keys() != after.keys():
        return None
    changed = [name for name, text in before.items() if not same(name, text, after[name])]
    if len(changed) != len(before):
        return None
    return NetEffect("update", event.run_id, before, after)  # type: ignore[arg-type]


class _Reduced:
    """The state before the first and after the last of some events, as far as they tell."""

    def __init__(self) -> None:
        self.began_present: bool | None = None
        self.is_present = False
        self.before: dict[str, Before] = {}
        self.after: dict[str, bytes | None] = {}
        self.was_whole = False
        """Whether all fields of the record as it was are in `before`."""
        self.whole_before: Unknown | None = None
        self.erased_after: set[str] = set()

    def take(self, event: RecordEvent, erased: Erasure | None) -> None:
        before, after = split_fields(event.before), split_fields(event.after)
        if self.began_present is None:
            self.began_present = not isinstance(event, RecordCreated)
        if self.began_present and not self.was_whole and not isinstance(event, RecordCreated):
            self._take_before(event, before, after, erased)
        if isinstance(event, RecordDeleted):
            self.is_present, self.after, self.erased_after = False, {}, set()
            self.was_whole = True
        else:
            self.after = {**({} if isinstance(event, RecordCreated) else self.after), **after}
            self.after.update(dict.fromkeys(before.keys() - after.keys()))
            self.is_present = True
            names = after.keys() | before.keys() | set(event.erased_fields)
            self.erased_after -= names
            self.erased_after |= {name for name in names if _is_erased(event, erased, name)}

    def _take_before(
        self, event: RecordEvent, before: dict[str, bytes], after: dict[str, bytes], erased: Erasure | None
    ) -> None:
        unknown = event.before in (None, NULL)
        if isinstance(event, RecordDeleted):
            if erased is not None and erased.fields is None:
                self.whole_before = Unknown.ERASED
            elif unknown:
                self.whole_before = Unknown.NOT_RECORDED
        names = before.keys() | after.keys() | set(event.erased_fields)
        if isinstance(event, RecordDeleted) and erased is not None and not unknown:
            names |= erased.fields or frozenset()
        for name in names:
            if name in self.before:
                continue
            if _is_erased(event, erased, name):
                self.before[name] = Unknown.ERASED
            elif unknown:
                self.before[name] = Unknown.NOT_RECORDED
            else:
                self.before[name] = before.get(name)

    def result(self, run_id: str, same: Callable[[str, bytes | None, bytes | None], bool]) -> NetEffect | None:
        erased_after = frozenset(self.erased_after)
        if not self.began_present:
            if not self.is_present:
                return None
            whole = {name: text for name, text in self.after.items() if text is not None}
            return NetEffect("create", run_id, after=whole, erased_after=erased_after)  # type: ignore[arg-type]
        if not self.is_present:
            return NetEffect("delete", run_id, before=self.before, whole_before=self.whole_before)
        changed: dict[str, Before] = {}
        for name in self.before.keys() | self.after.keys():
            value = self.before.get(name, self.whole_before)
            if isinstance(value, Unknown) or not same(name, value, self.after.get(name)):
                changed[name] = value
        if not changed:
            return None
        after = {name: self.after.get(name) for name in changed}
        return NetEffect("update", run_id, before=changed, after=after, erased_after=erased_after)


def _is_erased(event: RecordEvent, erased: Erasure | None, name: str) -> bool:
    """Erased since, from the event itself, or by it: an erasure is never taken back."""
    return (
        name in event.erased_fields or isinstance(event, RecordErased) or (erased is not None and erased.covers(name))
    )


def state_after(events: Iterable[RecordEvent]) -> dict[str, bytes] | None:
    """What events tell of a record's state after them, from its first one on; None: absent."""
    state: dict[str, bytes] | None = None
    for number, event in enumerate(events):
        before, after = split_fields(event.before), split_fields(event.after)
        if number == 0 and not isinstance(event, RecordCreated):
            state = before
        state = fold(state, event, before, after)
    return state
