"""What an edited report selects, and its cells that differ from the ledger, for people."""

from __future__ import annotations

from typing import TYPE_CHECKING, BinaryIO

from cli.output import write_table

if TYPE_CHECKING:
    from projections.reports.edited import EditedReport

SHOWN_MAX = 20


def show_edited(stream: BinaryIO, edited: EditedReport) -> None:
    """How much is left of the report, then what differs: the first of each kind, and how many there are."""
    _say(stream, f"The report has {edited.rows:,} rows left; values come from the ledger, not from its cells.")
    if edited.differing_count:
        _say(stream, f"{edited.differing_count:,} cells differ from the ledger, whose values are taken:")
        cells = edited.differing[:SHOWN_MAX]
        rows = [(c.place, f"{c.object_type}/{c.record_id}", c.column, c.found, c.expected) for c in cells]
        write_table(stream, ("Where", "Record", "Column", "The cell", "The ledger"), rows)
        _say_more(stream, edited.differing_count - len(rows))
    if edited.unknown_count:
        _say(stream, f"{edited.unknown_count:,} rows name no record that the run changed, and select nothing:")
        unknown = edited.unknown[:SHOWN_MAX]
        write_table(stream, ("Where", "Record"), [(row.place, row.record_id) for row in unknown])
        _say_more(stream, edited.unknown_count - len(unknown))
    if edited.unknown_columns:
        names = ", ".join(edited.unknown_columns[:SHOWN_MAX])
        _say(stream, f"Columns of no field that the run knows, which select nothing: {names}")


def _say(stream: BinaryIO, text: str) -> None:
    stream.write(text.encode("utf-8", "replace") + b"\n")


def _say_more(stream: BinaryIO, number: int) -> None:
    if number > 0:
        _say(stream, f"… and {number:,} more")
