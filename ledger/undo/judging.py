"""One record's verdict: its net effects, newest first, against the record as it is now. UNDO.md, "Verdicts". Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from ledger.connectors.port import Found, Op, Values, Write
from ledger.domain.record import RecordEvent
from ledger.undo.comparing import Comparing
from ledger.undo.net_effect import NetEffect, Unknown
from ledger.undo.request import Policy, Selection
from ledger.undo.result import Author, Item

State = dict[str, bytes]
AuthorOf = Callable[[str | None, bytes | None], Author]
"""Who wrote the present value of a field (None: of the record as a whole)."""

NOT_CONFLICTS = frozenset(("no_before_state", "before_state_erased", "field_missing"))
"""Reasons that no later write brought about: nobody's work is in danger, so they neither abort nor skip a record."""
IMPOSSIBLE = NOT_CONFLICTS


@dataclass(slots=True)
class Step:
    """What the undo does to one record. op None: it writes nothing."""

    object_type: str
    record_id: str
    """The id that the record answers to now."""
    current: State | None
    op: Op | None = None
    values: Values = field(default_factory=dict)
    skipped: list[Item] = field(default_factory=list)
    noop: list[Item] = field(default_factory=list)
    runs: tuple[str, ...] = ()
    unsettled: set[str] = field(default_factory=set)
    """Runs of which something on this record is neither written back nor noop."""
    old_id: str | None = None
    """The id that the runs knew the record by, where it has another now."""
    position: int = 0
    """Of the newest event of the record's stream that was seen: for the ledger's own condition."""
    stream: UUID | None = None
    origin: tuple[UUID, RecordEvent] | None = None
    """Where the record was found: to look at it again."""
    label: str | None = None
    link: str | None = None
    relying: dict[str | None, set[str]] = field(default_factory=dict)
    """Field (None: the record as a whole) to the runs that are taken back only if it is written."""

    @property
    def key(self) -> tuple[str, str]:
        return self.object_type, self.record_id

    @property
    def has_conflict(self) -> bool:
        return any(item.reason not in NOT_CONFLICTS for item in self.skipped)

    def left(self) -> Iterable[tuple[str, str, str | None]]:
        """(object type, record id as the runs knew it, field or None) of all that is not back already."""
        written = () if self.op is None else self.values if self.op == "update" else (None,)
        known_as = self.old_id or self.record_id
        return [(self.object_type, known_as, name) for name in [*written, *(item.field for item in self.skipped)]]

    def end_state(self) -> dict[str, bytes | None] | None:
        """The record after the undo; None: absent."""
        if self.op is None:
            return None if self.current is None else dict(self.current)
        if self.op == "delete":
            return None
        return {**(self.current or {}), **self.values}

    def write(self, comparing: Comparing) -> Write:
        """The step as a connector carries it out."""
        assert self.op is not None
        if self.op == "create":
            return Write("create", self.object_type, self.record_id, self.values)
        current = self.current or {}
        names = self.values.keys() if self.op == "update" else [n for n in current if comparing.is_compared(n)]
        return Write(
            self.op, self.object_type, self.record_id, self.values, {name: current.get(name) for name in names}
        )

    def withdraw(self, reason: str, names: Sequence[str] | None = None) -> None:
        """Takes back the whole write (names None: one item for the record) or some fields of an update."""
        for name in names if names is not None else [None]:
            self.skipped.append(Item(self.object_type, self.record_id, name, reason))
            if name is not None:
                self.values.pop(name, None)
        if names is None or not self.values:
            self.op, self.values = None, {}
        self.unsettle(names)

    def unsettle(self, names: Iterable[str] | None = None) -> None:
        """Some fields (names None: the whole record) are not written after all."""
        if not self.relying:  # read back from an intent: who relies on what is not kept
            self.unsettled.update(self.runs)
        for name in self.relying if names is None else [None, *names]:
            self.unsettled |= self.relying.get(name, set())


def judge(
    step: Step,
    nets: Sequence[NetEffect],
    *,
    found: Found | None,
    comparing: Comparing,
    policy: Policy,
    selection: Selection,
    author_of: AuthorOf,
) -> Step:
    """Fills `step` with what the undo of `nets` (newest first) does to the record, each judged on what the one before
    it leaves. `found`: the record as it is now, None where it is gone.
    """
    judged = _Judged(step, found, comparing, policy, selection, author_of)
    for net in nets:
        judged.take(net)
    return judged.settle()


class _Judged:
    def __init__(
        self,
        step: Step,
        found: Found | None,
        comparing: Comparing,
        policy: Policy,
        selection: Selection,
        author_of: AuthorOf,
    ) -> None:
        self.step, self.comparing, self.policy, self.selection, self.author_of = (
            step, comparing, policy, selection, author_of
        )  # fmt: skip
        self.merged = found is not None and found.merged_into is not None
        self.virtual: dict[str, bytes | None] | None = (
            None if step.current is None or self.merged else dict(step.current)
        )
        self.forced = policy == "force"
        self.wrote: set[str | None] = set()
        self.run_id = ""

    def take(self, net: NetEffect) -> None:
        self.run_id = net.run_id
        self.step.runs += (net.run_id,)
        {"update": self._update, "create": self._create, "delete": self._delete}[net.kind](net)

    def _update(self, net: NetEffect) -> None:
        step, key = self.step, self.step.key
        names = [
            name for name in sorted(net.before)
            if name not in self.comparing.schema.system_fields and self.selection.takes_field(name)
        ]  # fmt: skip
        if not names:
            return
        if self.merged or self.virtual is None:
            self._skip(None, "record_merged" if self.merged else "record_missing")
            return
        for name in names:
            before, now = net.before[name], self.virtual.get(name)
            if isinstance(before, Unknown):
                self._skip(name, before.value)
            elif self.comparing.same(name, now, before):
                step.noop.append(Item(*key, name, "already_restored"))
                self._rely(name)
            elif not self.comparing.schema.has_field(name):
                self._skip(name, "field_missing")
            elif self.forced or (name not in net.erased_after and self.comparing.same(name, now, net.after.get(name))):
                self.virtual[name] = before
                self._write(name)
            else:
                self._skip(name, "modified_since")

    def _create(self, net: NetEffect) -> None:
        if not self.selection.takes_whole:
            return
        if self.merged:
            self._skip(None, "record_merged")
        elif self.virtual is None:
            self.step.noop.append(Item(*self.step.key, None, "already_absent"))
            self._rely(None)
        elif not self.forced and self.comparing.differing(self.virtual, net.left()):
            self._skip(None, "modified_since")
        else:
            self.virtual = None
            self._write(None)

    def _delete(self, net: NetEffect) -> None:
        if not self.selection.takes_whole:
            return
        known = {name: text for name, text in net.before.items() if not isinstance(text, Unknown)}
        if self.merged:
            self._skip(None, "record_merged")
        elif net.whole_before is not None:
            self._skip(None, net.whole_before.value)
        elif self.virtual is None:
            self._create_again(net, known)
        elif not self.comparing.differing(self.virtual, known):
            self.step.noop.append(Item(*self.step.key, None, "already_restored"))
            self._rely(None)
        elif not self.forced:
            self._skip(None, "already_exists")
        else:
            self._tell_impossible(net)
            for name in self.comparing.differing(self.virtual, known):
                if name in known:
                    self.virtual[name] = known[name]
                    self._write(name)

    def _create_again(self, net: NetEffect, known: dict[str, bytes | None]) -> None:
        self._tell_impossible(net)
        self.virtual = {
            name: text for name, text in known.items() if text is not None and self.comparing.is_compared(name)
        }
        self._write(None)

    def _tell_impossible(self, net: NetEffect) -> None:
        """The fields with which a deleted record cannot come back."""
        schema = self.comparing.schema
        for name in sorted(net.before):
            value = net.before[name]
            if name in schema.system_fields:
                continue
            if isinstance(value, Unknown):
                self._skip(name, value.value)
            elif not schema.has_field(name) and not self.comparing.is_nothing(value):
                self._skip(name, "field_missing")

    def _write(self, name: str | None) -> None:
        self.wrote.add(name)
        self.step.relying.setdefault(name, set()).add(self.run_id)

    def _rely(self, name: str | None) -> None:
        """A noop that is one only because of what a newer run's undo writes."""
        for written in {name, None} & self.wrote if name is not None else self.wrote:
            self.step.relying[written].add(self.run_id)

    def _skip(self, name: str | None, reason: str) -> None:
        author = self.author_of(name, self._now(name)) if reason in ("modified_since", "already_exists") else None
        self.step.skipped.append(Item(*self.step.key, name, reason, None, author))
        self.step.unsettled.add(self.run_id)

    def _now(self, name: str | None) -> bytes | None:
        return None if name is None or self.step.current is None else self.step.current.get(name)

    def settle(self) -> Step:
        """Turns the state that is left into one write, net."""
        step = self.step
        if self.wrote:
            self._decide()
        is_whole = step.op in ("create", "delete")
        if self.policy == "skip_record" and step.has_conflict and self.wrote:
            self._leave_whole()
        self._tidy(is_whole)
        return step

    def _leave_whole(self) -> None:
        self.step.op, self.step.values = None, {}
        named = {item.field for item in self.step.skipped}
        for name in sorted((self.wrote - named) - {None}, key=str):
            self._skip(name, "record_skipped")
        self.step.unsettle()

    def _decide(self) -> None:
        step, current, virtual = self.step, self.step.current, self.virtual
        if virtual is None:
            step.op = None if current is None else "delete"
        elif current is None:
            step.op, step.values = "create", virtual
        else:
            differing = [
                name for name in virtual.keys() | current.keys()
                if name not in self.comparing.schema.system_fields
                and not self.comparing.same(name, current.get(name), virtual.get(name))
            ]  # fmt: skip
            step.values = {name: virtual.get(name) for name in sorted(differing)}
            step.op = "update" if step.values else None

    def _tidy(self, is_whole: bool) -> None:
        """Each field has one verdict: written, else skipped, else noop; nothing twice. is_whole: the record was to be
        created or deleted, so that no field of it is back without that."""
        step = self.step
        step.runs = tuple(dict.fromkeys(step.runs))
        step.skipped = list({(item.field, item.reason): item for item in step.skipped}.values())
        taken = {item.field for item in step.skipped} | step.values.keys()
        noop = {item.field: item for item in step.noop if not is_whole and item.field not in taken}
        if None in taken:
            noop.pop(None, None)
        step.noop = list(noop.values())
