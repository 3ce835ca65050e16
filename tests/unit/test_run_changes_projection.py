"""The fold of run_changes: which fields changed, and in which blocks of positions a value occurs."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec import Raw

from ledger.domain.operation import Operation, Saved
from ledger.store.shapes import RecordShape, RunStartedShape
from projections.events.batch import ERASED, Batch, Change, StoredRow
from projections.run_changes.projection import BLOCK_POSITIONS, Block, action_of, changed_fields, fold

START = RunStartedShape(Operation(template=Saved(name="Tidy")), datetime(2026, 1, 1, tzinfo=UTC))


def a_change(position: int, shape: RecordShape, topic: str = "record-updated") -> Change:
    return Change(StoredRow(position, bytes(16), topic, "r", position, bytes(8), b""), shape)


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (b'{"a":1,"b":2}', b'{"b":2,"a":10}', ("a",)),
        (b'{"a":1}', b'{"a":1.0}', ("a",)),  # the digits differ, so the value does
        (b'{"gone":1}', b'{"new":null}', ("gone", "new")),
        (b"null", b'{"z":1,"a":2}', ("a", "z")),
        (b"", b'{"a":1}', ("a",)),
        (b'{"a":1}', b"", ("a",)),
        (b"{}", b'{"a":1}', ("a",)),
        (b"", b"", ()),
        (b"", b'{"x\\u0000y":1}', ("x\ufffdy",)),
    ],
)
def test_changed_fields_are_those_whose_text_differs(before: bytes, after: bytes, expected: tuple[str, ...]) -> None:
    assert changed_fields(RecordShape("contact", "1", None, Raw(before), Raw(after))) == expected


def test_blocks_name_each_value_once_in_each_block_of_positions() -> None:
    shape = RecordShape("contact", "1", after=Raw(b'{"a":1}'), actor="Ann")
    changes = [a_change(5, shape), a_change(6, shape), a_change(BLOCK_POSITIONS, shape, "record-failed")]
    rows = fold(Batch(BLOCK_POSITIONS, changes, [], {"r": START}))
    both = {("field", "a"), ("object_type", "contact"), ("user", "Ann"), ("template", "Tidy")}
    assert rows.blocks == {Block(*each, block) for each in both for block in (0, 1)} | {Block("failed_run", "r", 1)}
    assert [fields for _, fields in rows.changes] == [("a",)] * 3


def test_erased_change_keeps_its_row_and_nothing_else() -> None:
    rows = fold(Batch(1, [a_change(1, ERASED)], [], {"r": START}))
    assert rows.changes == [(a_change(1, ERASED), ())]


def test_action_is_the_producers_word_or_the_topics() -> None:
    assert action_of(a_change(1, RecordShape("contact", "1"), "record-deleted")) == "delete"
    assert action_of(a_change(1, RecordShape("contact", "1", "merge"))) == "merge"
