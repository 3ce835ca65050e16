"""Following the log: one worker's loop over all accounts.

Looking at the accounts' heads is what tells that there is work; a notification only wakes the loop earlier. A worker
takes an account by a lease, which saves double work and nothing else: the tracking positions keep the rows right.
"""

from __future__ import annotations

import logging
import os
import secrets
import socket
import time
from collections.abc import Callable, Sequence
from threading import Event
from typing import Any
from uuid import UUID

import psycopg

from ledger.errors import LedgerError, Unavailable
from ledger.store.database import CHANNEL, Database
from ledger.store.leases import give_lease_back, take_lease
from projections.account import AccountProjections
from projections.events.postgres import BATCH_EVENTS
from projections.port import Projection
from projections.progress import read_heads
from projections.rebuild import sweep
from projections.registry import FOLLOWERS

log = logging.getLogger(__name__)

POLL_S = 0.25
"""How often the heads are looked at while no notification comes."""
LEASE_S = 30.0
"""After this long without renewal an account goes to another worker."""
SWEEP_S = 60.0
"""How often rows of retired generations are looked for."""
ACCOUNTS_KEPT_MAX = 1_000
"""Accounts that a worker remembers the runs of."""
_PURPOSE = "follow"
_DAILY = "every-day"
DAY_S = 86_400.0


def project_once(
    database: Database,
    account_id: UUID,
    *,
    projections: Sequence[Projection[Any]] = FOLLOWERS,
    batch_events: int = BATCH_EVENTS,
) -> int:
    """Moves an account's projections on to its head, whoever else may be at it. The position that all have reached."""
    return AccountProjections(database, account_id, projections, batch_events=batch_events).catch_up()


class Follower:
    """One worker. Several may run, in one process or in many."""

    def __init__(
        self,
        database: Database,
        *,
        projections: Sequence[Projection[Any]] = FOLLOWERS,
        holder: str | None = None,
        lease_s: float = LEASE_S,
        every_day: Callable[[UUID], object] | None = None,
    ) -> None:
        self._database = database
        self._projections = projections
        self._holder = holder or f"{socket.gethostname()}/{os.getpid()}/{secrets.token_hex(4)}"
        self._lease_s = lease_s
        self._accounts: dict[UUID, AccountProjections] = {}
        self._reached: dict[UUID, int] = {}
        self._swept_at = time.monotonic()
        self._every_day = every_day

    def follow(self, stop_event: Event) -> None:
        """Follows all accounts until `stop_event` is set; the batch under way is finished. Outlives the database."""
        while not stop_event.is_set():
            try:
                self._follow_connected(stop_event)
            except (Unavailable, psycopg.OperationalError) as error:
                log.warning("the projections wait for the database: %s", error)
                stop_event.wait(POLL_S)

    def look_once(self, stop_event: Event | None = None) -> None:
        """Works on each account that has new events and that no other worker holds."""
        for account_id, _, head in read_heads(self._database):
            if stop_event is not None and stop_event.is_set():
                return
            if head > self._reached.get(account_id, -1):
                self._work(account_id, head, stop_event or Event())

    def _follow_connected(self, stop_event: Event) -> None:
        with psycopg.connect(self._database.conninfo, autocommit=True, application_name="ledger projections") as heard:
            heard.execute(f"LISTEN {CHANNEL}")
            while not stop_event.is_set():
                self.look_once(stop_event)
                self._sweep_now_and_then()
                for _ in heard.notifies(timeout=POLL_S, stop_after=1):
                    pass

    def _work(self, account_id: UUID, head: int, stop_event: Event) -> None:
        """Catches up with one account under the lease. What it could not reach is not tried before the head moves."""
        if not self._take_lease(account_id):
            return
        renewed_at = time.monotonic()

        def go() -> bool:
            nonlocal renewed_at
            if stop_event.is_set():
                return False
            if time.monotonic() - renewed_at > self._lease_s / 3:
                renewed_at = time.monotonic()
                return self._take_lease(account_id)
            return True

        try:
            self._account(account_id).catch_up(go)
            if not stop_event.is_set():
                self._reached[account_id] = head
        finally:
            with self._database.transaction(account_id) as connection:
                give_lease_back(connection, account_id, _PURPOSE, self._holder)

    def _take_lease(self, account_id: UUID) -> bool:
        with self._database.transaction(account_id) as connection:
            return take_lease(connection, account_id, _PURPOSE, self._holder, seconds=self._lease_s)

    def _account(self, account_id: UUID) -> AccountProjections:
        if account_id not in self._accounts:
            while len(self._accounts) >= ACCOUNTS_KEPT_MAX:
                self._accounts.pop(next(iter(self._accounts)))
            self._accounts[account_id] = AccountProjections(self._database, account_id, self._projections)
        return self._accounts[account_id]

    def _sweep_now_and_then(self) -> None:
        if time.monotonic() - self._swept_at > SWEEP_S:
            self._swept_at = time.monotonic()
            for account_id, _, _ in read_heads(self._database):
                sweep(self._database, account_id, projections=self._projections)
                self._do_daily(account_id)

    def _do_daily(self, account_id: UUID) -> None:
        """Once a day for each account, whoever comes first: a lease of a day that is not given back. What fails is
        told and tried again the next day; the views go on."""
        if self._every_day is None:
            return
        with self._database.transaction(account_id) as connection:
            if not take_lease(connection, account_id, _DAILY, secrets.token_hex(8), seconds=DAY_S):
                return
        try:
            self._every_day(account_id)
        except LedgerError as error:
            log.warning("the daily work on account %s was not done: %s", account_id, error)
