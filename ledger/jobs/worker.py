"""One worker: takes jobs of all accounts, one at a time, and records what came of each.

A job is recorded as ended after its handler returned; a crash in between makes the next worker do it again. So handlers
must be safe to repeat, or say what a repeat means (decision 0011).
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable, Mapping
from threading import Event, Thread
from typing import NamedTuple
from uuid import UUID

from ledger.errors import Unavailable
from ledger.jobs.queue import ATTEMPTS_MAX, DELAYS_S, LEASE_S, AccountJobs, Job, accounts_with_due_jobs
from ledger.store.database import Database

log = logging.getLogger(__name__)

POLL_S = 0.5
"""How often a worker with nothing to do looks for due jobs."""
SWEEP_S = 3_600.0
THREADS = 2
"""So that one slow receiver does not hold up all others."""
JITTER = 0.1
"""Delays are up to this part longer, so that what failed together is not tried again together."""


class Done(NamedTuple):
    """The job is done."""

    outcome: str


class Again(NamedTuple):
    """It did not work this time. `after_s` None: after the usual delay. counts=False: it was not really tried."""

    outcome: str
    after_s: float | None = None
    counts: bool = True


class Dead(NamedTuple):
    """It will never work as it is."""

    outcome: str


Outcome = Done | Again | Dead
Handler = Callable[[UUID, Job], Outcome]
"""Does a job of an account. What it raises counts as Again."""


class Worker:
    """Takes jobs of the kinds that it has handlers for. Several may run, in one process or in many."""

    def __init__(
        self, database: Database, handlers: Mapping[str, Handler], *, lease_s: float = LEASE_S, threads: int = THREADS
    ) -> None:
        self._database = database
        self._handlers = handlers
        self._lease_s = lease_s
        self._threads = threads
        self._swept_at: dict[UUID, float] = {}

    def work(self, stop_event: Event) -> None:
        """Works until `stop_event` is set; jobs under way are finished. Outlives the database."""
        threads = [Thread(target=self._work, args=(stop_event,), name=f"work-{n}") for n in range(self._threads)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def work_once(self) -> int:
        """Does what is due, until nothing is. How many jobs were taken."""
        taken = 0
        while number := self._round(Event()):
            taken += number
        return taken

    def _work(self, stop_event: Event) -> None:
        while not stop_event.is_set():
            try:
                if not self._round(stop_event):
                    stop_event.wait(POLL_S)
            except Unavailable as error:
                log.warning("the jobs wait for the database: %s", error)
                stop_event.wait(POLL_S)

    def _round(self, stop_event: Event) -> int:
        """One job of each account that has any, in a different order each time."""
        accounts = accounts_with_due_jobs(self._database)
        random.shuffle(accounts)
        return sum(self._take_one(account_id) for account_id in accounts if not stop_event.is_set())

    def _take_one(self, account_id: UUID) -> bool:
        jobs = AccountJobs(self._database, account_id)
        self._sweep_now_and_then(account_id, jobs)
        job = jobs.take(self._handlers, lease_s=self._lease_s)
        if job is None:
            return False
        self._record(jobs, job, self._handle(account_id, job))
        return True

    def _handle(self, account_id: UUID, job: Job) -> Outcome:
        if job.attempts > ATTEMPTS_MAX:  # each worker that took it died over it
            return Dead(f"{ATTEMPTS_MAX} attempts ended without an outcome")
        try:
            return self._handlers[job.kind](account_id, job)
        except Unavailable as error:
            return Again(error.message, POLL_S * 10, counts=False)
        except Exception as error:  # whatever it is, the job is tried again and shown
            log.error("job %s of %s failed: %s", job.kind, job.about, error, exc_info=error)
            return Again(f"{type(error).__name__}: {error}")

    def _record(self, jobs: AccountJobs, job: Job, outcome: Outcome) -> None:
        match outcome:
            case Done(text):
                jobs.finish(job, text)
            case Dead(text):
                jobs.bury(job, text)
            case Again(text, after_s, counts) if counts and job.attempts >= ATTEMPTS_MAX:
                jobs.bury(job, text)
            case Again(text, after_s, counts):
                delay_s = delay_of(job.attempts) if after_s is None else after_s
                jobs.put_back(job, text, after_s=delay_s, counts=counts)
        if not isinstance(outcome, Done):
            log.warning("job %s of %s: %s", job.kind, job.about, outcome.outcome)

    def _sweep_now_and_then(self, account_id: UUID, jobs: AccountJobs) -> None:
        now = time.monotonic()
        if now - self._swept_at.get(account_id, float("-inf")) > SWEEP_S:
            self._swept_at[account_id] = now
            jobs.sweep()


def delay_of(attempts: int) -> float:
    """Seconds to wait after this many attempts."""
    return DELAYS_S[min(attempts, len(DELAYS_S)) - 1] * (1 + JITTER * random.random())  # noqa: S311 - no secret
