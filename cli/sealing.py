"""`ledger seal` and `ledger log`: signing the account's log, its keys, its checkpoint."""

from __future__ import annotations

import signal
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING

import click

from cli.output import open_output
from cli.progress import Progress
from cli.session import open_session, settings_of
from ledger.errors import InputError, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable

    from cli.session import Session
    from ledger.integrity.policy import Policy
    from ledger.integrity.signed_heads import SignedHeads

KEY_FILE = "log.key"


@click.command()
@click.option("--once", is_flag=True, help="Seal what the chosen account has now, then end.")
@click.option("--follow", is_flag=True, help="Go on until SIGTERM or Ctrl-C, for all accounts (the default).")
@click.pass_context
def seal(ctx: click.Context, /, once: bool, follow: bool) -> None:
    """Add new events to the signed log, at most a second after they were recorded. Several may run at once."""
    import bootstrap

    if once and follow:
        raise click.UsageError("--once and --follow exclude each other.")
    with open_session(ctx) as session:
        signing = signing_of(session)
        if once:
            account = session.account
            checkpoint = session.services.account_sealer(account, signing).seal()
            size = checkpoint.size if checkpoint else 0
            session.remark(f"Sealed account {account.name}: {size:,} events.")
            return
        bootstrap.tune_process()
        stop = Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: stop.set())
        sealer = session.services.sealer(signing)
        sealer.check()
        session.remark(f"Sealing as {signing.keys.signing.name}. Ctrl-C ends it.")
        loops = session.services.beside_sealing(session.settings)
        threads = [Thread(target=loop, args=(stop,), name=name) for name, loop in loops.items()]
        for thread in threads:
            thread.start()
        try:
            sealer.follow(stop)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        session.remark("Stopped.")


@click.group()
def log() -> None:
    """The signed log: its keys, its checkpoint, its files."""


@log.command("make-key")
@click.argument("name")
@click.option("--output", "-o", type=click.Path(path_type=Path), default=Path(KEY_FILE), show_default=True)
@click.pass_context
def make_key(ctx: click.Context, /, name: str, output: Path) -> None:
    """Make a signing key for logs found under NAME, best a URL without https:// (ledger.example.com/log).

    Set LEDGER_LOG_KEY_FILE to the file. Keep a copy of it, and of the folder of signed heads beside it, where the
    database's backups are not.
    """
    from ledger.integrity.keys import make_log_keys, write_keys

    write_keys(output.absolute(), make_log_keys(name))
    if not ctx.find_root().obj["quiet"]:
        click.echo(f"Made {output}. Set LEDGER_LOG_KEY_FILE to it, and give `ledger log keys` to auditors.", err=True)


@log.command("rotate-key")
@click.pass_context
def rotate_key(ctx: click.Context, /) -> None:
    """Put a new signing key in the place of the present one, in its file; print the note by which the old key names it.

    The old public key stays in the file, so that what it signed still verifies. Restart what seals.
    """
    from ledger.integrity.keys import endorse, read_keys, rotate, write_keys
    from ledger.integrity.signed_heads import key_path

    path = key_path(settings_of(ctx))
    if path is None:
        raise InputError("The signing key is not in a file, so it cannot be replaced there. Set LEDGER_LOG_KEY_FILE.")
    before = read_keys(path)
    after = rotate(before)
    write_keys(path, after, replace=True)
    click.echo(endorse(before, after), nl=False)


@log.command("keys")
@click.pass_context
def keys(ctx: click.Context, /) -> None:
    """Print the account's public keys, the present one first: what auditors verify with."""
    from ledger.integrity.note import format_vkey

    with open_session(ctx) as session:
        for key in signing_of(session).keys.trusted(session.account.name):
            click.echo(format_vkey(key))


@log.command("checkpoint")
@click.option("--output", "-o", type=click.Path(path_type=Path), help="Write to this file.")
@click.option("--witnessed", is_flag=True, help="The newest with the cosignatures that the witness policy asks for.")
@click.pass_context
def checkpoint(ctx: click.Context, /, output: Path | None, witnessed: bool) -> None:
    """Print the newest signed checkpoint: how many events the account's log has, and their root hash."""
    with open_session(ctx) as session, open_output(output) as stream:
        log_of_account = session.services.signed_log(session.account)
        sealed_up(session)
        found = log_of_account.witnessed_checkpoint(policy_of(session)) if witnessed else log_of_account.checkpoint()
        stream.write(found.note.encode())


@log.command("witness")
@click.pass_context
def witness(ctx: click.Context, /) -> None:
    """Ask the witnesses of LEDGER_WITNESS_POLICY for their cosignatures of the account's newest checkpoint, now.

    Ends with 5 where a witness holds a head that this log does not extend, with 7 where too few cosigned.
    """
    from ledger.errors import IntegrityFailed, Unavailable

    with open_session(ctx) as session:
        policy = policy_of(session)
        sealed_up(session)
        witnessed = session.services.account_witnessing(session.account, policy).witness()
    for state in witnessed.states:
        click.echo(f"{state.key.name}: {state.failure or f'cosigned {state.size:,} events'}")
    if any(state.refused for state in witnessed.states):
        raise IntegrityFailed("A witness holds a head that this log does not extend.")
    if not witnessed.is_met:
        raise Unavailable(f"The checkpoint of {witnessed.size:,} events has too few cosignatures for the policy.")


@log.command("export")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path))
@click.pass_context
def export(ctx: click.Context, /, folder: Path) -> None:
    """Write the account's log to FOLDER as static files (c2sp.org/tlog-tiles); again to bring them up to date."""
    from ledger.integrity.exporting import export_log

    with open_session(ctx) as session:
        sealed_up(session)
        log_of_account = session.services.signed_log(session.account)
        with Progress("events", quiet=session.quiet) as progress:
            size = export_log(log_of_account, folder, advancing(progress))
        session.remark(f"Wrote the log of {size:,} events to {folder}.")


@click.command()
@click.argument("run_id")
@click.option("--output", "-o", required=True, type=click.Path(dir_okay=False, path_type=Path), metavar="FILE")
@click.pass_context
def proof(ctx: click.Context, /, run_id: str, output: Path) -> None:
    """Write the evidence of RUN_ID to a zip file: report, events, proofs, checkpoint, keys, and how to check them.

    It can be checked offline with foreign tools, or with a shell and openssl.
    """
    from ledger.errors import NoReport
    from ledger.integrity.evidence import write_evidence

    with open_session(ctx) as session:
        account_id = session.caught_up()
        sealed_up(session)
        services, account = session.services, session.account
        signing = open_signing_of(session)
        try:
            reports = [
                (opened.file_name, opened.blocks)
                for opened in (
                    services.reports(account_id).open(run_id, form, include_preview=True) for form in ("csv", "ndjson")
                )
            ]
        except NoReport:
            reports = []
        with open_output(output) as stream, Progress("events", quiet=session.quiet) as progress:
            keys = signing.keys.trusted(account.name) if signing else []
            number = write_evidence(stream, services.signed_log(account), run_id, reports, keys, advancing(progress))
        session.remark(f"Wrote the evidence of {run_id}, {number:,} events, to {output}.")


def advancing(progress: Progress) -> Callable[[int, int], None]:
    """Tells the bar of numbers done, out of all."""

    def tell(done: int, of: int) -> None:
        progress.advance(done - progress.items, done / of)

    return tell


def open_signing_of(session: Session) -> SignedHeads | None:
    """The key that the settings name; None: a shared database is sealed by somebody else."""
    from ledger.integrity.signed_heads import open_signing

    return open_signing(session.settings, make=True)


def signing_of(session: Session) -> SignedHeads:
    """The key that the settings name. Raises InputError where there is none."""
    signing = open_signing_of(session)
    if signing is None:
        raise NotFound(
            "There is no signing key. Make one with `ledger log make-key NAME` and set LEDGER_LOG_KEY_FILE to its file."
        )
    return signing


def policy_of(session: Session) -> Policy:
    """The witness policy that the settings name. Raises NotFound where they name none."""
    from ledger.integrity.witnessing import open_policy

    policy = open_policy(session.settings)
    if policy is None:
        raise NotFound("There is no witness policy. Set LEDGER_WITNESS_POLICY to its file (c2sp.org/tlog-policy).")
    return policy


def sealed_up(session: Session) -> None:
    """On the embedded database this process seals what was recorded until now; on a shared one somebody else does."""
    if session.is_embedded:
        session.services.account_sealer(session.account, signing_of(session)).seal()
