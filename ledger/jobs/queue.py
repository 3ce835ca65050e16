"""The jobs of one account: added once, taken by one worker at a time, tried again, dead at last.

A job's id is made of what it is for, so adding it again adds nothing. Taking it moves `due_at` on by the lease: a
worker that dies leaves it to the next one by doing nothing. `attempts` rises with each taking, so a worker that comes
back after its lease cannot record over the one that took its place.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any, Literal, NamedTuple, get_args
from uuid import UUID

import msgspec

from ledger.errors import Conflict, InputError, NotFound, Problem
from ledger.store.database import Database

LEASE_S = 300.0
"""Longer than any attempt may take: those that send have time limits of their own, well below it."""
DELAYS_S = (5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Between attempts, as Standard Webhooks advises: soon at first, over three days in all."""
ATTEMPTS_MAX = len(DELAYS_S) + 1
KEPT_DAYS = 30
"""How long jobs that are done stay to be looked up. Dead ones stay until somebody tries or forgets them."""
OUTCOME_CHARACTERS_MAX = 1_000
LISTED_MAX = 500

JobState = Literal["waiting", "done", "dead"]
JOB_STATES: tuple[JobState, ...] = get_args(JobState)
Connection = Any
"""psycopg's, in a transaction bound to the account; this file does without the driver."""


class NewJob(NamedTuple):
    """A job to be added."""

    job_id: UUID
    kind: str
    about: str
    payload: dict[str, Any]


class Job(NamedTuple):
    """A job as a worker holds it."""

    job_id: UUID
    kind: str
    about: str
    payload: dict[str, Any]
    attempts: int
    """This attempt counted in: 1 at first."""


class JobRow(NamedTuple):
    """A job as lists show it."""

    job_id: UUID
    kind: str
    about: str
    payload: dict[str, Any]
    state: JobState
    attempts: int
    due_at: datetime
    created_at: datetime
    ended_at: datetime | None
    outcome: str | None

    def as_dict(self) -> dict[str, Any]:
        """JSON values; instants as RFC 3339 text. `due_at` is null once it has ended."""
        return {
            "job_id": str(self.job_id),
            "kind": self.kind,
            "about": self.about,
            "recipient": self.payload.get("recipient"),
            "rule_id": self.payload.get("rule_id"),
            "state": self.state,
            "attempts": self.attempts,
            "due_at": self.due_at.isoformat() if self.state == "waiting" else None,
            "created_at": self.created_at.isoformat(),
            "ended_at": self.ended_at and self.ended_at.isoformat(),
            "outcome": self.outcome,
        }


def add_jobs(connection: Connection, account_id: UUID, jobs: Iterable[NewJob]) -> None:
    """Adds those that are not there, in the caller's transaction."""
    for job in jobs:
        values = job._asdict() | {"account_id": account_id, "payload": msgspec.json.encode(job.payload)}
        connection.execute(_ADD, values)


class AccountJobs:
    """The queue of one account."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database = database
        self._account_id = account_id

    def take(self, kinds: Iterable[str], *, lease_s: float = LEASE_S) -> Job | None:
        """The job that has been due longest, for as long as the lease; None: nothing is due."""
        values = {"account_id": self._account_id, "kinds": list(kinds), "lease_s": lease_s}
        with self._database.transaction(self._account_id) as connection:
            row = connection.execute(_TAKE, values).fetchone()
        if row is None:
            return None
        return Job(row[0], row[1], row[2], msgspec.json.decode(bytes(row[3])), row[4])

    def finish(self, job: Job, outcome: str) -> bool:
        """Done. False: the lease was lost, another worker has it."""
        return self._end(job, "done", outcome)

    def bury(self, job: Job, outcome: str) -> bool:
        """Dead: it is not tried again unless somebody asks for it."""
        return self._end(job, "dead", outcome)

    def put_back(self, job: Job, outcome: str, *, after_s: float, counts: bool = True) -> bool:
        """To be tried again after a while. counts=False: this was no attempt."""
        values = self._values(job, outcome) | {"after_s": after_s, "uncounted": 0 if counts else 1}
        with self._database.transaction(self._account_id) as connection:
            return bool(connection.execute(_PUT_BACK, values).rowcount)

    def revive(self, job_id: str) -> JobRow:
        """Makes a job due now, with all its attempts before it again: a dead one, or one that waits for its next.

        Raises NotFound, Conflict for one that is done.
        """
        values = {"account_id": self._account_id, "job_id": _parse_id(job_id)}
        with self._database.transaction(self._account_id) as connection:
            row = connection.execute(_REVIVE, values).fetchone()
            if row is None and connection.execute(_EXISTS, values).fetchone():
                raise Conflict(f"Job {job_id} is done: it is not repeated.")
        if row is None:
            raise NotFound(f"There is no job {job_id} in this account. List them with `ledger jobs list`.")
        return _row(row)

    def forget(self, job_id: str) -> None:
        """Removes a dead job. Raises NotFound."""
        values = {"account_id": self._account_id, "job_id": _parse_id(job_id)}
        with self._database.transaction(self._account_id) as connection:
            if not connection.execute(_FORGET, values).rowcount:
                raise NotFound(f"There is no dead job {job_id} in this account. List them with `ledger jobs list`.")

    def list(self, state: str | None = None, *, limit: int = LISTED_MAX) -> list[JobRow]:
        """The newest first. Raises InputError for an unknown state."""
        if state is not None and state not in JOB_STATES:
            expected = ", ".join(JOB_STATES)
            problem = Problem("Unknown state.", parameter="state", found=repr(state[:40]), expected=expected)
            raise InputError(f"There is no job state {state[:40]!r}. Expected {expected}.", problems=(problem,))
        values = {"account_id": self._account_id, "state": state, "limit": limit}
        with self._database.transaction(self._account_id) as connection:
            return [_row(row) for row in connection.execute(_LIST, values)]

    def sweep(self) -> int:
        """Removes jobs that were done long ago. How many."""
        with self._database.transaction(self._account_id) as connection:
            return int(connection.execute(_SWEEP, {"account_id": self._account_id, "days": KEPT_DAYS}).rowcount)

    def _end(self, job: Job, state: JobState, outcome: str) -> bool:
        with self._database.transaction(self._account_id) as connection:
            return bool(connection.execute(_END, self._values(job, outcome) | {"state": state}).rowcount)

    def _values(self, job: Job, outcome: str) -> dict[str, Any]:
        text = outcome.replace("\0", "\ufffd").encode(errors="replace").decode()[:OUTCOME_CHARACTERS_MAX]
        return {"account_id": self._account_id, "job_id": job.job_id, "attempts": job.attempts, "outcome": text}


def accounts_with_due_jobs(database: Database) -> list[UUID]:
    """Where there is something to take now."""
    with database.connection() as connection:
        rows = connection.execute("SELECT account_id FROM ledger_accounts_with_due_jobs()").fetchall()
    return [row[0] for row in rows]


def job_counts(database: Database) -> list[tuple[str, str, int]]:
    """(kind, state, number) over all accounts, of jobs that wait or are dead."""
    with database.connection() as connection:
        return connection.execute("SELECT kind, state, number FROM ledger_job_counts()").fetchall()


def _parse_id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise NotFound(f"{text[:80]!r} is no id of a job. List them with `ledger jobs list`.") from None


def _row(row: Any) -> JobRow:
    found = JobRow._make(row)
    return found._replace(payload=msgspec.json.decode(bytes(row[3])))


_COLUMNS = "job_id, kind, about, payload, state, attempts, due_at, created_at, ended_at, outcome"
_ADD = """
    INSERT INTO jobs (account_id, job_id, kind, about, payload)
    VALUES (%(account_id)s, %(job_id)s, %(kind)s, %(about)s, %(payload)s) ON CONFLICT DO NOTHING
"""
_TAKE = """
    UPDATE jobs SET attempts = attempts + 1, due_at = clock_timestamp() + make_interval(secs => %(lease_s)s)
    WHERE account_id = %(account_id)s AND job_id = (
        SELECT job_id FROM jobs
        WHERE account_id = %(account_id)s AND state = 'waiting' AND due_at <= clock_timestamp()
            AND kind = ANY(%(kinds)s)
        ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING job_id, kind, about, payload, attempts
"""
_END = """
    UPDATE jobs SET state = %(state)s, outcome = %(outcome)s, ended_at = clock_timestamp()
    WHERE account_id = %(account_id)s AND job_id = %(job_id)s AND state = 'waiting' AND attempts = %(attempts)s
"""
_PUT_BACK = """
    UPDATE jobs SET outcome = %(outcome)s, due_at = clock_timestamp() + make_interval(secs => %(after_s)s),
        attempts = attempts - %(uncounted)s
    WHERE account_id = %(account_id)s AND job_id = %(job_id)s AND state = 'waiting' AND attempts = %(attempts)s
"""
_REVIVE = f"""
    UPDATE jobs SET state = 'waiting', due_at = clock_timestamp(), ended_at = NULL,
        attempts = CASE state WHEN 'dead' THEN 0 ELSE attempts END
    WHERE account_id = %(account_id)s AND job_id = %(job_id)s AND state <> 'done' RETURNING {_COLUMNS}
"""  # noqa: S608 - our own constant
_EXISTS = "SELECT 1 FROM jobs WHERE account_id = %(account_id)s AND job_id = %(job_id)s"
_FORGET = "DELETE FROM jobs WHERE account_id = %(account_id)s AND job_id = %(job_id)s AND state = 'dead'"
_LIST = f"""
    SELECT {_COLUMNS} FROM jobs
    WHERE account_id = %(account_id)s AND (%(state)s::text IS NULL OR state = %(state)s)
    ORDER BY created_at DESC, job_id LIMIT %(limit)s
"""  # noqa: S608 - our own constant
_SWEEP = """
    DELETE FROM jobs WHERE account_id = %(account_id)s AND state = 'done'
    AND ended_at < clock_timestamp() - make_interval(days => %(days)s)
"""
