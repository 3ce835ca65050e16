"""Erasing a record's data: what goes, the events that say so, and the door, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, quote_plus
from uuid import UUID

from ledger.domain.keeping import ErasureRecorded, KeepingEvent
from ledger.domain.operation import Operation, User
from ledger.domain.record import RecordErased
from ledger.domain.run import Run
from ledger.domain.tally import Tally
from ledger.erasure.finding import Finding, Found, RecordKey
from ledger.erasure.keeping import KeepingStore, check_text
from ledger.erasure.listing import Listed
from ledger.erasure.port import NoViews, Views
from ledger.erasure.rest import Texts
from ledger.errors import Conflict, InputError, NotFound, StreamMoved
from ledger.ids import make_run_id, record_stream_id, run_stream_id
from ledger.json_text import encode
from ledger.service import utc_now
from ledger.store.database import Database
from ledger.store.event_store import IntegrityError
from ledger.store.mapper import to_new_event
from ledger.store.recorder import Appended, Recorder
from ledger.store.rows import NewEvent
from ledger.store.streams import Streams

TRIES_MAX = 5
ERASE = "SELECT ledger_erase(%s, %s::bigint[], %s::bytea[])"
# What a request was and which plan was approved are kept as hashes of the values themselves, and could be tried out.
_FORGET_REQUESTS = (
    "UPDATE idempotency_keys SET request_hash = '' WHERE account_id = ledger_current_account() AND answer IS NOT NULL"
)
_FORGET_ANSWERS = """
    DELETE FROM idempotency_keys WHERE account_id = ledger_current_account()
    AND EXISTS (SELECT FROM unnest(%s::text[]) AS told WHERE
        position(told IN lower(convert_from(answer, 'UTF8'))) > 0)
"""
_FORGET_VIEWS = """
    DELETE FROM saved_views WHERE account_id = ledger_current_account()
    AND EXISTS (SELECT FROM unnest(%s::text[]) AS told WHERE position(told IN lower(query)) > 0)
"""
_FORGET_APPROVALS = "DELETE FROM undo_approvals WHERE account_id = ledger_current_account()"
_FORGET_DRAFTS = "DELETE FROM undo_drafts WHERE account_id = ledger_current_account()"
"""Uploaded reports between plan and confirmation, values and all: to be uploaded again."""


class Held(Conflict):
    """A legal hold keeps this from being erased."""

    code = "held"
    title = "A legal hold is on it"


@dataclass(frozen=True, slots=True)
class Erasure:
    """An erasure that was carried out, as the erasure list has it."""

    run_id: str
    object_type: str
    record_id: str
    fields: tuple[str, ...] | None
    reason: str
    user: str
    erased_at: datetime
    position: int
    events: int
    """How many events lost something."""
    repeats: str | None = None

    def as_dict(self) -> dict[str, Any]:
        return {
            "run_id": self.run_id,
            "object_type": self.object_type,
            "record_id": self.record_id,
            "fields": None if self.fields is None else list(self.fields),
            "reason": self.reason,
            "user": self.user,
            "erased_at": self.erased_at,
            "position": self.position,
            "events": self.events,
            "repeats": self.repeats,
        }


class AccountErasure:
    """Erasing in one account. `journal` is told of each erasure before it is committed (ledger.erasure.journal)."""

    def __init__(
        self,
        database: Database,
        account_id: UUID,
        views: Views | None = None,
        *,
        clock: Callable[[], datetime] = utc_now,
        journal: Callable[[UUID, Erasure], None] = lambda _account, _erasure: None,
    ) -> None:
        self.account_id = account_id
        self._recorder = Recorder(database, account_id)
        self._views = views or NoViews()
        self._finding = Finding(self._recorder, self._views)
        self._log = Streams(database, account_id)
        self._keeping = KeepingStore(database, account_id)
        self._clock, self._journal = clock, journal

    def preview(self, object_type: str, record_id: str, fields: Sequence[str] | None = None) -> Found:
        """What an erasure would take now. Raises as erase does."""
        return self._find(object_type, record_id, None if fields is None else tuple(fields), is_repeat=False)

    def erase(
        self,
        object_type: str,
        record_id: str,
        *,
        fields: Sequence[str] | None = None,
        reason: str,
        user: str,
    ) -> Erasure:
        """Erases what the ledger knows of a record, or the values of some of its fields, for good.

        Raises Held, NotFound where no run ever named the record, Conflict while an undo that touches it is under way,
        InputError for a reason or fields that are none, Unavailable while the views are behind.
        """
        check_text("reason", reason)
        names = None if fields is None else tuple(sorted(set(fields)))
        if names == ():
            raise InputError("No field is named. Name the fields to erase, or leave the option out to erase all.")
        return self._try(object_type, record_id, names, reason, user, repeats=None)

    def _try(
        self,
        object_type: str,
        record_id: str,
        fields: tuple[str, ...] | None,
        reason: str,
        user: str,
        *,
        repeats: str | None,
    ) -> Erasure:
        for _ in range(TRIES_MAX):
            found = self._find(object_type, record_id, fields, is_repeat=repeats is not None)
            try:
                return self._carry_out(found, (object_type, record_id), fields, reason, user, repeats)
            except (StreamMoved, IntegrityError):  # the record changed, or a rule did: look again
                continue
        raise Conflict(f"The {object_type} {record_id} is being changed again and again. Try again when it is quiet.")

    def erasures(self) -> list[Erasure]:
        """All erasures of the account, in order: the erasure list."""
        rows = self._keeping.rows((ErasureRecorded.TOPIC,))
        return [_to_erasure(position, event) for position, event in rows]

    def left(self, listed: Iterable[Listed]) -> Iterator[Listed]:
        """Those erasures of a list whose data is still there: this log is older than the list, or was restored in
        parts. What was recorded after an erasure that this log has is new."""
        reached = {each: erasure.position for erasure in self.erasures() for each in (erasure.run_id, erasure.repeats)}
        for one in listed:
            fields = _field_set(one.fields)
            if self._finding.find(one.object_type, one.record_id, fields, before=reached.get(one.run_id)).rests:
                yield one

    def repeat(self, one: Listed) -> Erasure:
        """Carries out an erasure of the list on this log. No hold keeps what was erased once."""
        return self._try(one.object_type, one.record_id, one.fields, one.reason, one.user, repeats=one.run_id)

    def _find(self, object_type: str, record_id: str, fields: tuple[str, ...] | None, *, is_repeat: bool) -> Found:
        found = self._finding.find(object_type, record_id, _field_set(fields))
        if not found.is_known:
            raise NotFound(f"No run ever named the record {record_id} of type {object_type}. Look at type and id.")
        _refuse_under_way(found)
        if not is_repeat:
            _refuse_held(self._keeping, found.records)
        return found

    def _carry_out(
        self,
        found: Found,
        record: RecordKey,
        fields: tuple[str, ...] | None,
        reason: str,
        user: str,
        repeats: str | None,
    ) -> Erasure:
        run_id, now = make_run_id(), self._clock()
        told = ErasureRecorded(
            originator_id=self._keeping.stream, originator_version=self._keeping.load().version + 1, timestamp=now,
            run_id=run_id, object_type=record[0], record_id=record[1], reason=reason, user=user, fields=fields,
            erased=len(found.rests), repeats=repeats,
        )  # fmt: skip
        if repeats is None:  # a hold placed since has moved the stream on from the version taken above
            _refuse_held(self._keeping, found.records)
        events = [*self._run_events(found, run_id, fields, reason, user, now), to_new_event(told)]
        carried: list[Erasure] = []

        def erase(connection: Any, appended: Appended) -> None:
            self._refuse_moved(found, appended.first - 1)
            connection.execute(ERASE, (appended.last, list(found.rests), list(found.rests.values())))
            self._views.forget(connection, list(found.rests), found.run_ids)
            forget_requests(connection, found.texts)
            erasure = Erasure(
                run_id, *record, fields, reason, user, appended.recorded_at, appended.last, len(found.rests), repeats
            )
            self._journal(self.account_id, erasure)
            carried.append(erasure)

        self._recorder.append(events, unmoved=found.streams, then=erase)
        return carried[0]

    def _refuse_moved(self, found: Found, head: int) -> None:
        """Raises StreamMoved where previews or failures of the record were recorded after we looked."""
        if head > found.head and self._finding.is_told_of(found.records, self._log.between(found.head, head)):
            raise StreamMoved("The record has newer events. Look again.")

    def _run_events(
        self, found: Found, run_id: str, fields: tuple[str, ...] | None, reason: str, user: str, now: datetime
    ) -> list[NewEvent]:
        """The erasure's own run: one change for each id of the record."""
        operation = Operation(
            module="erasure", object_type=found.records[0][0], user=User(name=user), message=reason
        )  # fmt: skip
        run = Run.start(
            run_stream_id(self.account_id, run_id), run_id=run_id, operation=operation, started_at=now, timestamp=now
        )
        begun = [to_new_event(event) for event in run.collect_events()]  # type: ignore[arg-type]
        changes = [
            RecordErased(
                record_stream_id(self.account_id, *key), 0, run_id, number, *key, "erase",
                encode(dict.fromkeys(fields or ())), None, now, None,
                details=encode({"whole": True}) if fields is None else None, actor=user,
            )
            for number, key in enumerate(found.records, start=1)
        ]  # fmt: skip
        run.record_changes(0, Tally(other=len(changes)), now)
        run.finish(now, now)
        ended = [to_new_event(event) for event in run.collect_events()]  # type: ignore[arg-type]
        return [*begun, *map(to_new_event, changes), *ended]


def _refuse_held(keeping: KeepingStore, records: Sequence[RecordKey]) -> None:
    rules = keeping.load()
    for object_type, record_id in records:
        hold = rules.hold_on(object_type, record_id)
        if hold is not None:
            of = f"the {object_type} {record_id}" if hold.record_id is not None else f"all records of {object_type}"
            raise Held(
                f"A legal hold is on {of}, placed by {hold.user}: {hold.reason} Nothing is erased while it stands.",
                object_type=object_type, record_id=record_id,
            )  # fmt: skip


def _refuse_under_way(found: Found) -> None:
    for run_id, undo_id in found.under_way.items():
        raise Conflict(
            f"Undo {undo_id} of run {run_id}, which changed this record, is under way. Wait for its end, resume it or "
            "cancel it, and erase then.",
            run_id=run_id,
            undo_id=undo_id,
        )


def forget_requests(connection: Any, texts: Texts) -> None:
    """Takes hashes over erased values out of the account's other tables, and kept answers that repeat them."""
    connection.execute(_FORGET_REQUESTS)
    connection.execute(_FORGET_ANSWERS, (sorted(texts.folded),))
    connection.execute(_FORGET_APPROVALS)
    connection.execute(_FORGET_DRAFTS)
    in_addresses = {form for text in texts.folded for form in (text, quote(text).lower(), quote_plus(text).lower())}
    connection.execute(_FORGET_VIEWS, (sorted(in_addresses),))


def _field_set(fields: Sequence[str] | None) -> frozenset[str] | None:
    return None if fields is None else frozenset(fields)


def _to_erasure(position: int, event: KeepingEvent) -> Erasure:
    assert isinstance(event, ErasureRecorded)
    return Erasure(
        event.run_id, event.object_type, event.record_id, event.fields, event.reason, event.user, event.timestamp,
        position, event.erased, event.repeats,
    )  # fmt: skip
