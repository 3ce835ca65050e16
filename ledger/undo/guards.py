"""What stands around an undo: the two-person rule, cancelling, and one process at a time."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import NamedTuple
from uuid import UUID, uuid4

from ledger.errors import Conflict, InputError, LedgerError, NotPermitted, Problem
from ledger.store.database import Database

LEASE_S, RENEW_S = 6.0, 1.5
"""A process that has not renewed its lease for so long has died: the undo is interrupted, and another may resume it."""


class ApprovalNeeded(NotPermitted):
    """A second person must approve this undo's plan."""

    code = "approval_needed"
    title = "A second person must approve"


class Approvals(NamedTuple):
    """The two-person rule of one account."""

    database: Database
    account_id: UUID

    def threshold(self) -> int | None:
        """Undos that write more records than this need a second person; None: none does."""
        with self.database.transaction(self.account_id) as connection:
            row = connection.execute("SELECT approval_above FROM undo_options").fetchone()
        return row[0] if row else None

    def set_threshold(self, records: int | None) -> None:
        """Sets or (None) lifts the rule. Raises InputError."""
        if records is not None and records < 0:
            problem = Problem("Not a number of records.", found=str(records), expected="0 or more")
            raise InputError("The rule needs a number of records, 0 or more.", problems=(problem,))
        with self.database.transaction(self.account_id) as connection:
            connection.execute(
                "INSERT INTO undo_options (account_id, approval_above) VALUES (ledger_current_account(), %s)"
                " ON CONFLICT (account_id) DO UPDATE SET approval_above = excluded.approval_above",
                (records,),
            )

    def approve(self, plan_digest: str, who: str) -> None:
        """`who` approves the plan with this digest. Raises InputError for what is no digest."""
        if not re.fullmatch("[0-9a-f]{64}", plan_digest):
            problem = Problem("Not a digest.", found=repr(plan_digest[:80]), expected="the 64 characters of a plan")
            raise InputError("That is no digest of a plan. The plan names its own, 64 characters.", problems=(problem,))
        with self.database.transaction(self.account_id) as connection:
            connection.execute(
                "INSERT INTO undo_approvals (account_id, plan_digest, approved_by)"
                " VALUES (ledger_current_account(), %s, %s) ON CONFLICT DO NOTHING",
                (plan_digest, who),
            )

    def require(self, plan_digest: str, records: int, who: str | None) -> None:
        """Raises ApprovalNeeded unless the plan is small enough or somebody else approved it."""
        threshold = self.threshold()
        if threshold is None or records <= threshold:
            return
        with self.database.transaction(self.account_id) as connection:
            approvers = connection.execute(
                "SELECT approved_by FROM undo_approvals WHERE plan_digest = %s", (plan_digest,)
            ).fetchall()
        if not any(approver != (who or "") for (approver,) in approvers):
            raise ApprovalNeeded(
                f"This undo writes {records} records; above {threshold} a second person must approve its plan. "
                f"Have another operator approve the digest {plan_digest}, and send the undo again with it.",
                plan_digest=plan_digest, records=records, threshold=threshold,
            )  # fmt: skip


def lease_purpose(undo_id: str) -> str:
    """The purpose of the lease that a process has while it carries out an undo."""
    return f"undo/{undo_id}"


class Hold:
    """One process carries out an undo at a time: a lease, renewed while it works, and the wish to cancel."""

    def __init__(self, database: Database, account_id: UUID, undo_id: str) -> None:
        self._database, self._account_id, self._undo_id = database, account_id, undo_id
        self._values = {"purpose": lease_purpose(undo_id), "holder": str(uuid4()), "lease_s": LEASE_S}

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Has the lease within this, renewed from a thread of its own: a batch may take any time, a target that
        throttles too. Raises Conflict where another process has it."""
        self.take()
        done = Event()
        thread = Thread(target=self._renew_until, args=(done,), name=f"hold-{self._undo_id}", daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self.release()

    def _renew_until(self, done: Event) -> None:
        while not done.wait(RENEW_S):
            try:
                self.take()
            except LedgerError:
                continue  # whoever carries the undo out takes the lease after each batch too, and is told there

    def take(self) -> None:
        """Takes or renews the lease. Raises Conflict where another process has it."""
        with self._database.transaction(self._account_id) as connection:
            taken = connection.execute(_TAKE, self._values).rowcount
        if not taken:
            raise Conflict(f"Undo {self._undo_id} is being carried out by another process. Wait for its end.")

    def release(self) -> None:
        """Gives the lease back."""
        with self._database.transaction(self._account_id) as connection:
            connection.execute(
                "DELETE FROM leases WHERE purpose = %(purpose)s AND holder = %(holder)s", self._values
            )  # fmt: skip

    def is_cancelled(self) -> bool:
        with self._database.transaction(self._account_id) as connection:
            found = connection.execute("SELECT FROM undo_cancellations WHERE run_id = %s", (self._undo_id,)).fetchone()
        return found is not None

    def cancel(self) -> None:
        """Asks for the undo to stop after the batch under way."""
        with self._database.transaction(self._account_id) as connection:
            connection.execute(
                "INSERT INTO undo_cancellations (account_id, run_id) VALUES (ledger_current_account(), %s)"
                " ON CONFLICT DO NOTHING",
                (self._undo_id,),
            )

    def is_held(self) -> bool:
        """Whether some process carries the undo out now."""
        with self._database.transaction(self._account_id) as connection:
            return (
                connection.execute(
                    "SELECT FROM leases WHERE purpose = %(purpose)s AND expires_at > clock_timestamp()", self._values
                ).fetchone()
                is not None
            )


_TAKE = """
    INSERT INTO leases (account_id, purpose, holder, expires_at) VALUES (
        ledger_current_account(), %(purpose)s, %(holder)s, clock_timestamp() + %(lease_s)s * interval '1 second')
    ON CONFLICT (account_id, purpose) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
    WHERE leases.holder = excluded.holder OR leases.expires_at < clock_timestamp()
"""
