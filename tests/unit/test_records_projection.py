"""The fold of records: what a batch tells of each record."""

from __future__ import annotations

from ledger.store.shapes import RecordShape
from projections.events.batch import ERASED, Batch, Change, StoredRow
from projections.records.projection import RecordRow, RecordRows, fold

STREAM = bytes(range(16))


def folded(*changes: tuple[str, RecordShape]) -> RecordRows:
    """Of (topic, shape) at the positions 1, 2, 3 ..., each in a run of its own."""
    rows = [
        Change(StoredRow(position, STREAM, topic, f"run-{position}", 1, bytes(8), b""), shape)
        for position, (topic, shape) in enumerate(changes, start=1)
    ]
    return fold(Batch(len(rows), rows, [], {}))


def test_last_change_and_last_label_win() -> None:
    found = folded(
        ("record-created", RecordShape("contact", "1", label="a@x")),
        ("record-updated", RecordShape("contact", "1")),
        ("record-failed", RecordShape("contact", "1")),
    )
    assert found == {("contact", "1"): RecordRow(STREAM, 1, 3, 2, True, "run-3", "a@x")}


def test_deleted_record_is_not_present_and_one_only_looked_at_is_unknown() -> None:
    found = folded(
        ("record-deleted", RecordShape("contact", "1")),
        ("record-unmodified", RecordShape("contact", "2")),
    )
    assert found == {
        ("contact", "1"): RecordRow(STREAM, 1, 1, 1, False, "run-1", None),
        ("contact", "2"): RecordRow(STREAM, 2, 2, None, None, "run-2", None),
    }


def test_previews_failures_without_record_and_erased_changes_tell_of_no_record() -> None:
    found = folded(
        ("record-updated", RecordShape("contact", "1", preview=True)),
        ("record-failed", RecordShape("contact", None)),
        ("record-updated", ERASED),
    )
    assert found == {}
