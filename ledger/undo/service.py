"""Undoing runs of one account: preview, begin, carry out, resume, cancel."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, Literal
from uuid import UUID

import msgspec
from msgspec import Raw

from ledger.connectors.port import Connector, TargetLost
from ledger.domain.operation import Operation, User
from ledger.domain.run import Run
from ledger.errors import Conflict, InputError, KeyReused, NotFound, Problem
from ledger.ids import check_run_id, make_run_id, run_stream_id
from ledger.json_text import encode, split_fields
from ledger.service import CONTENTION_RETRIES, Clock, utc_now
from ledger.store.database import Database
from ledger.store.event_store import AccountStore, IntegrityError
from ledger.store.mapper import to_new_event
from ledger.store.streams import Streams
from ledger.undo.cascading import later_runs
from ledger.undo.execution import Cancelled, Execution, Progress, Sleep
from ledger.undo.gathering import Gathering
from ledger.undo.guards import Approvals, Hold
from ledger.undo.outcomes import read_back
from ledger.undo.planning import Planner, status_of
from ledger.undo.refusals import ChildrenOf, runs_to_restore, runs_to_undo
from ledger.undo.request import EVERYTHING, POLICIES, UndoRequest
from ledger.undo.result import UndoResult, parse_item
from ledger.undo.reversing_target import open_layers, open_reverser
from ledger.undo.stored_request import decode_request, encode_request, same_request

OnProgress = Callable[[Progress], None]
ConnectorOf = Callable[[str | None], Connector]
UndoState = Literal["running", "interrupted", "ended"]


class PlanMoved(Conflict):
    """The plan is not what it was when its digest was made."""

    code = "plan_moved"
    title = "Something changed since the plan was made"


class AccountUndo:
    """The undos of one account."""

    def __init__(
        self,
        database: Database,
        account_id: UUID,
        connector_of: ConnectorOf,
        children_of: ChildrenOf,
        *,
        clock: Clock = utc_now,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.account_id = account_id
        self.store = AccountStore(database, account_id)
        self.approvals = Approvals(database, account_id)
        self._database = database
        self._gathering = Gathering(database, account_id)
        self._connector_of = connector_of
        self._children_of = children_of
        self._clock = clock
        self._sleep = sleep

    def preview(self, request: UndoRequest) -> UndoResult:
        """What the undo would do now, by the code that would do it; nothing is written or recorded.

        Raises UndoRefused, InputError, NotFound (the target), TargetLost.
        """
        group, cascaded = self._resolve(request)
        return self._preview(request, group, cascaded)

    def undo(
        self, request: UndoRequest, *, user: User | None = None, on_progress: OnProgress = lambda _: None
    ) -> UndoResult:
        """Carries out an undo. Sent again with its idempotency key, it answers what it did, with `replayed`.

        Raises as `begin` does; status `interrupted` where the target was lost: resume it then.
        """
        undo_id, is_new = self.begin(request, user=user)
        if is_new:
            return self.carry_on(undo_id, on_progress)
        result = self.result(undo_id)
        result.replayed = True
        return result

    def begin(self, request: UndoRequest, *, user: User | None = None) -> tuple[str, bool]:
        """Records that the undo begins. Returns its Run ID, and whether it is new (False: a repeat of its key).

        Raises UndoRefused, PlanMoved, ApprovalNeeded, KeyReused, InputError, NotFound, TargetLost.
        """
        undo_id = self._undo_id(request)
        existing = self.store.find_run(undo_id)
        if existing is not None:
            self._check_same(existing, request)
            return undo_id, False
        group, cascaded = self._resolve(request)
        self._check_target(request, group)
        aborted = self._check_plan(request, group, cascaded, user)
        for _ in range(CONTENTION_RETRIES):
            if self._begin(undo_id, request, group, cascaded, user, aborted):
                return undo_id, True
            existing = self.store.find_run(undo_id)
            if existing is not None:
                return undo_id, False
            group, cascaded = self._resolve(request)  # refuses what another undo has taken in between
        raise Conflict("The runs are being changed by others at this moment. Try again.")

    def carry_on(
        self, undo_id: str, on_progress: OnProgress = lambda _: None, *, on_held: Callable[[], None] = lambda: None
    ) -> UndoResult:
        """Carries out a begun undo, from wherever it is: the first time, or after any interruption. `on_held` is called
        once this process has it, and others see that it runs.

        Raises NotFound, Conflict (another process carries it out). An undo that has ended answers its result.
        """
        run = self._load_undo(undo_id)
        if run.status != "running":
            return self.result(undo_id)
        hold = Hold(self._database, self.account_id, undo_id)
        with hold.kept():
            on_held()
            return self._carry_on(undo_id, hold, on_progress)

    resume = carry_on

    def cancel(self, undo_id: str) -> None:
        """Stops an undo after the batch under way; one that nobody carries out is ended now. Raises NotFound."""
        run = self._load_undo(undo_id)
        if run.status == "running":
            hold = Hold(self._database, self.account_id, undo_id)
            hold.cancel()
            if not hold.is_held():
                self.carry_on(undo_id)

    def result(self, undo_id: str) -> UndoResult:
        """What an undo did so far, from its own events. Raises NotFound."""
        run = self._load_undo(undo_id)
        request, group, cascaded = decode_request(_request_text(run))
        del request
        result = UndoResult("interrupted", tuple(group), undo_id, cascaded_runs=tuple(cascaded))
        self._read_back(run, result)
        if run.outcome is not None:
            self._take_outcome(result, run.outcome)
        return result

    def state(self, undo_id: str) -> UndoState:
        """Whether the undo has ended, is carried out by some process, or waits to be resumed. Raises NotFound."""
        if self._load_undo(undo_id).status != "running":
            return "ended"
        return "running" if Hold(self._database, self.account_id, undo_id).is_held() else "interrupted"

    # Before anything is written.

    def _resolve(self, request: UndoRequest) -> tuple[list[Run], list[str]]:
        if not request.runs or request.policy not in POLICIES:
            problem = Problem("Not an undo.", found=request.policy, expected="runs, and one of " + ", ".join(POLICIES))
            raise InputError("An undo names one run or several, and a known policy.", problems=(problem,))
        if request.since is not None:
            return runs_to_restore(request.runs, self.store.find_run), []
        runs = runs_to_undo(request.runs, self.store.find_run, self._children_of)
        cascaded: list[str] = []
        if request.policy == "cascade":
            later = later_runs(self._gathering, self.store.find_run, runs, request.selection)
            cascaded = [run.run_id for run in later]
            runs = later + runs
        return runs, cascaded

    def _planner(self, request: UndoRequest, group: Sequence[Run], undo_id: str | None = None) -> Planner:
        connector = self._connector_of(self._target(request, group))
        runs = [run.run_id for run in group]
        return Planner(
            self._gathering, connector, runs, request.policy, request.selection, undo_id=undo_id, since=request.since
        )

    def _target(self, request: UndoRequest, group: Sequence[Run]) -> str | None:
        if request.target is not None:
            return request.target
        targets = {run.operation.target for run in group}
        if len(targets) > 1:
            shown = ", ".join(sorted(target or "the ledger" for target in targets))
            raise InputError(f"The runs changed several targets ({shown}). Undo those of each target by themselves.")
        return next(iter(targets), None)

    def _check_target(self, request: UndoRequest, group: Sequence[Run]) -> None:
        """An undo that could not write a thing is not begun: it would hold its runs until somebody cancels it. Raises
        NotFound (no such target, or no such type in it), InputError (its settings), TargetLost."""
        connector = self._connector_of(self._target(request, group))
        named = {run.operation.object_type for run in group} - {None}
        for object_type in sorted(map(str, named)) or list(connector.object_types())[:1]:
            connector.describe(object_type)

    def _preview(self, request: UndoRequest, group: Sequence[Run], cascaded: list[str]) -> UndoResult:
        result = self._planner(request, group).result()
        result.runs = tuple(run.run_id for run in group)
        result.cascaded_runs = tuple(cascaded)
        return result

    def _check_plan(
        self, request: UndoRequest, group: Sequence[Run], cascaded: list[str], user: User | None
    ) -> UndoResult | None:
        """The plan of an undo that is to be aborted, else None. Plans only where something depends on it."""
        threshold = self.approvals.threshold()
        if request.policy != "abort" and request.plan_digest is None and threshold is None:
            return None
        plan = self._preview(request, group, cascaded)
        assert plan.digest is not None
        if request.plan_digest is not None and request.plan_digest != plan.digest:
            raise PlanMoved(
                "Something that this undo reads or writes was changed since its plan was made. Look at the new plan, "
                "and send the undo with its digest.",
                expected=request.plan_digest, found=plan.digest,
            )  # fmt: skip
        self.approvals.require(plan.digest, plan.records_to_write, user.shown if user else None)
        return plan if plan.status == "aborted" else None

    def _undo_id(self, request: UndoRequest) -> str:
        """One key, one Run ID: so a repeated request meets the run that the first one made."""
        if request.undo_id is not None:
            return check_run_id(request.undo_id)
        if request.idempotency_key is None:
            return make_run_id()
        named = b"%b/undo/%b" % (self.account_id.bytes, request.idempotency_key.encode())
        return f"undo-{sha256(named).hexdigest()[:24]}"

    def _check_same(self, run: Run, request: UndoRequest) -> None:
        text = _request_text_or_none(run)
        if request.idempotency_key is None or text is None or not same_request(decode_request(text)[0], request):
            raise KeyReused(
                f"Run {run.run_id} is there already, from another request. Use a new key (or Run ID) for each undo.",
                run_id=run.run_id,
            )

    def _begin(
        self,
        undo_id: str,
        request: UndoRequest,
        group: Sequence[Run],
        cascaded: list[str],
        user: User | None,
        aborted: UndoResult | None,
    ) -> bool:
        """Starts the undo's run and notes it in those of the group: one transaction. False: others were first."""
        now = self._clock()
        first = group[0].operation if group else Operation()
        types = {run.operation.object_type for run in group}
        ids = [run.run_id for run in group]
        shown = ", ".join(request.runs[:3]) + (" …" if len(request.runs) > 3 else "")
        operation = Operation(
            app=first.app,
            module="undo",
            object_type=next(iter(types)) if len(types) == 1 else None,
            user=user,
            target=self._target(request, group),
            message=f"Undo of {shown}" if request.since is None else f"Restored to {request.since.isoformat()}",
            details=encode({"undo_request": Raw(encode_request(request, ids, cascaded))}),
        )
        run = Run.start(
            run_stream_id(self.account_id, undo_id),
            run_id=undo_id, operation=operation, started_at=now, timestamp=now,
            undoes=tuple(dict.fromkeys([*request.runs, *ids])),
        )  # fmt: skip
        recipes = self._recipes(request)
        if aborted is not None:
            run.finish(now, now, _outcome_text(aborted, listed=True))
        else:
            for member in [*group, *recipes]:
                member.begin_undo(undo_id, now)
        try:
            self._append([run, *group, *recipes])
        except IntegrityError:
            return False
        return True

    def _append(self, runs: Sequence[Run]) -> int:
        events = [to_new_event(event) for run in runs for event in run.collect_events()]  # type: ignore[arg-type]
        return self.store.recorder.append(events).last

    # Carrying out.

    def _carry_on(self, undo_id: str, hold: Hold, on_progress: OnProgress) -> UndoResult:
        run = self._load_undo(undo_id)
        request, ids, cascaded = decode_request(_request_text(run))
        group = [self.store.load_run(run_id) for run_id in ids]
        result = UndoResult("interrupted", tuple(ids), undo_id, cascaded_runs=tuple(cascaded))
        unsettled = self._read_back(run, result) if run.accepted or run.version > 1 else set()
        is_resumed = run.version > 1
        open_intent = self._open_intent(undo_id) if is_resumed else None
        if open_intent is None and hold.is_cancelled():  # needs no target: it may be gone for good
            self._end(run, request, group, result, unsettled, was_cancelled=True)
            return result
        planner = self._planner(request, group, undo_id if is_resumed else None)
        total = sum(member.tally.processed for member in group)

        def check(records: int) -> None:
            on_progress(Progress(records, total))
            hold.take()
            if hold.is_cancelled():
                raise Cancelled

        reverser = None
        if not is_resumed and request.selection == EVERYTHING and request.since is None:
            streams = Streams(self._database, self.account_id)
            reverser = open_reverser(self.store, streams, run, planner, result, self._clock, total)
        execution = Execution(
            self.store, run, planner, result, clock=self._clock, sleep=self._sleep, check=check, reverser=reverser
        )
        execution.unsettled |= unsettled
        was_cancelled = False
        try:
            if open_intent is not None:
                execution.resume(open_layers(self.store, open_intent))
            if hold.is_cancelled():
                raise Cancelled
            execution.carry_out()
        except Cancelled:
            was_cancelled = True
        except TargetLost as lost:
            result.status = "interrupted"
            result.facts = {**result.facts, "reason": lost.message}
            return result
        self._end(run, request, group, result, execution.unsettled, was_cancelled=was_cancelled)
        on_progress(Progress(run.accepted, total))
        return result

    def _end(
        self,
        run: Run,
        request: UndoRequest,
        group: Sequence[Run],
        result: UndoResult,
        unsettled: set[str],
        *,
        was_cancelled: bool,
    ) -> None:
        result.status = status_of(result)
        if was_cancelled:
            result.status = "partial" if result.applied.count else "nothing_applied"
            result.facts = {**result.facts, "cancelled": True}
        is_part = was_cancelled or request.since is not None
        ids = [member.run_id for member in group]
        whole = set() if is_part else set(ids) - unsettled
        if request.selection != EVERYTHING:
            whole = {run_id for run_id in whole if not self._is_left(request, run_id)}
        for _ in range(CONTENTION_RETRIES):
            now = self._clock()
            ended = self.store.load_run(run.run_id)
            ended.finish(now, now, _outcome_text(result, listed=False))
            members = [self.store.load_run(member.run_id) for member in group]
            for member in members:
                is_whole = member.run_id in whole and _changed_anything(member)
                member.end_undo(run.run_id, is_whole=is_whole, timestamp=now)
            recipes = self._recipes(request)
            for recipe in recipes:
                recipe.end_undo(run.run_id, is_whole=bool(whole) and whole.issuperset(ids), timestamp=now)
            reversed_runs: list[Run] = []
            if result.applied.count and request.since is None:
                reversed_runs = self._reverse(run, members, recipes, whole, now)
            try:
                result.position = self._append([ended, *members, *recipes, *reversed_runs])
                return
            except IntegrityError:
                continue
        raise Conflict(f"The runs of undo {run.run_id} are being changed by others at this moment. Resume it.")

    def _recipes(self, request: UndoRequest) -> list[Run]:
        """The recipes that were named: they tell of the undo of their children."""
        if request.since is not None:
            return []
        named = [run for run_id in request.runs if (run := self.store.find_run(run_id)) is not None]
        return [run for run in named if run.operation.kind == "recipe"]

    def _reverse(
        self, run: Run, members: Sequence[Run], recipes: Sequence[Run], whole: set[str], now: datetime
    ) -> list[Run]:
        """Notes in the runs that undone undos had undone that they can be undone again; and where such an undo had
        itself undone one, that what that one had undone is undone again. Returns those that are not of the group."""
        known = {member.run_id: member for member in [*members, *recipes]}
        group = set(known)
        for member in members:
            for original in self._known(member.undoes, known):
                original.reverse_undo(member.run_id, run.run_id, now)
                for first in self._known(original.undoes if member.run_id in whole else (), known):
                    if first.run_id not in group:
                        first.reinstate_undo(member.run_id, now)
        return [each for each in known.values() if each.run_id not in group]

    def _known(self, run_ids: Sequence[str], known: dict[str, Run]) -> list[Run]:
        """The runs, each loaded once."""
        for run_id in run_ids:
            if run_id not in known and (run := self.store.find_run(run_id)) is not None:
                known[run_id] = run
        return [known[run_id] for run_id in run_ids if run_id in known]

    def _is_left(self, request: UndoRequest, run_id: str) -> bool:
        """Whether a run has something to undo that the selection leaves out, as an undo of this run alone would see."""
        planner = self._planner(UndoRequest((run_id,), target=request.target), [self.store.load_run(run_id)])
        left = (piece for step in planner.steps() for piece in step.left())
        return any(not request.selection.takes(run_id, *piece) for piece in left)

    def _open_intent(self, undo_id: str) -> bytes | None:
        """The writes of the batch that has an intent and no outcome yet; None: there is none."""
        newest: bytes | None = None
        for event in self.store.get(run_stream_id(self.account_id, undo_id)):
            if isinstance(event, Run.UndoIntended):
                newest = event.writes
            elif isinstance(event, Run.ChangesRecorded):
                newest = None
        return newest

    # Reading.

    def _load_undo(self, undo_id: str) -> Run:
        run = self.store.find_run(undo_id)
        if run is None or _request_text_or_none(run) is None:
            raise NotFound(f"There is no undo {undo_id} in this account.", run_id=undo_id)
        return run

    def _read_back(self, run: Run, result: UndoResult) -> set[str]:
        unsettled: set[str] = set()
        for events in self._gathering.events_of(run.run_id):
            unsettled |= read_back(result, events)
            if events:
                result.position = events[-1].originator_version
        return unsettled

    def _take_outcome(self, result: UndoResult, text: bytes) -> None:
        outcome: dict[str, Any] = msgspec.json.decode(text)
        result.status = outcome["status"]
        result.facts = {**result.facts, **({"cancelled": True} if outcome.get("cancelled") else {})}
        for name in ("skipped", "noop"):
            for item in outcome.get(name, ()):
                getattr(result, name).add(parse_item(item))


def _request_text_or_none(run: Run) -> bytes | None:
    return None if run.operation.details is None else split_fields(run.operation.details).get("undo_request")


def _request_text(run: Run) -> bytes:
    text = _request_text_or_none(run)
    assert text is not None, "checked by _load_undo"
    return text


def _outcome_text(result: UndoResult, *, listed: bool) -> bytes:
    """What the run-finished event of an undo keeps. `listed`: the verdicts too, which no change tells of."""
    counts = {name: getattr(result, name).count for name in ("applied", "skipped", "noop", "failed")}
    outcome: dict[str, Any] = {
        "status": result.status,
        "counts": counts,
        "fields": {
            "proven": result.fields_proven, "kept": result.fields_kept, "impossible": result.fields_impossible
        },
    }  # fmt: skip
    if result.facts.get("cancelled"):
        outcome["cancelled"] = True
    if listed:
        outcome["skipped"] = [item.as_dict() for item in result.skipped.items]
        outcome["noop"] = [item.as_dict() for item in result.noop.items]
    return encode(outcome)


def _changed_anything(run: Run) -> bool:
    """Whether a run had anything to undo: one without changes is never undone, there is nothing to take back."""
    tally = run.tally
    return tally.updated + tally.created + tally.deleted + tally.other > 0
