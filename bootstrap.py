"""The composition root: settings to services. The one place that knows every concrete class."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from uuid import UUID

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from ledger.access import Account, Accounts, Identity, Tokens, authenticate
from ledger.connectors.port import Connector
from ledger.connectors.postgres.target import open_postgres
from ledger.connectors.registry import Target, Targets
from ledger.domain.record import State
from ledger.erasure.keeping import KeepingStore
from ledger.erasure.listing import ErasureList, Listed
from ledger.erasure.retention import Retention
from ledger.erasure.service import AccountErasure, Erasure
from ledger.idempotency import IdempotencyKeys
from ledger.integrity.anchoring import Anchoring
from ledger.integrity.continuous import AccountVerification, ContinuousVerification
from ledger.integrity.cosignatures import WitnessState, read_all_states
from ledger.integrity.guards import find_guard_faults
from ledger.integrity.note import Key
from ledger.integrity.policy import Policy
from ledger.integrity.sealing import AccountSealer, Sealer
from ledger.integrity.signed_heads import SignedHeads
from ledger.integrity.signed_log import SignedLog
from ledger.integrity.states import LogState, read_log_states
from ledger.integrity.verifying import Expected, Verdict, signed_last, verify_log
from ledger.integrity.verifying import OnProgress as OnVerified
from ledger.integrity.witnessing import AccountWitnessing, Witnessing, open_policy
from ledger.jobs.queue import AccountJobs, job_counts
from ledger.jobs.worker import Worker
from ledger.notifications.delivering import Delivery, DeliveryOptions
from ledger.notifications.rules import Rules
from ledger.notifications.smtp import PORTS as MAIL_PORTS
from ledger.notifications.smtp import Mailer, MailServer
from ledger.saved_views import SavedViews
from ledger.service import AccountLedger
from ledger.sessions import Sessions
from ledger.settings import Settings
from ledger.store.database import Database
from ledger.undo.drafts import Drafts
from ledger.undo.request import Restoring, UndoRequest
from ledger.undo.service import AccountUndo
from ledger.users import Users
from migrations.migrate import FOLDER, newest_number, read_migrations
from projections.activity.postgres import Activity
from projections.analytics.export import ParquetExport
from projections.erasing.postgres import ErasedViews
from projections.families import Families
from projections.notifying.reading import NotifiedRuns
from projections.progress import WAIT_S, Lag, lag, wait_for
from projections.rebuild import OnProgress, rebuild
from projections.records.reading import Records
from projections.reports.edited import EditedReport
from projections.reports.reading import Reports
from projections.run_changes.reading import RunChanges
from projections.run_changes.sampling import Sampling
from projections.runner import Follower, project_once
from projections.siem.reading import OcsfExport
from projections.tracker.postgres import Tracker
from projections.verifying import find_view_faults


def tune_process() -> None:
    """Prepares a long-running process for bulk work: what is loaded now is never searched for garbage again, and the
    search starts at 50,000 new objects instead of 700. A batch makes some 20,000 short-lived ones and no cycles;
    measured, the default thresholds cost a third of the append rate.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)


@dataclass(frozen=True, slots=True)
class Services:
    """Everything that api/ and cli/ may call, on one database."""

    database: Database
    erasure_list: ErasureList | None = None

    def ledger(self, account_id: UUID) -> AccountLedger:
        """Recording, for one account."""
        return AccountLedger(self.database, account_id)

    def reports(self, account_id: UUID) -> Reports:
        """Each run's changes with their before and after, as CSV, XLSX or NDJSON."""
        return Reports(self.database, account_id)

    def edited_report(self, account_id: UUID, run_id: str, data: bytes) -> EditedReport:
        """What an edited report of a run or recipe selects, and where it differs from the ledger."""
        project_once(self.database, account_id)
        return self.reports(account_id).read_edited(run_id, data)

    def targets(self, account_id: UUID) -> Targets:
        """The target systems of one account."""
        return Targets(self.database, account_id, lambda object_type: self._states_of(account_id, object_type))

    def undo(self, account_id: UUID, connector: Connector | None = None) -> AccountUndo:
        """Undoing runs. `connector`: of a target that is not among the account's own (tests, conformance)."""
        connector_of = self.targets(account_id).connector if connector is None else lambda _: connector
        return AccountUndo(
            self.database, account_id, connector_of, lambda recipe: self._children_of(account_id, recipe)
        )

    def undo_drafts(self, account_id: UUID) -> Drafts:
        """Undos that somebody prepares."""
        return Drafts(self.database, account_id)

    def add_target(self, account_id: UUID, target: Target) -> Target:
        """Adds a target whose tables are there. Raises InputError, NotFound, Conflict, TargetLost."""
        connector = open_postgres(target.settings)
        for object_type in connector.object_types():
            connector.describe(object_type)
        self.targets(account_id).add(target)
        return target

    def restoring(self, account_id: UUID, asked: Restoring) -> UndoRequest:
        """The undo that puts records of a type back to a moment: of all runs that changed any after it."""
        if asked.records is not None and len(asked.records) == 1:
            (record_id,) = asked.records
            runs = self.records(account_id).runs_since(asked.object_type, record_id, asked.as_of)  # its stream tells
        else:
            project_once(self.database, account_id)
            runs = self.run_changes(account_id).runs_since(asked.object_type, asked.as_of)
        return asked.of_runs(tuple(runs))

    def _children_of(self, account_id: UUID, recipe_run_id: str) -> list[str]:
        project_once(self.database, account_id)
        return Families(self.database, account_id).children(recipe_run_id)

    def _states_of(self, account_id: UUID, object_type: str) -> Iterator[tuple[str, State]]:
        project_once(self.database, account_id)
        for record in self.records(account_id).states(object_type):
            yield record["record_id"], {name: bytes(raw) for name, raw in record["fields"].items()}

    def erasure(self, account_id: UUID) -> AccountErasure:
        """Erasing a record's data everywhere; the erasure list."""
        return AccountErasure(
            self.database, account_id, ErasedViews(self.database, account_id), journal=self._note_erasure
        )

    def _note_erasure(self, account_id: UUID, erasure: Erasure) -> None:
        if self.erasure_list is not None and erasure.repeats is None:
            self.erasure_list.append(account_id, erasure.as_dict())

    def first_unerased(self) -> Listed | None:
        """The first erasure of the list outside the database that this database lacks: it is a backup that was
        restored, and must not be served before `ledger erase --replay`. None: there is none."""
        listed = [] if self.erasure_list is None else self.erasure_list.read()
        return next(self._unerased(listed), None)

    def repeat_erasures(self, listed: Sequence[Listed]) -> list[Erasure]:
        """Carries out the erasures of a list that this database lacks."""
        return [self.erasure(one.account_id).repeat(one) for one in self._unerased(listed)]

    def _unerased(self, listed: Sequence[Listed]) -> Iterator[Listed]:
        known = {account.account_id for account in self.accounts().list()}
        for account_id in dict.fromkeys(one.account_id for one in listed if one.account_id in known):
            own = [one for one in listed if one.account_id == account_id]
            yield from self.erasure(account_id).left(own)

    def ocsf(self, account_id: UUID, account: str) -> OcsfExport:
        """The account's changes as OCSF events, for security monitoring."""
        return OcsfExport(self.database, account_id, account)

    def parquet(
        self, account_id: UUID, account: str, on_segment: Callable[[int, int], None] = lambda _upto, _last: None
    ) -> ParquetExport:
        """The account's log as Parquet files."""
        return ParquetExport(self.database, account_id, account, on_segment=on_segment)

    def retention(self, account_id: UUID) -> Retention:
        """Applying the retention policies."""
        return Retention(self.database, account_id, ErasedViews(self.database, account_id))

    def keeping(self, account_id: UUID) -> KeepingStore:
        """Legal holds and retention policies."""
        return KeepingStore(self.database, account_id)

    def run_changes(self, account_id: UUID) -> RunChanges:
        """Paging inside a run, search across runs."""
        return RunChanges(self.database, account_id)

    def sampling(self, account_id: UUID) -> Sampling:
        """What stands out in a run, from a bounded look."""
        return Sampling(self.database, account_id)

    def records(self, account_id: UUID) -> Records:
        """Records: state, history and blame at any moment."""
        return Records(self.database, account_id)

    def accounts(self) -> Accounts:
        """The accounts: make, find, list."""
        return Accounts(self.database)

    def tokens(self, account_id: UUID) -> Tokens:
        """The API tokens of one account: make, list, revoke."""
        return Tokens(self.database, account_id)

    def authenticate(self, token: str) -> Identity:
        """Whose token this is. Raises NotSignedIn."""
        return authenticate(self.database, token)

    def users(self, account_id: UUID) -> Users:
        """Who may sign in to one account."""
        return Users(self.database, account_id)

    def sessions(self) -> Sessions:
        """Persons who signed in, and how often it failed."""
        return Sessions(self.database)

    def idempotency_keys(self, account_id: UUID) -> IdempotencyKeys:
        """The requests of one account that may be repeated."""
        return IdempotencyKeys(self.database, account_id)

    def tracker(self, account_id: UUID) -> Tracker:
        """The Activity Tracker: lists of runs."""
        return Tracker(self.database, account_id)

    def saved_views(self, account_id: UUID) -> SavedViews:
        """Names for filters of the tracker."""
        return SavedViews(self.database, account_id)

    def activity(self, account_id: UUID) -> Activity:
        """Counts per day, user and template."""
        return Activity(self.database, account_id)

    def notification_rules(self, account_id: UUID) -> Rules:
        """Who is told of runs that end, by e-mail or webhook."""
        return Rules(self.database, account_id)

    def jobs(self, account_id: UUID) -> AccountJobs:
        """The background work of one account: what waits, what is dead."""
        return AccountJobs(self.database, account_id)

    def job_counts(self) -> list[tuple[str, str, int]]:
        """(kind, state, number) over all accounts, of jobs that wait or are dead."""
        return job_counts(self.database)

    def delivery(self, settings: Settings) -> Delivery:
        """What sends notifications."""
        options = DeliveryOptions(
            base_url=settings.base_url,
            report_bytes_max=settings.mail_report_bytes_max,
            mails_per_minute=settings.mails_per_minute,
            allow_private=settings.webhook_private == "allow",
        )
        return Delivery(self.database, NotifiedRuns(self.database), options, mailer=_mailer(settings))

    def worker(self, settings: Settings) -> Worker:
        """A worker that does the jobs of all accounts."""
        return Worker(self.database, self.delivery(settings).handlers())

    def sealer(self, signing: SignedHeads) -> Sealer:
        """A worker that seals and signs the logs of all accounts."""
        return Sealer(self.database, signing)

    def account_sealer(self, account: Account, signing: SignedHeads) -> AccountSealer:
        """Seals the log of one account."""
        return AccountSealer(self.database, account.account_id, account.name, signing)

    def beside_sealing(self, settings: Settings) -> dict[str, Callable[[Event], None]]:
        """What goes on where logs are sealed, by name: having them cosigned, and anchoring them in a folder. Raises
        InputError, Unavailable for a witness policy that cannot be read."""
        policy = open_policy(settings)
        loops: dict[str, Callable[[Event], None]] = {}
        if policy is not None:
            loops["witnesses"] = Witnessing(self.database, policy).follow
        if settings.anchor_folder is not None:
            loops["anchors"] = Anchoring(self.database, settings.anchor_folder).follow
        return loops

    def account_witnessing(self, account: Account, policy: Policy) -> AccountWitnessing:
        """Having the log of one account cosigned now."""
        return AccountWitnessing(self.database, account.account_id, account.name, policy)

    def witness_states(self) -> list[WitnessState]:
        """How the witnesses fare, an entry for each log that they are asked about."""
        with self.database.connection() as connection:
            return [state for _, state in read_all_states(connection)]

    def log_states(self) -> list[LogState]:
        """How the signed logs of all accounts fare; none where nothing was ever sealed."""
        with self.database.connection() as connection:
            return read_log_states(connection)

    def signed_log(self, account: Account) -> SignedLog:
        """What is served of one account's signed log."""
        return SignedLog(self.database, account.account_id)

    def verify(
        self,
        account: Account,
        trusted: Sequence[Key],
        seen: Sequence[Expected] = (),
        *,
        on_progress: OnVerified = lambda _done, _all: None,
        on_views: OnVerified = lambda _done, _all: None,
    ) -> Verdict:
        """Verifies one account's log, its views, and that the database still refuses what it must."""
        found = verify_log(self.database, account.account_id, trusted, seen, on_progress)
        migrations = "".join(each.sql for each in read_migrations(FOLDER))
        with self.database.transaction(account.account_id) as connection:
            found.findings += find_guard_faults(connection, migrations)
        if not found.findings:  # what the views should hold is told by a log that is in order
            for fault in find_view_faults(self.database, account.account_id, on_progress=on_views):
                found.add("view", f"{fault.view}: {fault.detail}", fault.position)
        return found

    def account_verification(self, account_id: UUID) -> AccountVerification:
        """What the service found when it verified one account's log; asking it to."""
        return AccountVerification(self.database, account_id)

    def continuous_verification(self, signing: SignedHeads) -> ContinuousVerification:
        """A worker that verifies the logs of all accounts, again and again."""

        def verify(account: Account, tell: OnVerified) -> Verdict:
            heads = signed_last(signing, account.account_id, account.name)
            return self.verify(account, signing.keys.trusted(account.name), heads, on_progress=tell, on_views=tell)

        return ContinuousVerification(self.database, verify)

    def follower(self) -> Follower:
        """A worker that keeps the projections of all accounts at the head of their logs."""
        return Follower(self.database, every_day=lambda account_id: self.retention(account_id).apply())

    def project_once(self, account_id: UUID) -> int:
        """Moves one account's projections on to its head. The position that all have reached."""
        return project_once(self.database, account_id)

    def rebuild(self, account_id: UUID, name: str, *, on_progress: OnProgress = lambda _: None) -> int:
        """Rebuilds one projection beside its live rows, and swaps. The new generation's number."""
        return rebuild(self.database, account_id, name, on_progress=on_progress)

    def schema_numbers(self) -> tuple[int, int]:
        """The newest migration that the database has, and the one that this release works on."""
        return self.database.schema_number(), newest_number()

    def lag(self, account_id: UUID | None = None) -> list[Lag]:
        """How far the projections of one account, or of all, are behind."""
        return lag(self.database, account_id)

    def wait_for(self, account_id: UUID, position: int, timeout_s: float = WAIT_S) -> None:
        """Returns when all projections have processed the event at this position. Raises NotCaughtUp."""
        wait_for(self.database, account_id, position, timeout_s)

    def flush(self, account_id: UUID) -> None:
        """Returns when everything committed until now is on the disk (see `connect`)."""
        with self.database.transaction(account_id) as connection:
            connection.execute("SET LOCAL synchronous_commit = on")
            connection.execute("UPDATE accounts SET head = head WHERE account_id = ledger_current_account()")

    def close(self) -> None:
        self.database.close()


def connect(
    service_url: str,
    *,
    pool_size_max: int = 10,
    flush_each_commit: bool = True,
    erasure_list: Path | None = None,
) -> Services:
    """Services on a migrated database. Raises Unavailable when it does not answer.

    With flush_each_commit=False a crash of the database's machine may lose the newest commits, but nothing before them:
    only for work that can be begun again and that calls `flush` in the end.
    """
    if not flush_each_commit:
        given = conninfo_to_dict(service_url)
        service_url = make_conninfo(service_url, options=f"{given.get('options') or ''} -c synchronous_commit=off")
    database = Database(service_url, pool_size_max=pool_size_max).open()
    return Services(database, None if erasure_list is None else ErasureList(erasure_list))


def _mailer(settings: Settings) -> Mailer | None:
    if settings.smtp_host is None or settings.smtp_from is None:
        return None
    server = MailServer(
        host=settings.smtp_host,
        port=settings.smtp_port or MAIL_PORTS[settings.smtp_security],
        security=settings.smtp_security,
        sender=settings.smtp_from,
        user=settings.smtp_user,
        password=settings.smtp_password,
    )
    return Mailer(server)
