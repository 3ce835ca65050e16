"""`ledger project`, `ledger rebuild`, `ledger lag`: the views and their workers."""

from __future__ import annotations

import signal
from collections.abc import Callable
from threading import Event
from typing import Any

import click

from cli.output import form_options, print_rows
from cli.progress import Progress
from cli.session import open_session
from ledger.errors import IntegrityFailed


@click.command()
@click.option("--once", is_flag=True, help="Only up to the heads of the logs, of all accounts.")
@click.pass_context
def project(context: click.Context, once: bool) -> None:
    """Follow the logs of all accounts and keep the views up to date, until SIGTERM. Several may run."""
    import bootstrap

    with open_session(context) as session:
        services = session.services
        if once:
            for account in services.accounts().list():
                services.project_once(account.account_id)
            _refuse_failures([each.failure for each in services.lag()])
            return
        stop = Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        bootstrap.tune_process()
        click.echo("Following. Ctrl-C stops it.", err=True)
        services.follower().follow(stop)


@click.command()
@click.argument("view")
@click.pass_context
def rebuild(context: click.Context, view: str) -> None:
    """Fill VIEW anew beside the live one, and swap. Readers see the old rows until then."""
    with open_session(context) as session, Progress("positions") as progress:
        done = 0

        def on_progress(position: int) -> None:
            nonlocal done
            progress.add(position - done)
            done = position

        generation = session.services.rebuild(session.account_id, view, on_progress=on_progress)
    click.echo(f"{view} was rebuilt; generation {generation} is live.", err=True)


@click.command()
@form_options
@click.pass_context
def lag(context: click.Context, as_json: bool, ndjson: bool) -> None:
    """Show how far each view of each account is behind its log, and which stands still."""
    with open_session(context) as session:
        rows = [each.as_dict() for each in session.services.lag()]
    names = ("account", "projection", "position", "head", "behind", "failed_position", "failure")
    columns: list[tuple[str, Callable[[dict[str, Any]], Any]]] = [
        (name, lambda row, name=name: row[name])  # type: ignore[misc]
        for name in names
    ]
    print_rows(rows, columns, as_json=as_json, ndjson=ndjson)
    _refuse_failures([row["failure"] for row in rows])


def _refuse_failures(failures: list[str | None]) -> None:
    found = [failure for failure in failures if failure]
    if found:
        raise IntegrityFailed(f"{len(found)} views stand still: {found[0]} See `ledger lag`.")
