"""The channel straight into a ledger in this process: for programs that stand beside the database, and for tests."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ledger.sending.channel import Started
from ledger.service import AccountLedger
from ledger.wire.runs import parse_fail, parse_start_run, run_summary


class LocalChannel:
    """The account's use cases as a Channel; the same rules and errors as over HTTP. Nothing is tried again here."""

    def __init__(self, ledger: AccountLedger) -> None:
        self._ledger = ledger

    def start_run(self, facts: bytes) -> Started:
        command = parse_start_run(facts)
        run = self._ledger.start_run(command.operation, run_id=command.run_id, started_at=command.started_at).run
        return Started(run.run_id, run.stamp_run_id, run.accepted)

    def send_changes(self, run_id: str, offset: int, lines: bytes) -> int:
        return self._ledger.record_changes(run_id, [lines], offset=offset).accepted

    def finish_run(self, run_id: str) -> Mapping[str, Any]:
        return run_summary(self._ledger.finish_run(run_id).run)

    def fail_run(self, run_id: str, code: str, message: str) -> Mapping[str, Any]:
        command = parse_fail({"code": code, "message": message})
        return run_summary(self._ledger.fail_run(run_id, command.code, command.message).run)

    def close(self) -> None:
        """Nothing to let go: the database belongs to whoever opened it."""
