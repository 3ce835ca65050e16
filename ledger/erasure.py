"""Erasing personal data: the fact that it was erased, as an event of the record's own.

From then on neither states nor undos show or use what was erased.
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger.domain.operation import Operation
from ledger.domain.record import RecordErased
from ledger.domain.tally import Tally
from ledger.ids import record_stream_id
from ledger.json_text import encode
from ledger.service import AccountLedger, utc_now
from ledger.store.mapper import to_new_event


def erase_record(
    ledger: AccountLedger, object_type: str, record_id: str, *, fields: Sequence[str] | None, reason: str
) -> int:
    """Records that some fields of a record (None: all of it) were erased. Returns the event's position."""
    operation = Operation(module="erasure", object_type=object_type, message=reason)
    run = ledger.start_run(operation).run
    event = RecordErased(
        record_stream_id(ledger.account_id, object_type, record_id), 0, run.run_id, 1, object_type, record_id, "erase",
        encode(dict.fromkeys(fields or ())), None, None, None,
        details=encode({"whole": True}) if fields is None else None,
    )  # fmt: skip
    run.record_changes(0, Tally(other=1), utc_now())
    run.finish(utc_now(), utc_now())
    return ledger.store.save(run, [to_new_event(event)]).first
