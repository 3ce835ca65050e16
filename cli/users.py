"""`ledger user`: who may sign in to an account with OpenID Connect."""

from __future__ import annotations

from pathlib import Path

import click

from cli.output import form_options, open_output, write_json, write_ndjson, write_table
from cli.session import open_session

ROLES = ("producer", "operator", "auditor", "admin")


@click.group()
def user() -> None:
    """Say who may sign in to the pages with OpenID Connect, and as what."""


@user.command("add")
@click.argument("email")
@click.option("--role", type=click.Choice(ROLES), required=True)
@click.option("--name", metavar="TEXT", help="Shown in lists (default: as the provider says).")
@click.pass_context
def add(ctx: click.Context, /, email: str, role: str, name: str | None) -> None:
    """Let EMAIL sign in to the account with ROLE."""
    with open_session(ctx) as session:
        made = session.services.users(session.account_id).add(email, role, name)
        session.remark(f"{made.email} may sign in to account {session.settings.account} as {made.role}.")


@user.command("list")
@form_options
@click.pass_context
def list_users(ctx: click.Context, /, form: str | None, output: Path | None) -> None:
    """List the account's users."""
    with open_session(ctx) as session, open_output(output) as stream:
        rows = [each.as_dict() for each in session.services.users(session.account_id).list()]
        if form == "json":
            write_json(stream, rows)
        elif form == "ndjson":
            write_ndjson(stream, rows)
        else:
            columns = ("email", "role", "name", "created_at", "last_signed_in_at")
            titles = [column.replace("_", " ").capitalize() for column in columns]
            write_table(stream, titles, [[row[column] for column in columns] for row in rows])


@user.command("remove")
@click.argument("email")
@click.pass_context
def remove(ctx: click.Context, /, email: str) -> None:
    """End the access of EMAIL to the account, at once."""
    with open_session(ctx) as session:
        session.services.users(session.account_id).remove(email)
        session.remark(f"{email} is no user of account {session.settings.account} any more.")
