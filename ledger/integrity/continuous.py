"""Verifying the logs of all accounts again and again, beside everything else, at a low rate.

The account that was verified longest ago is next, so that a process that is started anew goes on with the accounts it
had not come to; one that was asked for comes first. A log that was half verified when the process ended is begun anew:
nothing that was computed is kept in the database, for whoever alters the log could alter that too.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Event
from uuid import UUID

from ledger.access import Account
from ledger.errors import LedgerError, Unavailable
from ledger.integrity.states import (
    LogState,
    Verification,
    ask_verification,
    read_asked,
    read_log_states,
    read_verification,
    write_verification,
)
from ledger.integrity.verifying import OnProgress, Verdict
from ledger.store.database import Database
from ledger.store.leases import give_lease_back, take_lease

log = logging.getLogger(__name__)

VERIFY_EVERY_S = 3_600.0
"""How long an account is left alone after it was verified."""
BEGIN_AFTER_S = 60.0
"""A process that just began has other work to do; what was asked for is verified at once."""
POLL_S = 2.0
LEASE_S = 120.0
WORK_SHARE = 0.25
"""Of the time, this much is work; the rest is left to others. What was asked for does not wait."""
WAIT_MAX_S = 5.0
_PURPOSE = "verify"

Verify = Callable[[Account, OnProgress], Verdict]
"""Verifies one account's log; told of progress between transactions."""


class _Stopped(Exception):
    """The process ends, or another one took over."""


class AccountVerification:
    """The verifications of one account by the service."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database = database
        self._account_id = account_id

    def last(self) -> Verification:
        """What the last one found, and whether another was asked for."""
        with self._database.transaction(self._account_id) as connection:
            return read_verification(connection, self._account_id)

    def ask(self) -> Verification:
        """Has the log verified as soon as a process that verifies comes to it."""
        with self._database.transaction(self._account_id) as connection:
            ask_verification(connection, self._account_id)
            return read_verification(connection, self._account_id)


class ContinuousVerification:
    """Verifies the logs of all accounts. Any number may run."""

    def __init__(self, database: Database, verify: Verify, *, begin_after_s: float = BEGIN_AFTER_S) -> None:
        self._database = database
        self.verify = verify
        self._holder = f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._not_before = time.monotonic() + begin_after_s
        self._leased_until = 0.0

    def follow(self, stop_event: Event) -> None:
        """Verifies until `stop_event` is set. Outlives the database."""
        while not stop_event.is_set():
            try:
                self.look_once(stop_event)
            except Unavailable as error:
                log.warning("verifying waits for the database: %s", error)
            stop_event.wait(POLL_S)

    def look_once(self, stop_event: Event) -> None:
        """Verifies the accounts that were asked for, else the one that is due and was verified longest ago."""
        with self._database.connection() as connection:
            asked = read_asked(connection)
            states = {each.account_id: each for each in read_log_states(connection)}
        due = [states[account_id] for account_id in asked if account_id in states]
        if not due and time.monotonic() >= self._not_before:
            due = sorted(filter(_is_due, states.values()), key=_longest_ago)[:1]
        for each in due:
            if not stop_event.is_set():
                self._verify_account(each, stop_event, share=1.0 if asked else WORK_SHARE)

    def _verify_account(self, state: LogState, stop_event: Event, *, share: float) -> None:
        if not self._take_lease(state.account_id):
            return
        began_at, worked_since = datetime.now(UTC), time.monotonic()

        def go_on(_done: int, _all: int) -> None:
            nonlocal worked_since
            rest = (time.monotonic() - worked_since) * (1 / share - 1)
            if stop_event.wait(min(rest, WAIT_MAX_S)) or not self._keep_lease(state.account_id):
                raise _Stopped
            worked_since = time.monotonic()

        try:
            self._tell(state, began_at, self._verdict(Account(state.account_id, state.account, state.head), go_on))
        except _Stopped:
            return
        finally:
            with self._database.transaction(state.account_id) as connection:
                give_lease_back(connection, state.account_id, _PURPOSE, self._holder)

    def _verdict(self, account: Account, go_on: OnProgress) -> Verdict:
        """What is found twice: what was signed or erased in that moment is no alteration."""
        try:
            verdict = self.verify(account, go_on)
            return self.verify(account, go_on) if verdict.findings else verdict
        except Unavailable:
            raise
        except LedgerError as error:
            verdict = Verdict()
            verdict.add("unverifiable", error.message)
            return verdict

    def _tell(self, state: LogState, began_at: datetime, verdict: Verdict) -> None:
        if verdict.findings:
            first = verdict.findings[0]
            where = "" if verdict.first_position is None else f" from position {verdict.first_position} on"
            log.error("the log of account %s is not as it was recorded%s: %s", state.account, where, first.detail)
        with self._database.transaction(state.account_id) as connection:
            write_verification(connection, state.account_id, began_at, verdict.as_dict())

    def _keep_lease(self, account_id: UUID) -> bool:
        return time.monotonic() < self._leased_until - LEASE_S / 2 or self._take_lease(account_id)

    def _take_lease(self, account_id: UUID) -> bool:
        with self._database.transaction(account_id) as connection:
            taken = take_lease(connection, account_id, _PURPOSE, self._holder, seconds=LEASE_S)
        self._leased_until = time.monotonic() + LEASE_S
        return taken


def _is_due(state: LogState) -> bool:
    return state.signed > 0 and (state.verified_s is None or state.verified_s > VERIFY_EVERY_S)


def _longest_ago(state: LogState) -> tuple[bool, float]:
    return state.verified_s is not None, -(state.verified_s or 0.0)
