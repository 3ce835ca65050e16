"""Reports as NDJSON: each change as every interface shows it, one a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import msgspec

from ledger.store.rows import EventRow
from projections.run_changes.decoding import decode_change

ROWS = 200
"""Changes encoded at once, some 64 kB of ordinary ones."""

_ENCODER = msgspec.json.Encoder()


def write_ndjson(pieces: Iterable[list[EventRow]]) -> Iterator[bytes]:
    """The report in blocks."""
    for rows in pieces:
        for start in range(0, len(rows), ROWS):
            yield _ENCODER.encode_lines([decode_change(row).as_dict() for row in rows[start : start + ROWS]])
