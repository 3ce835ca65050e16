"""What an erasure leaves of an event's payload. Pure.

The rest is of the same stored shape, without the values and the texts that were erased; `erased` and `erased_fields`
of a record event say so. It stands in the payload's place for readers and is covered by no leaf.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import replace
from typing import Any, NamedTuple

import msgspec
from msgspec import Raw

from ledger.json_text import encode, join_fields, split_fields
from ledger.store.shapes import (
    NOTHING,
    RecordShape,
    RunFailedShape,
    RunFinishedShape,
    RunStartedShape,
    Shape,
    UndoIntendedShape,
)
from ledger.undo.intents import StoredIntent, StoredItem, StoredStep, Verdicts

ERASED_TEXT = "(erased)"
TEXT_CHARACTERS_MIN = 6
"""A shorter value is not looked for in the texts of runs: it would be found in every other one."""
_VERDICTS = msgspec.json.Decoder(Verdicts)


class Texts(NamedTuple):
    """Labels and telling values of a record, folded: where a run's own text holds one of them, the text goes."""

    folded: frozenset[str]

    @classmethod
    def of(cls, texts: Collection[str]) -> Texts:
        return cls(frozenset(text.casefold() for text in texts if _is_telling(text)))

    def are_in(self, text: str | None) -> bool:
        return text is not None and any(each in text.casefold() for each in self.folded)

    def are_in_json(self, text: bytes) -> bool:
        folded = text.decode().casefold()
        return any(encode(each)[1:-1].decode() in folded for each in self.folded)


NO_TEXTS = Texts(frozenset())


def _is_telling(text: str) -> bool:
    return len(text) >= TEXT_CHARACTERS_MIN and any(each.isdigit() or each == "@" for each in text)


def texts_of(shape: RecordShape, fields: frozenset[str] | None) -> set[str]:
    """The label and the text values that an erasure of these fields (None: all) takes from a record event."""
    found = {shape.label} if shape.label else set()
    for side in (shape.before, shape.after):
        for name, value in split_fields(bytes(side) or None).items():
            if value[:1] == b'"' and (fields is None or name in fields):
                found.add(msgspec.json.decode(value, type=str))
    return found


def rest_of_record(shape: RecordShape, fields: frozenset[str] | None) -> RecordShape | None:
    """What is left of a record event without the values of these fields (None: of all). None: nothing is taken from it.

    Label, message, link and details go in any case: they are free texts, which may repeat a value in any form. What
    undos need of the details stays.
    """
    if shape.erased == "whole":
        return None
    before, after = _fields_of(shape.before), _fields_of(shape.after)
    there = {*(before or {}), *(after or {})}
    gone = there if fields is None else there & fields
    details = _structure_of(shape.details)
    texts = (shape.label, shape.message, shape.link, shape.actor if fields is None else None)
    if fields is not None and not gone and texts == (None,) * 4 and bytes(details) == bytes(shape.details):
        return None
    return RecordShape(
        shape.object_type,
        shape.record_id,
        shape.action,
        _without(shape.before, before, gone),
        _without(shape.after, after, gone),
        details=details,
        actor=None if fields is None else shape.actor,
        preview=shape.preview,
        erased="whole" if fields is None else "part",
        erased_fields=tuple(sorted({*shape.erased_fields, *gone})),
    )


def rest_without_before(shape: RecordShape, *, whole: bool) -> RecordShape | None:
    """What a retention policy leaves of an old change: `whole`, nothing but its frame; else all but its before-state.
    None: nothing is taken from it."""
    if whole:
        return rest_of_record(shape, None)
    before = _fields_of(shape.before)
    if before is None or shape.erased == "whole":
        return None
    return msgspec.structs.replace(
        shape, before=Raw(b"null"), details=_structure_of(shape.details), erased="part",
        erased_fields=tuple(sorted({*shape.erased_fields, *before})),
    )  # fmt: skip


def rest_of_intent(
    shape: UndoIntendedShape, is_meant: Callable[[StoredStep], bool], fields: frozenset[str] | None
) -> UndoIntendedShape | None:
    """An intent without the values of the steps that are meant. None: nothing is taken from it."""
    intent = msgspec.json.decode(bytes(shape.writes), type=StoredIntent)
    hit = {number for number, step in enumerate(intent.steps) if is_meant(step)}
    if not hit:
        return None
    for number in hit:
        step = intent.steps[number]
        step.values, step.label, step.link = _kept(step.values, fields), None, None
        step.current = None if step.current is None else _kept(step.current, fields)
        if step.verdicts is not None:
            step.verdicts = _without_texts(step.verdicts)
    for write in (write for layer in intent.layers for write in layer if write.step in hit):
        write.values, write.expected = _kept(write.values, fields), _kept(write.expected, fields)
    rest = UndoIntendedShape(Raw(encode(intent)))
    return None if bytes(rest.writes) == bytes(shape.writes) else rest


def rest_of_run(shape: Shape, texts: Texts) -> Shape | None:
    """An event of a run that changed the record, without what tells of the record. None: nothing is taken from it.

    The digest of an imported document goes: it is a hash of the values themselves, and could be tried out.
    """
    if isinstance(shape, RunStartedShape):
        operation = shape.operation
        if texts.are_in(operation.message):
            operation = replace(operation, message=ERASED_TEXT)
        details = NOTHING if texts.are_in_json(bytes(shape.details)) and not shape.undoes else shape.details
        rest: Shape = RunStartedShape(operation, shape.started_at, details, None, shape.undoes)
    elif isinstance(shape, RunFailedShape):
        message = ERASED_TEXT if texts.are_in(shape.message) else shape.message
        rest = RunFailedShape(shape.finished_at, shape.code, message)
    elif isinstance(shape, RunFinishedShape) and texts.are_in_json(bytes(shape.outcome)):
        kept = {name: Raw(text) for name, text in split_fields(bytes(shape.outcome)).items() if name != "skipped"}
        rest = RunFinishedShape(shape.finished_at, Raw(encode(kept)))
    else:
        return None
    return None if encode(rest) == encode(shape) else rest


def _fields_of(side: Raw) -> dict[str, bytes] | None:
    """None: it has no such side, or one that was not known."""
    text = bytes(side)
    return None if text in (b"", b"null") else split_fields(text)


def _without(side: Raw, fields: dict[str, bytes] | None, gone: Collection[str]) -> Raw:
    if fields is None:
        return side
    return Raw(join_fields({name: text for name, text in fields.items() if name not in gone}))


def _kept(values: dict[str, Raw], fields: frozenset[str] | None) -> dict[str, Raw]:
    return {} if fields is None else {name: raw for name, raw in values.items() if name not in fields}


def _structure_of(details: Raw) -> Raw:
    """What undos wrote into a change's details and need again, without any text."""
    if not bytes(details):
        return NOTHING
    found = split_fields(bytes(details))
    kept: dict[str, Any] = {name: Raw(text) for name, text in found.items() if name == "recreated_as"}
    if "undo" in found:
        with suppress(msgspec.MsgspecError):  # a producer's own member of this name
            kept["undo"] = _without_texts(_VERDICTS.decode(found["undo"]))
    return Raw(encode(kept)) if kept else NOTHING


def _without_texts(verdicts: Verdicts) -> Verdicts:
    def bare(items: list[StoredItem]) -> list[StoredItem]:
        return [msgspec.structs.replace(item, message=None) for item in items]

    return msgspec.structs.replace(
        verdicts, skipped=bare(verdicts.skipped), noop=bare(verdicts.noop), failed=bare(verdicts.failed)
    )
