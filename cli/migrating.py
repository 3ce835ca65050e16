"""`ledger migrate`."""

from __future__ import annotations

import click

from cli.output import print_table
from cli.session import settings_of


@click.command()
@click.option("--status", "only_status", is_flag=True, help="Only show what is applied and what is not.")
@click.pass_context
def migrate(context: click.Context, only_status: bool) -> None:
    """Bring the database to this release's schema, as LEDGER_OWNER_URL (default: LEDGER_DATABASE_URL)."""
    from ledger import embedded
    from migrations import migrate as migrations

    settings = settings_of(context)
    if settings.owner_url is not None:
        _migrate(migrations, settings.owner_url, only_status)
        return
    with embedded.database(settings.home) as urls:
        _migrate(migrations, urls.owner_url, only_status)


def _migrate(migrations: object, owner_url: str, only_status: bool) -> None:
    from migrations.migrate import migrate as apply
    from migrations.migrate import status

    if not only_status:
        applied = apply(owner_url)
        for each in applied:
            click.echo(f"Applied {each.number:04} {each.name}.", err=True)
        click.echo(f"{len(applied)} migrations applied." if applied else "The schema is up to date.", err=True)
        return
    print_table(
        ("number", "name", "applied"),
        [(f"{each.number:04}", each.name, each.applied_at or "not yet") for each in status(owner_url)],
    )
