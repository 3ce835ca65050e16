"""`ledger run`: recording a run from a shell, one step a command."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, BinaryIO

import click

from cli.output import print_document
from cli.progress import Progress
from cli.session import open_session
from ledger.domain.run import Run
from ledger.json_text import encode
from ledger.wire.runs import parse_fail, parse_finish, parse_start_run

BLOCK_BYTES = 256 * 1024


@click.group()
def run() -> None:
    """Record a run step by step: start, changes, then finish or fail."""


@run.command("start")
@click.option("--run-id", help="The producer's own Run ID; one is made where there is none.")
@click.option("--kind", help="run (default) or recipe.")
@click.option("--mode", help="update (default) or preview.")
@click.option("--trigger", help="manual (default) or automated.")
@click.option("--app", help="The system it works in, such as a CRM.")
@click.option("--module")
@click.option("--object-type", help="Of changes that name none themselves.")
@click.option("--template", help="The template's name.")
@click.option("--user", help="Who runs it.")
@click.option("--recipe", help="The recipe's name.")
@click.option("--recipe-run-id", help="The Run ID of the recipe that this run is part of.")
@click.option("--target")
@click.option("--message", help="What the run is for.")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@click.pass_context
def start(context: click.Context, as_json: bool, **facts: str | None) -> None:
    """Start a run and print its Run ID."""
    named = ("app", "template", "user", "recipe")
    given: dict[str, Any] = {
        name: {"name": value} if name in named else value for name, value in facts.items() if value is not None
    }
    command = parse_start_run(encode(given))
    with open_session(context) as session:
        started = session.services.ledger(session.account_id).start_run(
            command.operation, run_id=command.run_id, started_at=command.started_at
        )
    if as_json:
        click.echo(encode({"run_id": started.run.run_id, "stamp_run_id": started.run.stamp_run_id}))
    else:
        click.echo(started.run.run_id)


@run.command("changes")
@click.argument("run_id")
@click.argument("file", type=click.File("rb"), default="-")
@click.option(
    "--offset", type=click.IntRange(0), help="How many changes were sent before these (default: all accepted)."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@click.pass_context
def changes(context: click.Context, run_id: str, file: BinaryIO, offset: int | None, as_json: bool) -> None:
    """Record the changes in FILE (NDJSON or a JSON array; `-` is stdin) of the run RUN_ID."""
    accepted = 0
    with open_session(context) as session, Progress("changes") as progress:
        for batch in session.services.ledger(session.account_id).record_batches(run_id, _blocks(file), offset=offset):
            progress.add(batch.accepted - accepted)
            accepted = batch.accepted
    facts = {"run_id": run_id, "accepted": accepted}
    print_document(facts, facts.items(), as_json=as_json)


@run.command("finish")
@click.argument("run_id")
@click.option("--finished-at", metavar="INSTANT")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@click.pass_context
def finish(context: click.Context, run_id: str, finished_at: str | None, as_json: bool) -> None:
    """End the run RUN_ID."""
    command = parse_finish({"finished_at": finished_at} if finished_at else {})
    with open_session(context) as session:
        ledger = session.services.ledger(session.account_id)
        _print_ended(ledger.finish_run(run_id, finished_at=command.finished_at).run, as_json)


@run.command("fail")
@click.argument("run_id")
@click.argument("code")
@click.argument("message")
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@click.pass_context
def fail(context: click.Context, run_id: str, code: str, message: str, as_json: bool) -> None:
    """End the run RUN_ID with the system error CODE and MESSAGE."""
    command = parse_fail({"code": code, "message": message})
    with open_session(context) as session:
        ledger = session.services.ledger(session.account_id)
        _print_ended(ledger.fail_run(run_id, command.code, command.message).run, as_json)


def _print_ended(run: Run, as_json: bool) -> None:
    facts = {"run_id": run.run_id, "status": run.status, "tally": run.tally.as_dict()}
    print_document(
        facts, [("run_id", run.run_id), ("status", run.status), *run.tally.as_dict().items()], as_json=as_json
    )


def _blocks(file: BinaryIO) -> Iterator[bytes]:
    while block := file.read(BLOCK_BYTES):
        yield block
