"""`ledger account` and `ledger token`."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Any

import click

from cli.options import INSTANT
from cli.output import form_options, open_output, write_json, write_ndjson, write_table
from cli.session import open_session

ROLES = ("producer", "operator", "auditor", "admin")


@click.group()
def account() -> None:
    """Add and list accounts."""


@account.command("add")
@click.argument("name")
@click.pass_context
def add_account(ctx: click.Context, /, name: str) -> None:
    """Make the account NAME (a-z, 0-9, _ and -)."""
    with open_session(ctx) as session:
        made = session.services.accounts().add(name)
        session.remark(f"Made the account {made.name}. Make a token: ledger --account {made.name} token make ROLE")


@account.command("list")
@form_options
@click.pass_context
def list_accounts(ctx: click.Context, /, form: str | None, output: Path | None) -> None:
    """List all accounts and the position of their newest event."""
    with open_session(ctx) as session, open_output(output) as stream:
        found = session.services.accounts().list()
        rows = [{"account_id": str(each.account_id), "name": each.name, "head": each.head} for each in found]
        _write(stream, form, rows, ("name", "head", "account_id"))


@click.group()
def token() -> None:
    """Make, list and revoke API tokens."""


@token.command("make")
@click.argument("role", type=click.Choice(ROLES))
@click.option("--name", default="", metavar="TEXT", help="What the token is for (default: its role).")
@click.option("--expires-at", type=INSTANT, metavar="INSTANT", help="When it ends (default: never).")
@click.option("--json", "as_json", is_flag=True, help="One JSON document with the token.")
@click.pass_context
def make_token(ctx: click.Context, /, role: str, name: str, expires_at: datetime | None, as_json: bool) -> None:
    """Make an API token with ROLE and print it: it is shown this once, only its hash is kept."""
    with open_session(ctx) as session, open_output(None) as stream:
        text, kept = session.services.tokens(session.account_id).make(role, name or role, expires_at)
        if as_json:
            write_json(stream, kept.as_dict() | {"token": text})
            return
        stream.write(text.encode() + b"\n")
        session.remark(
            f"A token of role {role} for account {session.settings.account}. Keep it: it is not shown again."
        )


@token.command("list")
@form_options
@click.pass_context
def list_tokens(ctx: click.Context, /, form: str | None, output: Path | None) -> None:
    """List the account's tokens, expired and revoked ones too."""
    with open_session(ctx) as session, open_output(output) as stream:
        rows = [each.as_dict() for each in session.services.tokens(session.account_id).list()]
        columns = ("token_id", "role", "name", "created_at", "expires_at", "revoked_at", "last_used_at")
        _write(stream, form, rows, columns)


@token.command("revoke")
@click.argument("token_id")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_context
def revoke_token(ctx: click.Context, /, token_id: str, yes: bool) -> None:
    """End the life of the token that begins with TOKEN_ID (as `ledger token list` shows it)."""
    with open_session(ctx) as session:
        if not yes:
            click.confirm(f"Revoke {token_id}? Who uses it is locked out at once.", abort=True, err=True)
        session.services.tokens(session.account_id).revoke(token_id)
        session.remark(f"Revoked {token_id}.")


def _write(stream: Any, form: str | None, rows: list[dict[str, Any]], columns: tuple[str, ...]) -> None:
    if form == "json":
        write_json(stream, rows)
    elif form == "ndjson":
        write_ndjson(stream, rows)
    else:
        titles = [column.replace("_", " ").capitalize() for column in columns]
        write_table(stream, titles, [[row[column] for column in columns] for row in rows])
