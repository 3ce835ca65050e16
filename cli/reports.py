"""`ledger report`."""

from __future__ import annotations

import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from cli.output import open_output, output_option
from cli.session import open_session

if TYPE_CHECKING:
    from collections.abc import Generator

    from projections.reports.reading import Dialect, Format

FORMATS = ("csv", "xlsx", "ndjson")


@click.command()
@click.argument("run_id")
@click.option("--format", "form", type=click.Choice(FORMATS), help="Default: by FILE's name, else csv.")
@click.option(
    "--dialect",
    type=click.Choice(("exact", "spreadsheet")),
    default="exact",
    show_default=True,
    help="CSV for programs, or safe to open in a spreadsheet.",
)
@click.option("--preview", "include_preview", is_flag=True, help="Report a preview run too.")
@output_option
@click.pass_context
def report(
    ctx: click.Context, /, run_id: str, form: str | None, dialect: str, include_preview: bool, output: Path | None
) -> None:
    """Write the before/after report of RUN_ID; of a recipe, of all its runs."""
    suffix = output.suffix.lstrip(".").lower() if output else ""
    chosen = form or (suffix if suffix in FORMATS else "csv")
    if chosen == "xlsx" and output is None and sys.stdout.isatty():
        raise click.UsageError("An XLSX file is nothing for a terminal; name a file with -o.")
    with open_session(ctx) as session:
        opened = session.services.reports(session.caught_up()).open(
            run_id,
            cast("Format", chosen),
            dialect=cast("Dialect", dialect),
            include_preview=include_preview,
        )
        blocks = cast("Generator[bytes]", opened.blocks)
        with open_output(output) as stream, closing(blocks):
            for block in blocks:
                stream.write(block)
        if output is not None:
            session.remark(f"Wrote {opened.title} to {output}.")
