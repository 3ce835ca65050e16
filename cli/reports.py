"""`ledger report`."""

from __future__ import annotations

import sys

import click

from cli.output import open_output
from cli.session import open_session
from ledger.errors import InputError


@click.command()
@click.argument("run_id")
@click.option("--format", "form", type=click.Choice(["csv", "xlsx", "ndjson"]), default="csv", show_default=True)
@click.option("-o", "--output", metavar="FILE", help="Where to; `-` is stdout, a folder takes the report's own name.")
@click.option("--spreadsheet", is_flag=True, help="CSV for spreadsheets: with BOM, risky cells behind an apostrophe.")
@click.option("--include-preview", is_flag=True, help="Also of a preview run, which writes nothing.")
@click.pass_context
def report(
    context: click.Context, run_id: str, form: str, output: str | None, spreadsheet: bool, include_preview: bool
) -> None:
    """Write the before/after report of the run RUN_ID; of a recipe, of all its runs."""
    if form == "xlsx" and output in (None, "-") and sys.stdout.isatty():
        raise InputError("An XLSX file cannot be shown in a terminal. Name a file with -o.")
    with open_session(context) as session:
        opened = session.services.reports(session.caught_up()).open(
            run_id,
            form,  # type: ignore[arg-type]
            dialect="spreadsheet" if spreadsheet else "exact",
            include_preview=include_preview,
        )
        with open_output(_place(output, opened.file_name)) as stream:
            for block in opened.blocks:
                stream.write(block)


def _place(output: str | None, file_name: str) -> str | None:
    from pathlib import Path

    return str(Path(output) / file_name) if output and output != "-" and Path(output).is_dir() else output
