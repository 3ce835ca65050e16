"""`ledger work` and `ledger jobs`: doing the background work, and looking at it."""

from __future__ import annotations

import signal
from pathlib import Path
from threading import Event

import click

from cli.output import form_options, open_output, write_json, write_ndjson, write_table
from cli.session import open_session

_COLUMNS = ("job_id", "kind", "about", "recipient", "state", "attempts", "due_at", "outcome")


@click.command()
@click.option("--once", is_flag=True, help="Bring the chosen account up to the log, do what is due, then end.")
@click.pass_context
def work(ctx: click.Context, /, once: bool) -> None:
    """Do the jobs of all accounts (e-mails, webhooks), until SIGTERM or Ctrl-C. Several may run at once.

    Jobs come from the log: somebody must follow it (`ledger serve`, `ledger project`).
    """
    with open_session(ctx) as session:
        worker = session.services.worker(session.settings)
        if once:
            session.services.project_once(session.account_id)
            session.remark(f"{worker.work_once()} jobs were taken.")
            return
        stop = Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        session.remark("Working. Ctrl-C ends it.")
        worker.work(stop)
        session.remark("Stopped.")


@click.group()
def jobs() -> None:
    """Look at the background work: what waits, what is dead; try it again."""


@jobs.command("list")
@click.option("--state", type=click.Choice(("waiting", "done", "dead")), help="Only those.")
@form_options
@click.pass_context
def list_jobs(ctx: click.Context, /, state: str | None, form: str | None, output: Path | None) -> None:
    """List the account's jobs, the newest first, at most 500."""
    with open_session(ctx) as session, open_output(output) as stream:
        rows = [job.as_dict() for job in session.services.jobs(session.account_id).list(state)]
        if form == "json":
            write_json(stream, rows)
        elif form == "ndjson":
            write_ndjson(stream, rows)
        else:
            titles = [column.replace("_", " ").capitalize() for column in _COLUMNS]
            write_table(stream, titles, [[row[column] for column in _COLUMNS] for row in rows])


@jobs.command("retry")
@click.argument("job_id")
@click.pass_context
def retry(ctx: click.Context, /, job_id: str) -> None:
    """Try a dead job again, or one that waits for its next attempt, now."""
    with open_session(ctx) as session:
        session.services.jobs(session.account_id).revive(job_id)
        session.remark(f"Job {job_id} is due now.")


@jobs.command("forget")
@click.argument("job_id")
@click.pass_context
def forget(ctx: click.Context, /, job_id: str) -> None:
    """Remove a dead job."""
    with open_session(ctx) as session:
        session.services.jobs(session.account_id).forget(job_id)
        session.remark(f"Forgot job {job_id}.")
