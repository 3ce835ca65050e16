"""`ledger target`: the systems that undos write to, and capturing what is changed in them."""

from __future__ import annotations

from typing import Any

import click

from cli.output import open_output, write_json, write_table
from cli.session import open_session
from ledger.errors import InputError, Problem


@click.group()
def target() -> None:
    """Add and list target systems; capture what is changed in a PostgreSQL database."""


@target.command("add")
@click.argument("name")
@click.argument("kind", type=click.Choice(("postgres",)))
@click.option("--dsn", required=True, metavar="DSN",
              help="PostgreSQL connection string; env:NAME reads it from that variable when it is used.")  # fmt: skip
@click.option("--table", "tables", multiple=True, required=True, metavar="[TYPE=]TABLE",
              help="A table; TYPE is what its records are called (default: the table's name).")  # fmt: skip
@click.option("--system-field", "system_fields", multiple=True, metavar="COLUMN",
              help="A column that the database keeps itself: never compared, never restored.")  # fmt: skip
@click.option("--run-id-column", metavar="COLUMN", help="A column to stamp with the Run ID.")
@click.pass_context
def add(
    ctx: click.Context,
    /,
    name: str,
    kind: str,
    dsn: str,
    tables: tuple[str, ...],
    system_fields: tuple[str, ...],
    run_id_column: str | None,
) -> None:
    """Add a target; its tables are looked up at once."""
    from ledger.connectors.registry import Target

    settings: dict[str, Any] = {
        "dsn": dsn,
        "tables": dict(map(_table, tables)),
        "system_fields": list(system_fields),
        "run_id_column": run_id_column,
    }
    with open_session(ctx) as session:
        session.services.add_target(session.account_id, Target(name, kind, settings))
        session.remark(f"Target {name}: {', '.join(settings['tables'])}. Runs name it as their target.")


@target.command("list")
@click.option("--json", "as_json", is_flag=True)
@click.pass_context
def list_targets(ctx: click.Context, /, as_json: bool) -> None:
    """List the targets; secrets in connection strings are not shown."""
    with open_session(ctx) as session, open_output(None) as stream:
        found = session.services.targets(session.account_id).list()
        if as_json:
            write_json(stream, [one.as_dict() for one in found])
        else:
            rows = [(one.name, one.kind, ", ".join(one.settings["tables"].values())) for one in found]
            write_table(stream, ("Name", "Kind", "Tables"), rows)


@target.command("show")
@click.argument("name")
@click.pass_context
def show(ctx: click.Context, /, name: str) -> None:
    """Print a target as JSON; secrets in its connection string are not shown."""
    with open_session(ctx) as session, open_output(None) as stream:
        write_json(stream, session.services.targets(session.account_id).get(name).as_dict())


@target.command("remove")
@click.argument("name")
@click.pass_context
def remove(ctx: click.Context, /, name: str) -> None:
    """Forget a target. Its records and its runs stay as they are."""
    with open_session(ctx) as session:
        session.services.targets(session.account_id).remove(name)


@target.command("capture")
@click.argument("name")
@click.pass_context
def capture(ctx: click.Context, /, name: str) -> None:
    """Install triggers so that every change of the target's tables is kept for the ledger (`ledger target drain`).

    The application groups changes into runs: SET LOCAL ledger.run_id = '...' (and ledger.user_name, ledger.template);
    without it each transaction is a run.
    """
    from ledger.connectors.postgres.capture import install_capture

    with open_session(ctx) as session:
        found = session.services.targets(session.account_id).get(name)
        installed = install_capture(found.settings)
        session.remark(f"Captured from now on: {', '.join(installed)}. Bring it in with `ledger target drain {name}`.")


@target.command("uncapture")
@click.argument("name")
@click.pass_context
def uncapture(ctx: click.Context, /, name: str) -> None:
    """Remove the triggers. What was captured before stays until it is drained."""
    from ledger.connectors.postgres.capture import remove_capture

    with open_session(ctx) as session:
        remove_capture(session.services.targets(session.account_id).get(name).settings)


@target.command("drain")
@click.argument("name")
@click.option("--follow", is_flag=True, help="Go on until interrupted.")
@click.pass_context
def drain(ctx: click.Context, /, name: str, follow: bool) -> None:
    """Record what was captured, in order, each change once. Prints the number of changes."""
    from ledger.connectors.postgres.outbox import Drain

    with open_session(ctx) as session, open_output(None) as stream:
        account_id = session.account_id
        found = session.services.targets(account_id).get(name)
        with Drain(found.settings, found.name, session.services.ledger(account_id)) as draining:
            number = draining.drain()
            while follow:
                number += draining.wait_and_drain()
        stream.write(f"{number}\n".encode())


def _table(text: str) -> tuple[str, str]:
    object_type, equals, table = text.partition("=")
    if not equals:
        return text.rpartition(".")[2], text
    if not object_type or not table:
        problem = Problem("Not a table.", parameter="--table", found=repr(text), expected="[TYPE=]TABLE")
        raise InputError(f"{text!r} names no table. Expected [TYPE=]TABLE.", problems=(problem,))
    return object_type, table
