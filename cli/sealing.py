"""`ledger seal` and `ledger log`: signing the account's log, its keys, its checkpoint."""

from __future__ import annotations

import signal
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING

import click

from cli.output import open_output
from cli.session import open_session, settings_of
from ledger.errors import InputError, NotFound

if TYPE_CHECKING:
    from cli.session import Session
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
        account = session.account
        if once:
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
        sealer.follow(stop)
        session.remark("Stopped.")


@click.group()
def log() -> None:
    """The signed log: its keys and its checkpoint."""


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
@click.pass_context
def checkpoint(ctx: click.Context, /, output: Path | None) -> None:
    """Print the newest signed checkpoint: how many events the account's log has, and their root hash."""
    with open_session(ctx) as session, open_output(output) as stream:
        account = session.account
        sealed_up(session)
        stream.write(session.services.signed_log(account).checkpoint().note.encode())


def signing_of(session: Session) -> SignedHeads:
    """The key that the settings name. Raises InputError where there is none."""
    from ledger.integrity.signed_heads import open_signing

    signing = open_signing(session.settings)
    if signing is None:
        raise NotFound(
            "There is no signing key. Make one with `ledger log make-key NAME` and set LEDGER_LOG_KEY_FILE to its file."
        )
    return signing


def sealed_up(session: Session) -> None:
    """On the embedded database this process seals what was recorded until now; on a shared one somebody else does."""
    if session.is_embedded:
        session.services.account_sealer(session.account, signing_of(session)).seal()
