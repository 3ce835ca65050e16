"""The e-mail that tells of a run: Run ID in subject and file name, tally and system error in the body, the report."""

from __future__ import annotations

from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from html import escape
from uuid import UUID

from ledger.domain.tally import Tally
from ledger.notifications.told import ToldRun, one_line

RUN_ID_HEADER = "X-Ledger-Run-ID"
_POLICY = SMTP.clone(max_line_length=500)
"""The longest subject has some 400 characters, and is best in one line: RFC 5322 section 2.1.1 takes up to 998."""
_COUNTS = ("updated", "created", "deleted", "unmodified", "other", "succeeded", "failed")


def compose(
    run: ToldRun,
    *,
    sender: str,
    recipient: str,
    job_id: UUID,
    now: datetime,
    base_url: str | None = None,
    report: tuple[str, bytes] | None = None,
    without_report: str | None = None,
    checkpoint: str | None = None,
) -> EmailMessage:
    """The message. `report`: file name and bytes; `without_report`: why there is none, in words; `checkpoint`: of the
    signed log, so that who keeps the e-mail keeps what a changed history cannot agree with.

    The Message-ID is made of the job, so that a message that had to be sent again has the same one (RFC 5322 section
    3.6.4): mail systems that look at it show it once. No text of a producer can end a header, see `one_line` and
    `_check_headers`.
    """
    message = EmailMessage(policy=_POLICY)
    message["From"] = sender
    message["To"] = recipient
    message["Subject"] = subject_of(run)
    message["Date"] = format_datetime(now)
    message["Message-ID"] = f"<{job_id}@{sender.rpartition('@')[2].rstrip('> ')}>"
    message["Auto-Submitted"] = "auto-generated"  # RFC 3834: no answers of absence to it
    message[RUN_ID_HEADER] = run.run_id
    _check_headers(message)
    address = run.address(base_url)
    facts = [(name, one_line(text, 1_000)) for name, text in _facts(run) if text]
    note = _note(run, report, without_report)
    message.set_content(_plain(facts, run.tally, note, address))
    message.add_alternative(_html(run, facts, note, address), subtype="html")
    if report is not None:
        name, data = report
        message.add_attachment(data, maintype="text", subtype="csv", filename=name, params={"charset": "utf-8"})
    if checkpoint is not None:  # as bytes: they go as base64, and no mail server touches the ends of the lines
        data, name = checkpoint.encode(), "checkpoint.txt"
        message.add_attachment(data, maintype="text", subtype="plain", filename=name, params={"charset": "utf-8"})
    return message


def subject_of(run: ToldRun) -> str:
    """`Run R-1 finished: Tidy phones (12 succeeded, 3 failed)`."""
    about = f": {run.title}" if run.title else ""
    return f"Run {run.run_id} {run.ended}{about} ({run.tally.succeeded:,} succeeded, {run.tally.failed:,} failed)"


def _check_headers(message: EmailMessage) -> None:
    """Raises ValueError if a header would be written as more than one. The library lets one through: it decodes encoded
    words (RFC 2047) that a text holds, and writes a line end that was in them as it is."""
    for name, value in message.raw_items():
        first, *more = message.policy.fold_binary(name, value).removesuffix(b"\r\n").split(b"\n")
        if not first.startswith(name.encode() + b":") or any(line[:1] not in (b" ", b"\t") for line in more):
            raise ValueError(f"the header {name} would end early")


def _facts(run: ToldRun) -> list[tuple[str, str | None]]:
    what = run.operation
    error = f"{run.error.code}: {run.error.message}" if run.error else None
    app = " / ".join(part for part in (what.app.name, what.app.account) if part) if what.app else None
    saved = what.template or what.recipe
    return [
        ("System error", error),
        ("Run ID", run.run_id),
        ("Template" if what.template else "Recipe", (saved.name or saved.id) if saved else None),
        ("Recipe's Run ID", what.recipe_run_id),
        ("App", app),
        ("Module", what.module),
        ("Object type", what.object_type),
        ("User", what.user.shown if what.user else None),
        ("Trigger", what.trigger),
        ("Started", f"{run.started_at:%Y-%m-%d %H:%M:%S %Z}"),
        ("Finished", f"{run.finished_at:%Y-%m-%d %H:%M:%S %Z}"),
    ]


def _note(run: ToldRun, report: tuple[str, bytes] | None, without_report: str | None) -> str:
    if report is not None:
        return f"The report is attached: {report[0]}"
    return without_report or ("" if run.has_report else "The run has no report.")


def _plain(facts: list[tuple[str, str]], tally: Tally, note: str, address: str | None) -> str:
    lines = [f"{name}: {text}" for name, text in facts]
    lines += ["", *(f"{name.capitalize():<11}{getattr(tally, name):>12,}" for name in _COUNTS), "", note]
    return "\n".join([*lines, *([address] if address else [])]) + "\n"


def _html(run: ToldRun, facts: list[tuple[str, str]], note: str, address: str | None) -> str:
    rows = "".join(f"<tr><th align=left>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in facts)
    counts = "".join(
        f"<tr><th align=left>{name.capitalize()}</th><td align=right>{getattr(run.tally, name):,}</td></tr>"
        for name in _COUNTS
    )
    link = f'<p><a href="{escape(address)}">{escape(address)}</a></p>' if address else ""
    return (
        f"<!doctype html><html lang=en><title>{escape(subject_of(run))}</title><body>"
        f"<table>{rows}</table><table>{counts}</table><p>{escape(note)}</p>{link}</body></html>"
    )
