"""`ledger verify`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from cli.output import form_options, open_output, write_json
from cli.progress import Progress
from cli.sealing import advancing, open_signing_of, sealed_up
from cli.session import open_session
from ledger.errors import InputError

if TYPE_CHECKING:
    from cli.session import Session
    from ledger.integrity.last_seen import LastSeen
    from ledger.integrity.note import Key
    from ledger.integrity.verifying import Expected, Verdict

EXIT_INTEGRITY = 5


@click.command()
@click.option("--vkey", "vkeys", multiple=True, metavar="KEY", help="Trust this public key, and not the service's.")
@click.option(
    "--state",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="FOLDER",
    help="Where the last checkpoint seen is kept (default: ~/.local/state/ledger/verified).",
)
@form_options
@click.pass_context
def verify(
    ctx: click.Context, /, vkeys: tuple[str, ...], state: Path | None, form: str | None, output: Path | None
) -> None:
    """Recompute everything of the account: events, leaves, tiles, signed heads, heads seen before, counts, views, and
    whether the database still refuses what it must.

    Ends with status 5 where something is not as it was signed, and says what, and which position is the first.
    """
    from ledger.integrity.last_seen import LastSeen, default_folder

    with open_session(ctx) as session, open_output(output) as stream:
        session.caught_up()
        if not vkeys:
            sealed_up(session)
        account = session.account
        trusted = _trusted(session, vkeys)
        file = LastSeen(state or default_folder(), trusted[0].name if trusted else account.name)
        with Progress("events", quiet=session.quiet) as progress:
            verdict = session.services.verify(
                account, trusted, _heads(session, trusted, file), on_progress=advancing(progress)
            )
        if verdict.newest is not None and not verdict.findings:
            file.write(verdict.newest.note)
        if form is not None:
            write_json(stream, {"account": account.name} | verdict.as_dict())
        else:
            stream.write("".join(f"{line}\n" for line in _lines(account.name, verdict)).encode())
    if verdict.findings:
        sys.exit(EXIT_INTEGRITY)


def _trusted(session: Session, vkeys: tuple[str, ...]) -> list[Key]:
    """The keys to verify with. Raises InputError where there is none."""
    from ledger.integrity.note import parse_vkey

    if vkeys:
        return [parse_vkey(text) for text in vkeys]
    signing = open_signing_of(session)
    if signing is None:
        raise InputError(
            "There is no key to verify with. Give the log's public key with --vkey (`ledger log keys` prints it where "
            "the log is signed), or set LEDGER_LOG_KEY_FILE."
        )
    return signing.keys.trusted(session.account.name)


def _heads(session: Session, trusted: list[Key], file: LastSeen) -> list[Expected]:
    """What the log must extend: the last checkpoint seen, and where the key is here, the last head signed."""
    from ledger.integrity.verifying import Expected, signed_last

    seen = file.read(trusted)
    signing = open_signing_of(session)
    heads = [] if signing is None else signed_last(signing, session.account_id, session.account.name)
    return heads if seen is None else [*heads, Expected(seen, "checkpoint seen last")]


def _lines(account: str, verdict: Verdict) -> list[str]:
    if not verdict.findings:
        unsigned = verdict.size - verdict.signed
        behind = f", {unsigned:,} not yet signed" if unsigned else ""
        facts = f"{verdict.size:,} events, {verdict.checkpoints:,} checkpoints{behind}, root {verdict.root.hex()}"
        return [f"The log of account {account} is as it was recorded: {facts}."]
    where = "" if verdict.first_position is None else f" The first wrong position is {verdict.first_position}."
    lines = [f"The log of account {account} is NOT as it was recorded.{where}"]
    for each in verdict.findings:
        at = "" if each.position is None else f" at position {each.position}"
        lines.append(f"  {each.kind}{at}: {each.detail}")
    return lines
