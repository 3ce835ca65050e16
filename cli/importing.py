"""`ledger import`."""

from __future__ import annotations

from collections import Counter
from typing import BinaryIO

import click

import bootstrap
from cli.output import print_document
from cli.progress import Progress
from cli.session import open_session
from ledger.importing.importer import Importer
from ledger.importing.source import read_lines


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--json", "as_json", is_flag=True, help="One JSON document, for programs.")
@click.pass_context
def import_file(context: click.Context, file: BinaryIO, as_json: bool) -> None:
    """Record the runs in FILE: NDJSON, plain or gzip, one run a line with its changes inside; `-` is stdin.

    An import that was interrupted goes on where it stopped when it is started again. Runs that are there already with
    the same content are passed over.
    """
    outcomes: Counter[str] = Counter()
    with open_session(context) as session, Progress("changes") as progress:
        bootstrap.tune_process()
        importer = Importer(session.services.ledger(session.account_id), on_changes=progress.add)
        for imported in importer.import_lines(read_lines(file)):
            outcomes[imported.outcome] += 1
            outcomes["changes"] += imported.recorded
    facts = {name: outcomes[name] for name in ("recorded", "resumed", "passed_over", "changes")}
    print_document(facts, facts.items(), as_json=as_json)
