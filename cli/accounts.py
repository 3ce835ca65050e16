"""`ledger account` and `ledger token`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import click

from cli.output import form_options, print_document, print_rows
from cli.session import open_session
from ledger.access import ROLES
from ledger.json_text import encode


@click.group()
def account() -> None:
    """Make and list accounts: each has a log, tokens and views of its own."""


@account.command("add")
@click.argument("name")
@click.pass_context
def account_add(context: click.Context, name: str) -> None:
    """Make the account NAME."""
    with open_session(context) as session:
        made = session.services.accounts().add(name)
    click.echo(f"Account {made.name} was made.", err=True)


@account.command("list")
@form_options
@click.pass_context
def account_list(context: click.Context, as_json: bool, ndjson: bool) -> None:
    """List all accounts and how many events each has."""
    with open_session(context) as session:
        rows = [
            {"name": each.name, "account_id": str(each.account_id), "head": each.head}
            for each in session.services.accounts().list()
        ]
    columns = [(name, lambda row, name=name: row[name]) for name in ("name", "head", "account_id")]
    print_rows(rows, columns, as_json=as_json, ndjson=ndjson)


@click.group()
def token() -> None:
    """Make, list and revoke API tokens."""


@token.command("make")
@click.argument("role", type=click.Choice(ROLES))
@click.option("--name", required=True, help="What or whom it is for.")
@click.option("--days", type=click.IntRange(1, 36_500), help="How long it is valid; without it, until it is revoked.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@click.pass_context
def token_make(context: click.Context, role: str, name: str, days: int | None, as_json: bool) -> None:
    """Make a token with the role ROLE and print it: the one time that it is shown."""
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    with open_session(context) as session:
        text, made = session.services.tokens(session.account_id).make(role, name, expires_at)
    if as_json:
        click.echo(encode({"token": text, **made.as_dict()}))
    else:
        click.echo(text)
        click.echo(f"Token {made.token_id} ({role}). Keep it: it is not shown again.", err=True)


@token.command("list")
@form_options
@click.pass_context
def token_list(context: click.Context, as_json: bool, ndjson: bool) -> None:
    """List all tokens, the newest first."""
    with open_session(context) as session:
        rows = [each.as_dict() for each in session.services.tokens(session.account_id).list()]
    names = ("token_id", "name", "role", "created_at", "expires_at", "revoked_at", "last_used_at")
    print_rows(rows, [(name, lambda row, name=name: row[name]) for name in names], as_json=as_json, ndjson=ndjson)


@token.command("revoke")
@click.argument("token_id")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@click.pass_context
def token_revoke(context: click.Context, token_id: str, as_json: bool) -> None:
    """End the life of the token that begins with TOKEN_ID."""
    with open_session(context) as session:
        facts = session.services.tokens(session.account_id).revoke(token_id).as_dict()
    print_document(facts, facts.items(), as_json=as_json)
