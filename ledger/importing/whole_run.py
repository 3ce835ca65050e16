"""A run of one batch, recorded in one transaction from its start to its end: six times fewer round trips than step by
step. Its events are the same, in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from eventsourcing.persistence import IntegrityError

from ledger.domain.run import Run
from ledger.errors import RunExists
from ledger.ids import check_run_id, run_stream_id
from ledger.recording import batch_events
from ledger.store.event_store import AccountStore
from ledger.store.mapper import to_new_event
from ledger.store.rows import NewEvent
from ledger.wire.changes import Lines
from ledger.wire.run_document import RunDocument


def record_whole_run(store: AccountStore, run_id: str, document: RunDocument, lines: Lines, now: datetime) -> None:
    """Records the run of `document` with all its `lines`: everything or nothing.

    Raises RunExists where a run has this Run ID, whatever its content, and BadLine.
    """
    number = 2 + (len(lines.texts) + 1 if lines.texts else 0)
    try:
        store.recorder.append_blocks(number, _events(store, check_run_id(run_id), document, lines, now))
    except IntegrityError as error:
        raise RunExists(f"Run {run_id} is there already.", run_id=run_id) from error


def _events(
    store: AccountStore, run_id: str, document: RunDocument, lines: Lines, now: datetime
) -> Iterator[list[NewEvent]]:
    run = Run.start(
        run_stream_id(store.account_id, run_id),
        run_id=run_id,
        operation=document.operation,
        started_at=document.started_at or now,
        timestamp=now,
        digest=document.digest,
    )
    yield _pending(run)
    if lines.texts:
        run.check_offset(0)
        yield from batch_events(store.account_id, run, lines, now)
    finished_at = document.finished_at or now
    if document.error is None:
        run.finish(finished_at, now)
    else:
        run.fail(document.error.code, document.error.message, finished_at, now)
    yield _pending(run)


def _pending(run: Run) -> list[NewEvent]:
    return [to_new_event(event) for event in run.collect_events()]  # type: ignore[arg-type]
