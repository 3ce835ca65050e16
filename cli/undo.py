"""`ledger undo`: shows the plan, asks, takes the run back, and says what came of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from cli.edited import show_edited
from cli.errors import EXIT_PARTIAL
from cli.options import INSTANT
from cli.output import open_output, shown_instant, write_facts, write_json, write_table
from cli.progress import Progress
from cli.session import Session, open_session
from ledger.errors import InputError, Problem

if TYPE_CHECKING:
    from uuid import UUID

    from ledger.domain.operation import User
    from ledger.undo.execution import Progress as UndoProgress
    from ledger.undo.request import Selection, UndoRequest
    from ledger.undo.result import Item, UndoResult
    from ledger.undo.service import AccountUndo
    from projections.reports.edited import EditedReport

ITEMS_SHOWN_MAX = 20
EXIT_CODES = {"completed": 0, "nothing_to_do": 0, "partial": EXIT_PARTIAL, "nothing_applied": EXIT_PARTIAL,
              "aborted": EXIT_PARTIAL, "interrupted": 7}  # fmt: skip
POLICY_NAMES = ("skip", "skip_record", "abort", "force", "cascade")


@click.command("undo")
@click.argument("run_ids", nargs=-1, metavar="RUN_ID...")
@click.option("--preview", is_flag=True, help="Show the plan; write and record nothing.")
@click.option("--on-conflict", "policy", type=click.Choice(POLICY_NAMES), default="skip", show_default=True)
@click.option("--fields", metavar="NAME,...", help="Only these fields of updated records.")
@click.option("--records", metavar="TYPE/ID,...", help="Only these records.")
@click.option("--records-file", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Only the records in FILE, one TYPE/ID a line.")  # fmt: skip
@click.option("--object-types", metavar="TYPE,...", help="Only records of these types.")
@click.option("--from-report", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Only the rows and Before columns left in an edited report (XLSX, CSV).")  # fmt: skip
@click.option("--target", metavar="NAME", help="Where to write (default: the target that the runs name).")
@click.option("--plan-digest", metavar="DIGEST", help="Apply only if the plan still has this digest.")
@click.option("--approve", metavar="DIGEST", help="Approve another operator's plan, as the second person.")
@click.option("--resume", metavar="UNDO_RUN_ID", help="Go on with an interrupted undo.")
@click.option("--cancel", metavar="UNDO_RUN_ID", help="Stop an undo after its batch under way.")
@click.option("--idempotency-key", metavar="KEY", help="The same request sent twice with it is one undo.")
@click.option("--user", "user_name", metavar="NAME", help="Who undoes (default: the system's user name).")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON document.")
@click.pass_context
def undo(
    ctx: click.Context,
    /,
    run_ids: tuple[str, ...],
    resume: str | None,
    cancel: str | None,
    approve: str | None,
    preview: bool,
    yes: bool,
    as_json: bool,
    user_name: str | None,
    **chosen: str | Path | None,
) -> int:
    """Take back what runs changed, without harming what happened since.

    Exit status: 0 all done, 8 something is left (partial, nothing applied, aborted), 4 refused, 7 interrupted.
    """
    if sum(map(bool, (run_ids, resume, cancel, approve))) != 1:
        raise click.UsageError("Give Run IDs, or one of --resume, --cancel and --approve.")
    with open_session(ctx) as session, open_output(None) as stream:
        account_id = session.account_id
        undos = session.services.undo(account_id)
        user = _user(user_name)
        if approve is not None:
            undos.approvals.approve(approve, user.shown or "")
            session.remark(f"Approved by {user.shown}: {approve}")
            return 0
        if cancel is not None:
            undos.cancel(cancel)
            return _end_or_running(session, stream, undos, cancel, as_json)
        if resume is not None:
            with Progress("records", quiet=session.quiet) as progress:
                result = undos.carry_on(resume, lambda at: progress.advance(at.records - progress.items))
            return _end(session, stream, result, as_json)
        edited = _edited(session, account_id, run_ids, chosen["from_report"])
        request = _request(run_ids, chosen, edited)
        plan = undos.preview(request) if preview or not yes else None
        if edited is not None and not (as_json and (preview or yes)):
            show_edited(sys.stderr.buffer, edited)
        if preview:
            assert plan is not None
            return _show_plan(session, stream, plan, as_json, edited)
        if plan is not None:
            _ask(plan, edited)
        with Progress("records", quiet=session.quiet) as progress:
            undo_id, is_new = undos.begin(request, user=user)
            if is_new:
                session.remark(f"Undo {undo_id} has begun; if it is interrupted: ledger undo --resume {undo_id}")
                result = undos.carry_on(undo_id, lambda at: progress.advance(at.records - progress.items, _share(at)))
                session.remark(f"{progress.items:,} records, {progress.rate:,.0f}/s")
        if not is_new:
            session.remark("The same request was sent before; this is what became of it.")
            return _end_or_running(session, stream, undos, undo_id, as_json, replayed=True)
        return _end(session, stream, result, as_json, edited)


@click.command("restore")
@click.argument("object_type")
@click.option("--as-of", required=True, type=INSTANT, metavar="INSTANT", help="RFC 3339, or a date.")
@click.option("--records", metavar="ID,...", help="Only these records.")
@click.option("--on-conflict", "policy", type=click.Choice(POLICY_NAMES[:4]), default="skip", show_default=True)
@click.option("--target", metavar="NAME", help="Where to write (default: the target that the runs name).")
@click.option("--plan-digest", metavar="DIGEST", help="Apply only if the plan still has this digest.")
@click.option("--idempotency-key", metavar="KEY", help="The same request sent twice with it is one undo.")
@click.option("--preview", is_flag=True, help="Show the plan; write and record nothing.")
@click.option("--user", "user_name", metavar="NAME", help="Who restores (default: the system's user name).")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON document.")
@click.pass_context
def restore(
    ctx: click.Context,
    /,
    object_type: str,
    as_of: datetime,
    records: str | None,
    policy: str,
    target: str | None,
    plan_digest: str | None,
    idempotency_key: str | None,
    preview: bool,
    yes: bool,
    as_json: bool,
    user_name: str | None,
) -> int:
    """Put records of a type back to a moment, across many runs, as one undo with the same rules.

    Exit status as of `ledger undo`.
    """
    from ledger.undo.request import Restoring
    from ledger.undo.result import UndoResult

    with open_session(ctx) as session, open_output(None) as stream:
        account_id = session.account_id
        ids = _names(records)
        only = None if ids is None else frozenset(ids)
        asked = Restoring(object_type, as_of, only, policy, target, plan_digest, idempotency_key)  # type: ignore[arg-type]  # one of click's choices
        request = session.services.restoring(account_id, asked)
        if not request.runs:
            session.remark(f"Nothing has changed records of type {object_type} since {as_of.isoformat()}.")
            if as_json:
                write_json(stream, UndoResult("nothing_to_do", ()).as_dict())
            return 0
        undos = session.services.undo(account_id)
        plan = undos.preview(request) if preview or not yes else None
        if plan is not None and preview:
            return _show_plan(session, stream, plan, as_json)
        if plan is not None:
            _ask(plan)
        return _end(session, stream, undos.undo(request, user=_user(user_name)), as_json)


def _share(at: UndoProgress) -> float:
    return min(1.0, at.records / max(1, at.total))


def _user(name: str | None) -> User:
    import getpass

    from ledger.domain.operation import User

    try:
        return User(name=name or getpass.getuser())
    except (KeyError, OSError):
        return User(name="unknown")


def _request(run_ids: Sequence[str], chosen: dict[str, str | Path | None], edited: EditedReport | None) -> UndoRequest:
    from ledger.undo.request import UndoRequest

    def text(name: str) -> str | None:
        return None if chosen[name] is None else str(chosen[name])

    return UndoRequest(
        tuple(dict.fromkeys(run_ids)),
        text("policy"),  # type: ignore[arg-type]
        _selection(chosen, edited),
        text("target"),
        text("plan_digest"),
        text("idempotency_key"),
    )


def _edited(
    session: Session, account_id: UUID, run_ids: Sequence[str], report: str | Path | None
) -> EditedReport | None:
    """The edited report, if one was given. Raises UsageError for more than one run: a report is of one."""
    if not isinstance(report, Path):
        return None
    if len(run_ids) != 1:
        raise click.UsageError("A report is of one run, or of one recipe's run. Give its Run ID alone.")
    return session.services.edited_report(account_id, run_ids[0], report.read_bytes())


def _selection(chosen: dict[str, str | Path | None], edited: EditedReport | None) -> Selection:
    from dataclasses import replace

    from ledger.undo.request import Selection

    records = _names(chosen["records"])
    path = chosen["records_file"]
    if isinstance(path, Path):
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
        records = [*(records or []), *(line for line in lines if line)]
    fields, types = _names(chosen["fields"]), _names(chosen["object_types"])
    selection = Selection(
        None if fields is None else frozenset(fields),
        None if records is None else frozenset(map(_record, records)),
        None if types is None else frozenset(types),
    )
    if edited is None:
        return selection
    left = edited.selection
    both = left.records if selection.records is None else selection.records & (left.records or frozenset())
    return replace(selection, records=both, columns=left.columns, except_changes=left.except_changes)


def _names(value: str | Path | None) -> list[str] | None:
    return None if value is None else [name for name in str(value).split(",") if name]


def _record(name: str) -> tuple[str, str]:
    object_type, slash, record_id = name.partition("/")
    if not slash or not object_type or not record_id:
        problem = Problem("Not a record.", parameter="--records", found=repr(name[:80]), expected="TYPE/ID")
        raise InputError(f"{name[:80]!r} is no record. Expected TYPE/ID, such as contact/17.", problems=(problem,))
    return object_type, record_id


def _ask(plan: UndoResult, edited: EditedReport | None = None) -> None:
    _show(sys.stderr.buffer, plan, is_plan=True)
    if plan.status == "nothing_to_do":
        return
    if not sys.stdin.isatty():
        raise InputError("This undo wants to be confirmed. Add --yes, or run it in a terminal.")
    what = "" if edited is None or edited.is_as_the_ledger_says else " with the ledger's values"
    click.confirm(f"Write {plan.records_to_write:,} records back{what}?", abort=True, err=True)


def _show_plan(
    session: Session, stream: BinaryIO, plan: UndoResult, as_json: bool, edited: EditedReport | None = None
) -> int:
    if as_json:
        write_json(stream, _document(plan, edited))
    else:
        _show(stream, plan, is_plan=True)
        session.remark(f"Nothing was written. To apply exactly this plan: --plan-digest {plan.digest}")
    return EXIT_CODES[plan.status]


def _document(result: UndoResult, edited: EditedReport | None) -> dict[str, Any]:
    return result.as_dict() | ({} if edited is None else {"edited_report": edited.as_dict()})


def _end(
    session: Session, stream: BinaryIO, result: UndoResult, as_json: bool, edited: EditedReport | None = None
) -> int:
    if as_json:
        write_json(stream, _document(result, edited))
    else:
        _show(stream, result, is_plan=False)
        if result.status == "interrupted":
            session.remark(f"Interrupted: {result.facts.get('reason', '')}")
            session.remark(f"Go on with it: ledger undo --resume {result.undo_id}")
        else:
            session.remark(f"Its report: ledger report {result.undo_id}")
    return EXIT_CODES[result.status]


def _end_or_running(
    session: Session, stream: BinaryIO, undos: AccountUndo, undo_id: str, as_json: bool, *, replayed: bool = False
) -> int:
    """How an undo ended; of one that another process carries out, that it does."""
    is_running = undos.state(undo_id) == "running"
    result = undos.result(undo_id)
    result.replayed = replayed
    if not is_running:
        return _end(session, stream, result, as_json)
    if as_json:
        write_json(stream, result.as_dict() | {"status": "running"})
    session.remark(f"Undo {undo_id} is being carried out. Once asked to stop it does so after its batch under way.")
    return 0


def _show(stream: BinaryIO, result: UndoResult, *, is_plan: bool) -> None:
    would = "would be written back" if is_plan else "written back"
    write_facts(
        stream,
        [
            ("Undo", result.undo_id),
            ("Undoes", ", ".join(result.runs[:10])),
            ("Status", result.status),
            ("Cascaded runs", ", ".join(result.cascaded_runs) or None),
            (f"Records {would}", result.applied.count),
            ("Fields proven equal to their before-values", None if is_plan else result.fields_proven),
            ("Left alone", result.skipped.count or None),
            ("Already as before", result.noop.count or None),
            ("Failed", result.failed.count or None),
        ],
    )
    items = [*result.skipped.items, *result.failed.items]
    if items:
        stream.write(b"\n")
        rows = [_row(item) for item in items[:ITEMS_SHOWN_MAX]]
        write_table(stream, ("Record", "Field", "Why", "Written by", "User", "At"), rows)
        left = result.skipped.count + result.failed.count - len(rows)
        if left > 0:
            stream.write(f"… and {left:,} more\n".encode())


def _row(item: Item) -> Sequence[object]:
    author = item.author
    reason = item.reason + (f": {item.message}" if item.message else "")
    by = ("", "", "")
    if author is not None:
        by = (
            author.run_id or "outside the ledger", author.user or "", shown_instant(author.at) if author.at else ""
        )  # fmt: skip
    return (f"{item.object_type}/{item.record_id}", item.field or "(record)", reason, *by)
