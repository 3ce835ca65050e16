"""`ledger notify`: who is told when runs end."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.errors import EXIT_FAILURE
from cli.output import form_options, open_output, write_json, write_ndjson, write_table
from cli.session import open_session

if TYPE_CHECKING:
    from collections.abc import Callable

OCCASIONS = ("all", "failed", "zero_succeeded")
_COLUMNS = ("Rule", "Channel", "Occasion", "Template", "User", "To", "Disabled")


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    for add_option in (
        click.option("--user", metavar="NAME", help="Only runs of this user: name, e-mail address or id."),
        click.option("--template", metavar="NAME", help="Only runs of this template: name or id."),
        click.option("--on", "occasion", type=click.Choice(OCCASIONS), default="all", show_default=True,
                     help="Which runs: all, those with failures, those in which nothing succeeded."),
    ):  # fmt: skip
        command = add_option(command)
    return command


@click.group()
def notify() -> None:
    """Send reports by e-mail and events to webhooks when runs end."""


@notify.group("add")
def add() -> None:
    """Add a rule."""


@add.command("email")
@click.argument("recipients", nargs=-1, required=True, metavar="ADDRESS...")
@_filters
@click.pass_context
def add_email(
    ctx: click.Context, /, recipients: tuple[str, ...], occasion: str, template: str | None, user: str | None
) -> None:
    """Send the report of each run to these addresses, an e-mail each. Prints the rule's id."""
    with open_session(ctx) as session, open_output(None) as stream:
        rules = session.services.notification_rules(session.account_id)
        rule = rules.add_email(recipients, occasion=occasion, template=template, user=user, created_by=_who())
        stream.write(f"{rule.rule_id}\n".encode())
        if session.settings.smtp_host is None or session.settings.smtp_from is None:
            session.remark("No mail server is set here: whoever runs the jobs needs LEDGER_SMTP_HOST and _FROM.")


@add.command("webhook")
@click.argument("url")
@_filters
@click.option("--json", "as_json", is_flag=True, help="One JSON document with the secret.")
@click.pass_context
def add_webhook(
    ctx: click.Context, /, url: str, occasion: str, template: str | None, user: str | None, as_json: bool
) -> None:
    """Post an event of each run to URL. Prints the secret of its signatures: it is shown this once."""
    with open_session(ctx) as session, open_output(None) as stream:
        rules = session.services.notification_rules(session.account_id)
        rule, secret = rules.add_webhook(url, occasion=occasion, template=template, user=user, created_by=_who())
        if as_json:
            write_json(stream, rule.as_dict() | {"secret": secret})
            return
        stream.write(f"{secret}\n".encode())
        session.remark(f"Rule {rule.rule_id}. Keep the secret: it is not shown again.")


@notify.command("list")
@form_options
@click.pass_context
def list_rules(ctx: click.Context, /, form: str | None, output: Path | None) -> None:
    """List the account's rules."""
    with open_session(ctx) as session, open_output(output) as stream:
        rules = session.services.notification_rules(session.account_id).list()
        if form == "json":
            write_json(stream, [rule.as_dict() for rule in rules])
        elif form == "ndjson":
            write_ndjson(stream, (rule.as_dict() for rule in rules))
        else:
            rows = [
                (one.rule_id, one.channel, one.occasion, one.template, one.user, one.url or ", ".join(one.recipients),
                 one.disabled_why)
                for one in rules
            ]  # fmt: skip
            write_table(stream, _COLUMNS, rows)


@notify.command("remove")
@click.argument("rule_id")
@click.pass_context
def remove(ctx: click.Context, /, rule_id: str) -> None:
    """Forget a rule. What waits to be sent for it is not sent."""
    with open_session(ctx) as session:
        session.services.notification_rules(session.account_id).remove(rule_id)
        session.remark(f"Removed {rule_id}.")


@notify.command("test")
@click.argument("rule_id")
@click.pass_context
def test(ctx: click.Context, /, rule_id: str) -> int:
    """Send the rule's recipients a message of a run that never was, now, and say what came of each."""
    from ledger.jobs.worker import Done

    with open_session(ctx) as session, open_output(None) as stream:
        results = session.services.delivery(session.settings).test(session.account_id, rule_id)
        for recipient, outcome in results:
            word = "sent" if isinstance(outcome, Done) else "not sent"
            stream.write(f"{recipient}: {word}: {outcome.outcome}\n".encode())
    return 0 if all(isinstance(outcome, Done) for _, outcome in results) else EXIT_FAILURE


def _who() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
