"""`ledger project`, `rebuild` and `lag`."""

from __future__ import annotations

import signal
from pathlib import Path
from threading import Event

import click

from cli.output import form_options, open_output, write_json, write_ndjson, write_table
from cli.progress import Progress
from cli.session import open_session


@click.command()
@click.option("--once", is_flag=True, help="Bring the chosen account's views up to the log, then end.")
@click.pass_context
def project(ctx: click.Context, /, once: bool) -> None:
    """Follow the log of all accounts and fill the views, until SIGTERM or Ctrl-C. Several may run at once."""
    import bootstrap

    with open_session(ctx) as session:
        bootstrap.tune_process()
        if once:
            position = session.services.project_once(session.account_id)
            session.remark(f"The views of account {session.settings.account} are at position {position:,}.")
            return
        stop = Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        session.remark("Following the log. Ctrl-C ends it.")
        session.services.follower().follow(stop)
        session.remark("Stopped.")


@click.command()
@click.argument("projection")
@click.pass_context
def rebuild(ctx: click.Context, /, projection: str) -> None:
    """Fill a view (tracker, run_changes, records, activity_daily) anew from the log, beside the one that is read."""
    import bootstrap

    with open_session(ctx) as session:
        bootstrap.tune_process()
        account = session.services.accounts().find(session.settings.account)
        reached = 0
        with Progress("events", quiet=session.quiet) as progress:

            def on_progress(position: int) -> None:
                nonlocal reached
                progress.advance(position - reached, position / max(account.head, 1))
                reached = position

            generation = session.services.rebuild(account.account_id, projection, on_progress=on_progress)
        session.remark(f"Rebuilt {projection}: generation {generation} is live, {progress.elapsed_s:.1f} s.")


@click.command()
@click.option("--all-accounts", is_flag=True, help="Those of every account.")
@form_options
@click.pass_context
def lag(ctx: click.Context, /, all_accounts: bool, form: str | None, output: Path | None) -> None:
    """Show how many events each view is behind the log, and why one stands still."""
    with open_session(ctx) as session, open_output(output) as stream:
        rows = [each.as_dict() for each in session.services.lag(None if all_accounts else session.account_id)]
        if form == "json":
            write_json(stream, rows)
        elif form == "ndjson":
            write_ndjson(stream, rows)
        else:
            columns = ("account", "projection", "generation", "position", "head", "behind", "failure")
            titles = [name.capitalize() for name in columns]
            write_table(stream, titles, [[row[name] for name in columns] for row in rows])
