"""Intents: what an undo is about to write, kept in the log before the target is touched, so that every crash point can
be resumed. An intent has the steps and their writes in layers: all that is needed to go on without planning again.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec
from msgspec import Raw, Struct

from ledger.connectors.port import Op, Write
from ledger.json_text import encode
from ledger.undo.judging import Step
from ledger.undo.ordering import OrderedWrite
from ledger.undo.result import Author, Item


class StoredStep(Struct, omit_defaults=True):
    object_type: str
    record_id: str
    op: Op
    current: dict[str, Raw] | None = None
    values: dict[str, Raw] = {}
    removed: list[str] = []
    """Fields to be cleared: those of `values` that are missing afterwards."""
    verdicts: Verdicts | None = None
    runs: list[str] = []
    position: int = 0
    label: str | None = None
    link: str | None = None
    old_id: str | None = None


class StoredItem(Struct, omit_defaults=True):
    field: str | None
    reason: str
    message: str | None = None
    run_id: str | None = None
    user: str | None = None
    at: str | None = None
    outside: bool = False


class Verdicts(Struct, omit_defaults=True):
    """What an undo's change keeps besides its write, in its details under `undo`."""

    skipped: list[StoredItem] = []
    noop: list[StoredItem] = []
    failed: list[StoredItem] = []
    unsettled: list[str] = []
    old_id: str | None = None
    proven: int = 0


class StoredWrite(Struct, omit_defaults=True):
    step: int
    op: Op
    values: dict[str, Raw] = {}
    removed: list[str] = []
    expected: dict[str, Raw] = {}
    expected_missing: list[str] = []
    is_last: bool = True
    needs: list[tuple[int, str]] = []


class StoredIntent(Struct, omit_defaults=True):
    steps: list[StoredStep] = []
    layers: list[list[StoredWrite]] = []
    reversed: list[tuple[int, int]] = []
    """Instead of steps: the changes at these positions, first and last, are turned round (ledger.undo.reversing)."""


def encode_reversals(positions: Sequence[int]) -> bytes:
    """Canonical text of the intent to turn round the changes at these positions, which rise."""
    ranges: list[tuple[int, int]] = []
    for position in positions:
        first = ranges.pop()[0] if ranges and ranges[-1][1] + 1 == position else position
        ranges.append((first, position))
    return encode(StoredIntent(reversed=ranges))


def decode_reversals(text: bytes) -> list[tuple[int, int]]:
    """The inverse of encode_reversals: ranges of positions, both ends included; none for any other intent."""
    return msgspec.json.decode(text, type=StoredIntent).reversed


def encode_intent(layers: Sequence[Sequence[OrderedWrite]]) -> bytes:
    """Canonical text of the layers of a batch."""
    steps: dict[int, int] = {}
    stored_steps: list[StoredStep] = []
    numbers: dict[int, int] = {}
    stored: list[list[StoredWrite]] = []
    for layer in layers:
        stored.append([])
        for ordered in layer:
            number = steps.get(id(ordered.step))
            if number is None:
                number = steps[id(ordered.step)] = len(stored_steps)
                stored_steps.append(_store_step(ordered.step))
            numbers[id(ordered)] = len(numbers)
            stored[-1].append(_store_write(number, ordered, numbers))
    return encode(StoredIntent(stored_steps, stored))


def decode_intent(text: bytes) -> list[list[OrderedWrite]]:
    """The inverse of encode_intent."""
    intent = msgspec.json.decode(text, type=StoredIntent)
    steps = [_load_step(step) for step in intent.steps]
    made: list[OrderedWrite] = []
    layers: list[list[OrderedWrite]] = []
    for layer in intent.layers:
        layers.append([])
        for write in layer:
            step = steps[write.step]
            expected: dict[str, bytes | None] = dict.fromkeys(write.expected_missing)
            expected |= {name: bytes(raw) for name, raw in write.expected.items()}
            ordered = OrderedWrite(
                step,
                Write(write.op, step.object_type, step.record_id, _values(write.values, write.removed), expected),
                write.is_last,
                [(made[number], reason) for number, reason in write.needs],
            )
            made.append(ordered)
            layers[-1].append(ordered)
    return layers


def verdicts_of(step: Step, *, failed: Sequence[Item] = (), proven: int = 0) -> Verdicts:
    """What is kept of a step besides its write."""
    return Verdicts(
        [_store_item(item) for item in step.skipped],
        [_store_item(item) for item in step.noop],
        [_store_item(item) for item in failed],
        sorted(step.unsettled),
        step.old_id,
        proven,
    )


def load_items(step_key: tuple[str, str], items: Sequence[StoredItem]) -> list[Item]:
    """Stored items of one record as items."""
    return [
        Item(*step_key, item.field, item.reason, item.message, _load_author(item)) for item in items
    ]  # fmt: skip


def _store_step(step: Step) -> StoredStep:
    assert step.op is not None
    values, removed = _stored_values(step.values)
    current = None if step.current is None else {name: Raw(text) for name, text in step.current.items()}
    if step.op == "update" and current is not None:
        current = {name: raw for name, raw in current.items() if name in step.values}
    return StoredStep(
        step.object_type, step.record_id, step.op, current, values, removed, verdicts_of(step), list(step.runs),
        step.position, step.label, step.link, step.old_id,
    )  # fmt: skip


def _load_step(stored: StoredStep) -> Step:
    verdicts = stored.verdicts or Verdicts()
    key = stored.object_type, stored.record_id
    return Step(
        *key,
        None if stored.current is None else {name: bytes(raw) for name, raw in stored.current.items()},
        stored.op,
        _values(stored.values, stored.removed),
        load_items(key, verdicts.skipped),
        load_items(key, verdicts.noop),
        tuple(stored.runs),
        set(verdicts.unsettled),
        stored.old_id,
        stored.position,
        label=stored.label,
        link=stored.link,
    )


def _store_write(number: int, ordered: OrderedWrite, numbers: dict[int, int]) -> StoredWrite:
    values, removed = _stored_values(ordered.write.values)
    expected, missing = _stored_values(ordered.write.expected)
    needs = [(numbers[id(need)], reason) for need, reason in ordered.needs if id(need) in numbers]
    return StoredWrite(number, ordered.write.op, values, removed, expected, missing, ordered.is_last, needs)


def _stored_values(values: dict[str, bytes | None]) -> tuple[dict[str, Raw], list[str]]:
    return (
        {name: Raw(text) for name, text in values.items() if text is not None},
        [name for name, text in values.items() if text is None],
    )


def _values(values: dict[str, Raw], removed: Sequence[str]) -> dict[str, Any]:
    return {name: bytes(raw) for name, raw in values.items()} | dict.fromkeys(removed)


def _store_item(item: Item) -> StoredItem:
    author = item.author
    if author is None:
        return StoredItem(item.field, item.reason, item.message)
    return StoredItem(
        item.field, item.reason, item.message, author.run_id, author.user,
        author.at.isoformat() if author.at else None, author.run_id is None,
    )  # fmt: skip


def _load_author(item: StoredItem) -> Author | None:
    if item.run_id is None and not item.outside:
        return None
    return Author(item.run_id, item.user, datetime.fromisoformat(item.at) if item.at else None)
