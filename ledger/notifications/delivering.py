"""Doing the jobs: what a rule is to be told, by e-mail or webhook, and what comes of it."""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from ledger.domain.tally import Tally
from ledger.errors import NoReport
from ledger.jobs.buckets import Bucket, take_token
from ledger.jobs.queue import Job
from ledger.jobs.worker import Again, Dead, Done, Handler, Outcome
from ledger.json_text import encode
from ledger.notifications.mail import compose
from ledger.notifications.rules import Rule, Rules, matches_outcome
from ledger.notifications.signing import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign
from ledger.notifications.smtp import Mailer
from ledger.notifications.told import RunSource, ToldRun, a_test_run
from ledger.notifications.webhook import NotAllowed, Resolve, post, resolve
from ledger.store.database import Database

CHANGE_BYTES_MIN = 20
"""No change takes less in a report: a run with too many is not even read."""
GONE = 410


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveryOptions:
    """What an operator chose."""

    base_url: str | None = None
    report_bytes_max: int = 5_000_000
    mails_per_minute: int = 60
    allow_private: bool = False


class Delivery:
    """The handlers of both kinds of jobs."""

    def __init__(
        self,
        database: Database,
        runs: RunSource,
        options: DeliveryOptions,
        *,
        mailer: Mailer | None,
        resolve: Resolve = resolve,
    ) -> None:
        self._database = database
        self._runs = runs
        self._options = options
        self._mailer = mailer
        self._resolve = resolve

    def handlers(self) -> Mapping[str, Handler]:
        return {"email": self._do, "webhook": self._do}

    def test(self, account_id: UUID, rule_id: str) -> list[tuple[str, Outcome]]:
        """Tells a rule's recipients of a run that never was, now. Raises NotFound."""
        rule = Rules(self._database, account_id).get(rule_id)
        return [
            (each, self._tell(account_id, rule, a_test_run(), each, uuid4()))
            for each in rule.recipients or (str(rule.url),)
        ]

    def _do(self, account_id: UUID, job: Job) -> Outcome:
        facts = job.payload
        rule = Rules(self._database, account_id).find(facts["rule_id"])
        if rule is None or facts["recipient"] not in (*rule.recipients, rule.url):
            return Done("not sent: the rule is gone")
        if rule.disabled_why is not None:
            return Done(f"not sent: the rule is disabled: {rule.disabled_why}")
        run = self._runs.run(account_id, facts["run_id"], facts["position"])
        if not matches_outcome(rule.occasion, run.status, run.tally):
            return Done(f"not sent: the rule is for {rule.occasion.replace('_', ' ')}, and the run was not")
        return self._tell(account_id, rule, run, facts["recipient"], job.job_id)

    def _tell(self, account_id: UUID, rule: Rule, run: ToldRun, recipient: str, job_id: UUID) -> Outcome:
        if rule.channel == "email":
            return self._mail(account_id, run, recipient, job_id)
        return self._post(account_id, rule, run, job_id)

    # E-mail.

    def _mail(self, account_id: UUID, run: ToldRun, recipient: str, job_id: UUID) -> Outcome:
        if self._mailer is None:
            return Again("no mail server is set: LEDGER_SMTP_HOST and LEDGER_SMTP_FROM")
        per_minute = self._options.mails_per_minute
        with self._database.transaction(account_id) as connection:
            wait_s = take_token(connection, account_id, Bucket("email", per_minute, per_minute / 60))
        if wait_s:
            return Again(f"the account sends at most {per_minute} e-mails a minute", wait_s, counts=False)
        report, why = self._attachment(account_id, run)
        message = compose(
            run, sender=self._mailer.server.sender, recipient=recipient, job_id=job_id, now=datetime.now(UTC),
            base_url=self._options.base_url, report=report, without_report=why,
            checkpoint=self._runs.checkpoint(account_id),
        )  # fmt: skip
        return self._mailer.send(message, recipient)

    def _attachment(self, account_id: UUID, run: ToldRun) -> tuple[tuple[str, bytes] | None, str | None]:
        """File name and bytes of the report, or why there are none."""
        limit = self._options.report_bytes_max
        where = "on the run's page" if self._options.base_url else "with `ledger report`"
        too_large = f"The report is too large to attach (limit {limit:,} bytes); it is {where}."
        if not run.has_report:
            return None, None
        if run.tally.processed * CHANGE_BYTES_MIN > limit:
            return None, too_large
        try:
            report = self._runs.report(account_id, run.run_id)
        except NoReport as error:
            return None, error.message
        blocks, size = [], 0
        for block in report.blocks:
            size += len(block)
            if size > limit:
                report.blocks.close()  # type: ignore[attr-defined]
                return None, too_large
            blocks.append(block)
        return (report.file_name, b"".join(blocks)), None

    # Webhooks.

    def _post(self, account_id: UUID, rule: Rule, run: ToldRun, job_id: UUID) -> Outcome:
        event = cloud_event(account_id, run, job_id, self._options.base_url)
        checkpoint = self._runs.checkpoint(account_id)
        body = encode(event if checkpoint is None else event | {"checkpoint": checkpoint})
        timestamp = int(time.time())
        signature = sign(Rules(self._database, account_id).secret_of(rule.rule_id), str(job_id), timestamp, body)
        headers = {
            "Content-Type": "application/cloudevents+json; charset=utf-8",
            "User-Agent": "audit-ledger",
            ID_HEADER: str(job_id),
            TIMESTAMP_HEADER: str(timestamp),
            SIGNATURE_HEADER: signature,
        }
        assert rule.url is not None
        try:
            answer = post(rule.url, body, headers, allow_private=self._options.allow_private, resolve=self._resolve)
        except NotAllowed as error:
            return Dead(error.message)
        except (OSError, http.client.HTTPException) as error:
            return Again(f"no answer: {error or type(error).__name__}")
        said = f"answered {answer.status} {answer.text}".strip()
        if 200 <= answer.status < 300:
            return Done(said)
        if answer.status == GONE:
            Rules(self._database, account_id).disable(rule.rule_id, "the receiver answered 410 Gone")
            return Dead(f"{said}; the rule is disabled")
        return Again(said, answer.retry_after_s)


def cloud_event(account_id: UUID, run: ToldRun, job_id: UUID, base_url: str | None) -> dict[str, Any]:
    """The event as a CloudEvents 1.0 document (JSON event format); `data` is the run as the API gives it."""
    return {
        "specversion": "1.0",
        "id": str(job_id),
        "source": f"urn:uuid:{account_id}",
        "type": f"ledger.run.{run.ended}",
        "subject": run.run_id,
        "time": run.finished_at.isoformat(),
        "datacontenttype": "application/json",
        "data": (run.document or {"run_id": run.run_id, "tally": Tally().as_dict()}) | {"page": run.address(base_url)},
    }
