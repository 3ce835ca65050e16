"""`ledger migrate`."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import form_options, open_output, write_json, write_ndjson, write_table
from cli.session import settings_of

if TYPE_CHECKING:
    from migrations.migrate import Status


@click.command()
@click.option("--status", "only_status", is_flag=True, help="Show which migrations are applied; change nothing.")
@form_options
@click.pass_context
def migrate(ctx: click.Context, /, only_status: bool, form: str | None, output: Path | None) -> None:
    """Bring the database to the newest schema. A second migrator waits; an applied file that was edited is refused.

    Uses LEDGER_OWNER_URL where it is set, else LEDGER_DATABASE_URL, else the embedded database.
    """
    from ledger import embedded
    from ledger.store.database import in_ledger_words
    from migrations.migrate import migrate as apply
    from migrations.migrate import status

    settings = settings_of(ctx)
    quiet = ctx.find_root().obj["quiet"]

    def say(text: str) -> None:
        if not quiet:
            click.echo(text, err=True)

    with ExitStack() as stack:
        stack.enter_context(in_ledger_words())
        owner_url = settings.owner_url or stack.enter_context(embedded.database(settings.home)).owner_url
        if not only_status:
            applied = apply(owner_url, say=say)
            for each in applied:
                say(f"Applied {each.file_name}.")
            if not applied:
                say("Nothing to do: the schema is the newest.")
        if only_status or form or output:
            _write_status(status(owner_url), form, output)


def _write_status(found: list[Status], form: str | None, output: Path | None) -> None:
    rows = [{"number": each.number, "name": each.name, "applied_at": each.applied_at} for each in found]
    with open_output(output) as stream:
        if form == "json":
            write_json(stream, rows)
        elif form == "ndjson":
            write_ndjson(stream, rows)
        else:
            shown = [[f"{each.number:04}", each.name, each.applied_at or "pending"] for each in found]
            write_table(stream, ("Number", "Name", "Applied at"), shown)
