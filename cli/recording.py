"""`ledger run`: a producer's run from a shell, step by step."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import click

from cli.options import INSTANT
from cli.output import open_output, write_json
from cli.progress import Progress
from cli.session import open_session
from ledger.errors import InputError

READ_BYTES = 256 * 1024


@click.group()
def run() -> None:
    """Record a run step by step: start, changes, finish or fail."""


@run.command("start")
@click.option("--run-id", metavar="RUN_ID", help="The producer's own (default: a new one is made).")
@click.option("--kind", type=click.Choice(("run", "recipe")), help="A recipe is a run that has child runs.")
@click.option("--mode", type=click.Choice(("preview", "update")))
@click.option("--trigger", type=click.Choice(("manual", "automated")))
@click.option("--app", metavar="NAME", help="The system whose records change.")
@click.option("--app-account", metavar="NAME", help="Which of its accounts.")
@click.option("--module", metavar="NAME")
@click.option("--object-type", metavar="NAME", help="Of changes that name none themselves.")
@click.option("--template", metavar="NAME")
@click.option("--user", metavar="NAME")
@click.option("--user-email", metavar="ADDRESS")
@click.option("--recipe", metavar="NAME")
@click.option("--recipe-run-id", metavar="RUN_ID", help="The recipe's run that this one is part of.")
@click.option("--target", metavar="NAME")
@click.option("--message", metavar="TEXT", help="What the run is for.")
@click.option("--started-at", metavar="INSTANT", help="RFC 3339 (default: now).")
@click.option("--facts", type=click.File("rb"), metavar="FILE", help="All facts as JSON, as POST /v1/runs takes them.")
@click.option("--json", "as_json", is_flag=True, help="The run's facts as JSON instead of its Run ID.")
@click.pass_context
def start(ctx: click.Context, /, facts: BinaryIO | None, as_json: bool, **chosen: str | None) -> None:
    """Start a run and print its Run ID. The same facts again are harmless."""
    from ledger.wire.runs import parse_start_run, run_summary

    given = {name: value for name, value in chosen.items() if value is not None}
    if facts is not None and given:
        option = "--" + next(iter(given)).replace("_", "-")
        raise click.UsageError(f"--facts holds all facts of the run; leave out {option}.")
    command = parse_start_run(facts.read() if facts is not None else _document(given))
    with open_session(ctx) as session, open_output(None) as stream:
        started = session.services.ledger(session.account_id).start_run(
            command.operation, run_id=command.run_id, started_at=command.started_at
        )
        if as_json:
            write_json(stream, run_summary(started.run))
        else:
            stream.write(started.run.run_id.encode() + b"\n")


@run.command("changes")
@click.argument("run_id")
@click.argument("file", type=click.Path(allow_dash=True, path_type=Path), default="-")
@click.option(
    "--offset", type=click.IntRange(min=0), help="How many changes were sent before FILE (default: accepted)."
)
@click.option("--json", "as_json", is_flag=True, help="Print the accepted number as JSON.")
@click.pass_context
def changes(ctx: click.Context, /, run_id: str, file: Path, offset: int | None, as_json: bool) -> None:
    """Record the changes in FILE (- or nothing: stdin) in RUN_ID: NDJSON or a JSON array, one change a line.

    With --offset 0 a file can be sent again after a failure: what is accepted already is skipped.
    """
    import bootstrap

    with open_session(ctx) as session, open_output(None) as stream:
        bootstrap.tune_process()
        ledger = session.services.ledger(session.account_id)
        accepted = before = ledger.store.load_run(run_id).accepted
        with Progress("changes", quiet=session.quiet) as progress:
            for state in ledger.record_batches(run_id, _blocks(file), offset=offset):
                progress.advance(state.accepted - accepted)
                accepted = state.accepted
        if as_json:
            write_json(stream, {"run_id": run_id, "accepted": accepted})
        session.remark(f"Run {run_id} has {accepted:,} changes, {accepted - before:,} of them new.")


@run.command("finish")
@click.argument("run_id")
@click.option("--finished-at", type=INSTANT, metavar="INSTANT", help="When it ended (default: now).")
@click.option("--json", "as_json", is_flag=True, help="The run's facts as JSON.")
@click.pass_context
def finish(ctx: click.Context, /, run_id: str, as_json: bool, **when: Any) -> None:
    """End a run. Finishing it again is harmless."""
    with open_session(ctx) as session:
        outcome = session.services.ledger(session.account_id).finish_run(run_id, **when)
        _tell(session, outcome.run, as_json)


@run.command("fail")
@click.argument("run_id")
@click.argument("message")
@click.option("--code", default="failed", show_default=True, metavar="WORD", help="The producer's code of the error.")
@click.option("--finished-at", type=INSTANT, metavar="INSTANT", help="When it ended (default: now).")
@click.option("--json", "as_json", is_flag=True, help="The run's facts as JSON.")
@click.pass_context
def fail(ctx: click.Context, /, run_id: str, message: str, code: str, as_json: bool, **when: Any) -> None:
    """End a run with a system error: API quota exhausted, automation failed. Its changes until then stay."""
    from ledger.wire.runs import parse_fail

    command = parse_fail({"code": code, "message": message})
    with open_session(ctx) as session:
        outcome = session.services.ledger(session.account_id).fail_run(run_id, command.code, command.message, **when)
        _tell(session, outcome.run, as_json)


def _tell(session: Any, run: Any, as_json: bool) -> None:
    from ledger.wire.runs import run_summary

    if as_json:
        with open_output(None) as stream:
            write_json(stream, run_summary(run))
    session.remark(
        f"Run {run.run_id} has {run.status}: {run.tally.succeeded:,} succeeded, {run.tally.failed:,} failed."
    )


def _document(given: dict[str, str]) -> dict[str, Any]:
    """The options as the body of POST /v1/runs."""
    document: dict[str, Any] = dict(given)
    for name, extra, member in (("app", "app_account", "account"), ("user", "user_email", "email")):
        parts = {"name": document.pop(name, None), member: document.pop(extra, None)}
        if any(parts.values()):
            document[name] = {key: value for key, value in parts.items() if value is not None}
    for name in ("template", "recipe"):
        if name in document:
            document[name] = {"name": document[name]}
    return document


def _blocks(path: Path) -> Iterator[bytes]:
    if str(path) == "-":
        stdin = cast("io.BufferedReader", sys.stdin.buffer)
        yield from iter(lambda: stdin.read1(READ_BYTES), b"")
        return
    try:
        file = path.open("rb")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        yield from iter(lambda: file.read(READ_BYTES), b"")
