"""Draining: what capture kept becomes runs of the ledger, in order, each change exactly once.

Only transactions that every later one can see are taken (those before the oldest one still running), so none is missed
that commits late. A batch is recorded first and removed from the outbox afterwards; a crash in between repeats it, and
the ledger's offset makes the repeat harmless.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from itertools import groupby
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec
import psycopg
from msgspec import Raw

from ledger.connectors.port import compose_id
from ledger.connectors.postgres.target import dsn_of
from ledger.domain.operation import Operation, Saved, User
from ledger.errors import RunEnded
from ledger.json_text import canonical, encode, split_fields
from ledger.service import AccountLedger

BATCH_ROWS = 5_000
POLL_S = 0.5
QUIET_S = 60
"""A run that the application named and never finished is finished when nothing came for so long."""

_TAKE = """
    SELECT number, transaction::text, at, run_id, facts, object_type, key_columns, before, after
    FROM ledger_capture.outbox WHERE transaction < pg_snapshot_xmin(pg_current_snapshot())
    ORDER BY number LIMIT %s
"""
_PROGRESS = """
    INSERT INTO ledger_capture.progress (run_id, ledger_run) VALUES (%(run)s, %(ledger_run)s)
    ON CONFLICT (run_id) DO UPDATE SET changed_at = now() RETURNING ledger_run, accepted
"""
_QUIET = """
    DELETE FROM ledger_capture.progress p WHERE changed_at < now() - %s * interval '1 second'
    AND NOT EXISTS (SELECT FROM ledger_capture.outbox o WHERE o.run_id = p.run_id OR 'tx-' || o.transaction = p.run_id)
    RETURNING ledger_run
"""


class Row(NamedTuple):
    """A change as it was captured; before and after are whole rows. No object type: the run's end."""

    number: int
    transaction: str
    at: Any
    run_id: str | None
    facts: str | None
    object_type: str
    key_columns: list[str]
    before: str | None
    after: str | None

    @property
    def run(self) -> str:
        """The run that it belongs to, as this database names it."""
        return self.run_id or f"tx-{self.transaction}"


class Drain:
    """Drains one target's outbox into one account; a context manager."""

    def __init__(self, settings: Mapping[str, Any], target: str, ledger: AccountLedger) -> None:
        self._target, self._ledger = target, ledger
        self._connection = psycopg.connect(dsn_of(settings), autocommit=True, application_name="ledger-drain")
        row = self._connection.execute(
            "SELECT system_identifier::text, (SELECT oid::text FROM pg_database WHERE datname = current_database())"
            " FROM pg_control_system()"
        ).fetchone()
        assert row is not None
        self._database = f"{int(row[0]):x}-{row[1]}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def drain(self) -> int:
        """Records all that can be taken now. Returns the number of changes."""
        number = 0
        while rows := [Row._make(row) for row in self._connection.execute(_TAKE, (BATCH_ROWS,))]:
            for run, some in groupby(rows, key=lambda row: row.run):
                number += self._record(run, list(some))
        for (ledger_run,) in self._connection.execute(_QUIET, (QUIET_S,)).fetchall():
            self._finish(ledger_run)
        return number

    def wait_and_drain(self) -> int:
        """drain, after a moment."""
        time.sleep(POLL_S)
        return self.drain()

    def _record(self, run: str, rows: Sequence[Row]) -> int:
        changes = [line for row in rows if (line := change_line(row)) is not None]
        named = rows[0].run_id is not None
        ledger_run = run if named else f"{self._target}-{self._database}-{run}"
        ledger_run, accepted = self._connection.execute(
            _PROGRESS, {"run": run, "ledger_run": ledger_run}
        ).fetchone() or (ledger_run, 0)
        ledger_run = self._start(run, ledger_run, rows[0])
        if changes:
            try:
                self._ledger.record_changes(ledger_run, [b"\n".join(changes)], offset=accepted)
            except RunEnded:
                self._check_repeated(ledger_run, accepted + len(changes))
        with self._connection.transaction():
            self._connection.execute(
                "DELETE FROM ledger_capture.outbox WHERE number = ANY(%s)", ([row.number for row in rows],)
            )
            self._connection.execute(
                "UPDATE ledger_capture.progress SET accepted = %s, changed_at = now() WHERE run_id = %s",
                (accepted + len(changes), run),
            )
        if any(not row.object_type for row in rows) or (not named and self._is_drained(rows[0].transaction)):
            self._finish(ledger_run)
            self._connection.execute("DELETE FROM ledger_capture.progress WHERE run_id = %s", (run,))
        return len(changes)

    def _start(self, run: str, ledger_run: str, row: Row) -> str:
        """Starts the run in the ledger, if need be. A name whose run has ended gets a number behind it."""
        candidate = ledger_run
        for number in range(2, 10_000):
            found = self._ledger.store.find_run(candidate)
            if found is None:
                self._ledger.start_run(_operation(row, self._target), run_id=candidate, started_at=row.at)
            elif found.status != "running" and row.run_id is not None and found.operation.target == self._target:
                known = self._connection.execute(
                    "SELECT accepted FROM ledger_capture.progress WHERE run_id = %s", (run,)
                ).fetchone()
                if known is None or known[0] == 0:
                    candidate = f"{ledger_run}~{number}"
                    continue
            self._connection.execute(
                "UPDATE ledger_capture.progress SET ledger_run = %s WHERE run_id = %s", (candidate, run)
            )
            return candidate
        return candidate

    def _check_repeated(self, ledger_run: str, needed: int) -> None:
        """A run that ended has these changes already, or the outbox keeps them."""
        run = self._ledger.store.load_run(ledger_run)
        if run.accepted < needed:
            raise RunEnded(
                f"Run {ledger_run} has ended with {run.accepted} changes, and {needed - run.accepted} more were "
                "captured for it. Give the next run another ledger.run_id.",
                run_id=ledger_run,
            )

    def _is_drained(self, transaction: str) -> bool:
        return (
            self._connection.execute(
                "SELECT FROM ledger_capture.outbox WHERE transaction = %s::text::xid8 AND run_id IS NULL LIMIT 1",
                (transaction,),
            ).fetchone()
            is None
        )

    def _finish(self, ledger_run: str) -> None:
        run = self._ledger.store.find_run(ledger_run)
        if run is not None and run.status == "running":
            self._ledger.finish_run(ledger_run)


def change_line(row: Row) -> bytes | None:
    """A captured change as a line of changes; None: it is none."""
    if not row.object_type:
        return None
    before, after = _fields(row.before), _fields(row.after)
    record_id = compose_id([(after or before or {}).get(name) for name in row.key_columns])
    if before is not None and after is not None:
        changed = [name for name in after if before.get(name) != after[name]]
        before, after = {name: before[name] for name in changed}, {name: after[name] for name in changed}
        action = "update" if changed else "none"
    else:
        action = "create" if before is None else "delete"
    line: dict[str, Any] = {
        "object_type": row.object_type, "record_id": record_id, "action": action, "occurred_at": row.at.isoformat(),
    }  # fmt: skip
    if before is not None and action != "none":
        line["before"] = {name: Raw(text) for name, text in before.items()}
    if after is not None and action != "none":
        line["after"] = {name: Raw(text) for name, text in after.items()}
    return encode(line)


def _fields(text: str | None) -> dict[str, bytes] | None:
    return None if text is None else split_fields(canonical(text.encode()))


def _operation(row: Row, target: str) -> Operation:
    facts: dict[str, str] = msgspec.json.decode(row.facts) if row.facts else {}
    template = facts.get("template")
    return Operation(
        module="capture",
        trigger="automated" if facts.get("trigger") == "automated" else "manual",
        object_type=row.object_type or None,
        template=None if template is None else Saved(name=template),
        user=User(name=facts.get("user")),
        target=target,
    )
