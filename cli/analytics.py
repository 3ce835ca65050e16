"""`ledger export` and `ledger query`: the log for analysts and for security monitoring."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import click

from cli.output import form_options, open_output, output_option, write_json, write_ndjson, write_table
from cli.progress import Progress
from cli.session import Session, open_session

FOLLOW_EVERY_S = 1.0


@click.group()
def export() -> None:
    """Export the log: as Parquet for analysts, as OCSF for security monitoring."""


@export.command("parquet")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="What was written, as one JSON document.")
@click.pass_context
def export_parquet(ctx: click.Context, /, folder: Path, as_json: bool) -> None:
    """Write the account's log as Parquet files into FOLDER; again, only what is new or was erased since.

    FOLDER/events, /changes and /runs, partitioned by account, sorted by position. The files hold personal data: an
    erasure reaches them when the export is made again.
    """
    with open_session(ctx) as session, open_output(None) as stream:
        done = _export(session, folder.absolute())
        if as_json:
            write_json(stream, done.as_dict())
        else:
            session.remark(f"{folder} reaches position {done.upto:,}; files written: {len(done.files):,}.")


@export.command("ocsf")
@click.option("--after", "cursor", type=click.IntRange(min=0), default=0, metavar="CURSOR",
              help="Only what comes after: metadata.sequence of the last event seen.")  # fmt: skip
@click.option("--follow", is_flag=True, help="Go on with what is recorded from now on, until interrupted.")
@output_option
@click.pass_context
def export_ocsf(ctx: click.Context, /, cursor: int, follow: bool, output: Path | None) -> None:
    """Print changes as OCSF events (class 3004, Entity Management), one a line, without values."""
    if follow and output is not None:
        raise click.UsageError("--follow writes to stdout: a file appears only when it is whole.")
    with open_session(ctx) as session, open_output(output) as stream:
        exporting = session.services.ocsf(session.account_id, session.settings.account)
        while True:
            for page in exporting.pages(cursor):
                write_ndjson(stream, page.events)
                cursor = page.cursor
            stream.flush()
            if not follow:
                break
            time.sleep(FOLLOW_EVERY_S)
        session.remark(f"Go on with --after {cursor}.")


@click.command()
@click.argument("sql")
@click.option("--dir", "folder", type=click.Path(file_okay=False, path_type=Path), metavar="FOLDER",
              help="An export (default: one of this account, made for this query alone).")  # fmt: skip
@form_options
@click.pass_context
def query(ctx: click.Context, /, sql: str, folder: Path | None, form: str | None, output: Path | None) -> None:
    """Query an export with SQL (DuckDB's): the views events, changes and runs, each with the column account.

    before, after, details and payload are JSON texts: after->>'$.phone'.
    """
    from projections.analytics.duck import run_query

    with ExitStack() as stack:
        if folder is None:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix="ledger-query-")))
            with open_session(ctx) as session:
                _export(session, folder)
        columns, rows = run_query(folder.absolute(), sql)
        with open_output(output) as stream:
            if form == "ndjson":
                write_ndjson(stream, (dict(zip(columns, row, strict=True)) for row in rows))
            elif form == "json":
                write_json(stream, [dict(zip(columns, row, strict=True)) for row in rows])
            else:
                write_table(stream, columns, list(rows))


def _export(session: Session, folder: Path) -> Any:
    account_id = session.caught_up()
    with Progress("events", quiet=session.quiet) as progress:
        exporting = session.services.parquet(
            account_id,
            session.settings.account,
            lambda upto, last: progress.advance(upto - progress.items, upto / last),
        )
        return exporting.export(folder)
