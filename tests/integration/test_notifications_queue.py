"""Each run that ends gives each rule's jobs exactly once; each job is done by one worker, tried again, dead at last."""

from __future__ import annotations

from collections import Counter
from threading import Barrier, Thread
from typing import Any
from uuid import UUID, uuid4

import pytest

from ledger.domain.operation import Saved, User
from ledger.embedded import DatabaseUrls
from ledger.errors import Conflict, NotFound, Unavailable
from ledger.jobs.buckets import Bucket, take_token
from ledger.jobs.queue import ATTEMPTS_MAX, AccountJobs, Job, NewJob, add_jobs
from ledger.jobs.worker import Again, Dead, Done, Outcome, Worker
from ledger.notifications.rules import Rules
from ledger.service import AccountLedger
from ledger.store.database import Database
from projections.notifying.postgres import NotificationsFollower
from projections.port import Connection
from projections.progress import lag
from projections.registry import FOLLOWERS
from tests.examples import a_change, a_ledger, an_operation, record
from tests.projected import project


class CrashingOnce(NotificationsFollower):
    """Crashes after its jobs were added, in every second batch."""

    def __init__(self) -> None:
        self.writes = 0

    def write(self, connection: Connection, account_id: UUID, generation: int, rows: Any) -> None:
        super().write(connection, account_id, generation, rows)
        self.writes += 1
        if self.writes % 2:
            raise Unavailable


def database_of(ledger: AccountLedger) -> Database:
    return ledger.store.recorder.database


def a_queue(ledger: AccountLedger, *kinds: str) -> AccountJobs:
    """The account's queue with a job of each of these kinds, in this order."""
    with database_of(ledger).transaction(ledger.account_id) as connection:
        for kind in kinds:
            add_jobs(connection, ledger.account_id, [NewJob(uuid4(), kind, "r-1", {"text": "ü"})])
    return AccountJobs(database_of(ledger), ledger.account_id)


def test_each_run_gives_each_matching_rule_its_jobs_once_through_crashes_and_several_workers(
    database: DatabaseUrls,
) -> None:
    with a_ledger(database.service_url) as ledger:
        rules = Rules(database_of(ledger), ledger.account_id)
        record(ledger, "before-the-rules", [a_change(1)])
        everybody = rules.add_email(("a@example.com", "b@example.com"), created_by="Ann")
        merges, _ = rules.add_webhook("https://example.com/hook", template="Merge", created_by="Ann")
        eve = rules.add_email(("c@example.com",), user="eve@example.com", created_by="Ann")
        for number in range(12):
            record(
                ledger,
                f"r-{number}",
                [a_change(n) for n in range(5)],
                template=Saved(None, "Merge" if number % 3 == 0 else "Tidy"),
                user=User(None, "Eve" if number % 4 == 0 else "Ann", "eve@example.com" if number % 4 == 0 else None),
                mode="preview" if number == 6 else "update",
            )
        record(ledger, "running", [a_change(1)], finish=False)

        crashes = 0
        crashing = (*FOLLOWERS[:-1], CrashingOnce())
        for _ in range(8):
            try:
                project(ledger, projections=crashing, batch_events=9)
            except Unavailable:
                crashes += 1
        assert crashes > 3
        start = Barrier(3)

        def work() -> None:
            start.wait()
            project(ledger, batch_events=7)

        workers = [Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()

        updates = [number for number in range(12) if number != 6]
        expected = Counter((everybody.rule_id, f"r-{n}", to) for n in updates for to in everybody.recipients)
        expected.update((merges.rule_id, f"r-{n}", str(merges.url)) for n in updates if n % 3 == 0)
        expected.update((eve.rule_id, f"r-{n}", "c@example.com") for n in updates if n % 4 == 0)
        found = AccountJobs(database_of(ledger), ledger.account_id).list()
        assert Counter((job.payload["rule_id"], job.about, job.payload["recipient"]) for job in found) == expected
        assert {each.behind for each in lag(database_of(ledger))} == {0}


def test_history_that_is_imported_long_after_it_happened_is_told_to_nobody(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        rule = Rules(database_of(ledger), ledger.account_id).add_email(("a@example.com",), created_by="Ann")
        ledger.start_run(an_operation(), run_id="old", started_at=rule.created_at.replace(year=2020))
        ledger.finish_run("old", finished_at=rule.created_at.replace(year=2020))
        ledger.start_run(an_operation(), run_id="new")
        ledger.fail_run("new", "quota", "No calls left.")
        project(ledger)
        assert [job.about for job in AccountJobs(database_of(ledger), ledger.account_id).list()] == ["new"]


def test_job_that_is_added_again_is_there_once(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        queue, job = a_queue(ledger), NewJob(uuid4(), "email", "r-1", {})
        for _ in range(2):
            with database_of(ledger).transaction(ledger.account_id) as connection:
                add_jobs(connection, ledger.account_id, [job])
        assert [each.job_id for each in queue.list()] == [job.job_id]


def test_job_is_taken_once_until_its_lease_ends_and_who_lost_it_records_nothing(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        queue = a_queue(ledger, "email")
        lost = queue.take(["email"], lease_s=0)
        assert lost is not None
        assert lost.payload == {"text": "ü"}
        again = queue.take(["email"])
        assert again is not None
        assert (again.job_id, again.attempts) == (lost.job_id, 2)
        assert queue.take(["email"]) is None
        assert not queue.finish(lost, "too late")
        assert not queue.put_back(lost, "too late", after_s=0)
        assert queue.finish(again, "sent")
        assert [(job.state, job.outcome) for job in queue.list()] == [("done", "sent")]


def test_workers_share_the_jobs_and_do_each_once(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger, a_ledger(database.service_url, "other") as other:
        for one in (ledger, other):
            a_queue(one, *["email"] * 20)
        done: list[UUID] = []
        start = Barrier(3)

        def note(account_id: UUID, job: Job) -> Outcome:
            done.append(job.job_id)
            return Done("noted")

        def work() -> None:
            start.wait()
            Worker(database_of(ledger), {"email": note}).work_once()

        workers = [Thread(target=work) for _ in range(3)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        assert len(done) == len(set(done)) == 40


def test_outcome_says_what_becomes_of_a_job(database: DatabaseUrls) -> None:
    outcomes: dict[str, Outcome | Exception] = {
        "done": Done("sent"),
        "dead": Dead("550 no such user"),
        "later": Again("451 greylisted"),
        "limited": Again("too many", 60, counts=False),
        "broken": ValueError("a fault of ours\0"),
        "down": Unavailable("The database does not answer."),
    }

    def handle(account_id: UUID, job: Job) -> Outcome:
        outcome = outcomes[job.kind]
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    with a_ledger(database.service_url) as ledger:
        queue = a_queue(ledger, *outcomes)
        assert Worker(database_of(ledger), dict.fromkeys(outcomes, handle)).work_once() == 6
        assert {job.kind: (job.state, job.attempts, job.outcome) for job in queue.list()} == {
            "done": ("done", 1, "sent"),
            "dead": ("dead", 1, "550 no such user"),
            "later": ("waiting", 1, "451 greylisted"),
            "limited": ("waiting", 0, "too many"),
            "broken": ("waiting", 1, "ValueError: a fault of ours\ufffd"),
            "down": ("waiting", 0, "The database does not answer."),
        }


def test_job_is_dead_after_its_last_attempt_and_can_be_revived_or_forgotten(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        queue = a_queue(ledger, "email")
        (job_id,) = (str(job.job_id) for job in queue.list())
        worker = Worker(database_of(ledger), {"email": lambda *_: Again("451 later")})
        for _ in range(ATTEMPTS_MAX):
            queue.revive(job_id)  # due now, instead of after its delay
            assert worker.work_once() == 1
        assert [(job.state, job.attempts) for job in queue.list("dead")] == [("dead", ATTEMPTS_MAX)]
        assert queue.revive(job_id).attempts == 0
        Worker(database_of(ledger), {"email": lambda *_: Done("sent")}).work_once()
        with pytest.raises(Conflict, match="is done"):
            queue.revive(job_id)
        with pytest.raises(NotFound):
            queue.forget(job_id)


def test_job_that_its_workers_die_of_is_dead_in_the_end(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        queue = a_queue(ledger, "email")
        for _ in range(ATTEMPTS_MAX):
            assert queue.take(["email"], lease_s=0) is not None
        Worker(database_of(ledger), {"email": lambda *_: pytest.fail("not tried again")}).work_once()
        (job,) = queue.list("dead")
        assert "without an outcome" in (job.outcome or "")
        queue.forget(str(job.job_id))
        assert queue.list() == []


def test_jobs_of_another_account_are_not_seen(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger, a_ledger(database.service_url, "other") as other:
        (job,) = a_queue(ledger, "email").list()
        assert a_queue(other).list() == []
        assert a_queue(other).take(["email"]) is None
        with pytest.raises(NotFound):
            a_queue(other).revive(str(job.job_id))


def test_bucket_gives_what_it_holds_and_then_asks_to_wait(database: DatabaseUrls) -> None:
    with a_ledger(database.service_url) as ledger:
        bucket = Bucket("email", 3, 1 / 3_600)
        waits = []
        for _ in range(5):
            with database_of(ledger).transaction(ledger.account_id) as connection:
                waits.append(take_token(connection, ledger.account_id, bucket))
        assert waits[:3] == [0.0] * 3
        assert all(3_000 < wait_s <= 3_600 for wait_s in waits[3:])
