"""The undo wizard: choose, look at the plan, confirm; also from an edited report, and to a moment for one record."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple
from urllib.parse import urlencode

import msgspec
from flask import redirect, render_template, request, url_for
from werkzeug.datastructures import MultiDict
from werkzeug.wrappers import Response as AnyResponse

from api.auth import services
from api.edited_reports import UPLOAD_BYTES_MAX
from api.errors import status_of
from api.pages.addresses import own_path
from api.pages.blueprint import actor, pages, reader
from api.pages.undo_parts import begin, plan_facts
from api.pages.undo_words import POLICIES
from api.sign_in import refuse_other_sites
from ledger.access import Identity
from ledger.errors import InputError, Problem
from ledger.json_text import encode
from ledger.undo.drafts import Draft
from ledger.undo.guards import ApprovalNeeded
from ledger.undo.request import UndoRequest
from ledger.undo.service import PlanMoved
from projections.tracker.view import TrackerRow

PLAN_AT_ONCE_MAX = 2_000
"""Changes of a run whose plan is made unasked; that of a larger one takes its time, so the page asks first."""
LARGE_CHANGES = 100
"""Undoing a larger run is confirmed by typing its Run ID."""
RECORDS_CHARACTERS_MAX = 8_000
TOO_LARGE = "The report is too large for a page. `ledger undo --from-report` reads larger ones."
NO_FILE = "Choose the report as your program saved it."
_CHOICES = ("policy", "field", "records", "draft", "plan")


class Chosen(NamedTuple):
    """What the address or form asks for."""

    request: UndoRequest
    told: dict[str, Any] | None
    """Where an edited report differs from the ledger."""


@pages.get("/runs/<run_id>/undo")
def undo_plan(run_id: str) -> AnyResponse | tuple[str, int]:
    identity = reader()
    if any(value == "" for value in request.args.values()):
        kept = [(name, value) for name, value in request.args.items(multi=True) if value]
        return redirect(url_for("pages.undo_plan", run_id=run_id) + "?" + urlencode(kept), 303)
    return _plan_page(identity, run_id, request.args)


@pages.post("/runs/<run_id>/undo")
def start_undo(run_id: str) -> AnyResponse | tuple[str, int]:
    """Begins the undo whose plan was looked at, once however often the form is sent."""
    refuse_other_sites()
    identity = actor("undo")
    row = services().tracker(identity.account_id).get_run(run_id)
    chosen = _chosen(identity, row, request.form)
    if row.tally.processed > LARGE_CHANGES and request.form.get("confirm", "").strip() != run_id:
        told = f"This run is large. Type its Run ID, {run_id}, to confirm the undo."
        return _plan_page(identity, run_id, request.form, problem=told, status=422)
    try:
        return begin(identity, chosen.request, request.form)
    except (PlanMoved, ApprovalNeeded) as refusal:
        return _plan_page(identity, run_id, request.form, problem=refusal.message, status=status_of(refusal))


@pages.post("/runs/<run_id>/undo/report")
def upload_report(run_id: str) -> AnyResponse | tuple[str, int]:
    """Reads an edited report; what it selects is kept for the plan."""
    refuse_other_sites()
    identity = reader()
    file = request.files.get("report")
    data = file.read(UPLOAD_BYTES_MAX + 1) if file else b""
    if not data:
        return _plan_page(identity, run_id, MultiDict(), problem=NO_FILE, status=422)
    if len(data) > UPLOAD_BYTES_MAX:
        return _plan_page(identity, run_id, MultiDict(), problem=TOO_LARGE, status=413)
    try:
        edited = services().edited_report(identity.account_id, run_id, data)
    except InputError as refusal:
        return _plan_page(identity, run_id, MultiDict(), problem=refusal.message, status=status_of(refusal))
    draft = Draft(UndoRequest((run_id,), selection=edited.selection), encode(edited.as_dict()))
    draft_id = services().undo_drafts(identity.account_id).keep(draft, made_by=identity.actor)
    return redirect(url_for("pages.undo_plan", run_id=run_id, draft=draft_id), 303)


@pages.post("/undo-approvals")
def approve_plan() -> AnyResponse:
    """The second person's yes to a plan."""
    refuse_other_sites()
    identity = actor("undo")
    digest = request.form.get("digest", "")[:128].replace("\0", "")
    services().undo(identity.account_id).approvals.approve(digest, identity.actor)
    return redirect(own_path(request.form.get("next", "/")), 303)


def _plan_page(
    identity: Identity, run_id: str, values: MultiDict[str, str], *, problem: str | None = None, status: int = 200
) -> tuple[str, int]:
    row = services().tracker(identity.account_id).get_run(run_id)
    chosen = _chosen(identity, row, values)
    is_planned = row.tally.processed <= PLAN_AT_ONCE_MAX or "plan" in values
    shown = plan_facts(identity, chosen.request, values) if is_planned else {"plan": None}
    sample = services().sampling(identity.account_id).sample(run_id)
    page = render_template(
        "undo_plan.html",
        run=row,
        told=chosen.told,
        problem=problem,
        policies=POLICIES,
        policy=chosen.request.policy,
        fields=[field.name for field in sample.fields],
        chosen_fields=values.getlist("field"),
        asked=values,
        kept=[(name, value) for name in _CHOICES for value in values.getlist(name) if value],
        is_large=row.tally.processed > LARGE_CHANGES,
        **shown,
    )
    return page, status


def _chosen(identity: Identity, row: TrackerRow, values: MultiDict[str, str]) -> Chosen:
    """Raises InputError, NotFound (a draft that is kept no more)."""
    policy = values.get("policy") or "skip"
    if policy not in {name for name, _, _ in POLICIES}:
        problem = Problem("No such policy.", parameter="policy", found=repr(policy[:40]), expected="one of the choices")
        raise InputError(f"There is no policy {policy[:40]!r}.", problems=(problem,))
    base, told = UndoRequest((row.run_id,)), None
    if values.get("draft"):
        draft = services().undo_drafts(identity.account_id).find(values["draft"])
        if draft.request.runs != (row.run_id,):
            raise InputError("This edited report is of another run.")
        base, told = draft.request, msgspec.json.decode(draft.told)
    selection = base.selection
    fields = [name for name in values.getlist("field") if name]
    if fields:
        selection = replace(selection, fields=frozenset(fields))
    records = _records(values.get("records", ""), row.operation.object_type)
    if records:
        both = records if selection.records is None else records & selection.records
        selection = replace(selection, records=both)
    return Chosen(replace(base, policy=policy, selection=selection), told)  # type: ignore[arg-type]  # checked above


def _records(text: str, object_type: str | None) -> frozenset[tuple[str, str]]:
    """The records of a text with one a line, `ID` or `TYPE/ID`. Raises InputError."""
    found = set()
    for line in filter(None, map(str.strip, text[:RECORDS_CHARACTERS_MAX].splitlines())):
        kind, slash, record_id = line.partition("/")
        if slash and record_id and (object_type is None or kind == object_type):
            found.add((kind, record_id))
        elif object_type is not None:
            found.add((object_type, line))
        else:
            problem = Problem("Not a record.", parameter="records", found=repr(line[:40]), expected="TYPE/ID")
            raise InputError(f"{line[:40]!r} is no record. This run has several types: TYPE/ID.", problems=(problem,))
    return frozenset(found)
