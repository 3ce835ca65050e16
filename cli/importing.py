"""`ledger import`."""

from __future__ import annotations

import io
import os
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from cli.output import open_output, write_json
from cli.progress import Progress
from cli.session import open_session
from ledger.errors import InputError


@click.command("import")
@click.argument("file", type=click.Path(allow_dash=True, path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print the counts as one JSON document.")
@click.pass_context
def import_runs(ctx: click.Context, /, file: Path, as_json: bool) -> None:
    """Record whole runs from FILE (- for stdin): NDJSON, plain or gzip, one run a line with its changes inside.

    Started again it goes on where it stopped: runs that are recorded are passed over, one that is half recorded is
    completed. A Run ID that is taken by other content is refused.
    """
    import bootstrap
    from ledger.importing.importer import Importer
    from ledger.importing.source import read_lines

    counts: Counter[str] = Counter()
    with _opened(file) as source, open_session(ctx, flush_each_commit=False) as session:
        account_id = session.account_id
        bootstrap.tune_process()
        with Progress("changes", quiet=session.quiet) as progress:
            importer = Importer(
                session.services.ledger(account_id),
                on_changes=lambda number: progress.advance(number, source.share),
            )
            try:
                for run in importer.import_lines(read_lines(source)):
                    counts[run.outcome] += 1
                    counts["changes"] += run.recorded
                    progress.advance(0, source.share)
            except KeyboardInterrupt:
                session.remark(f"Stopped after {counts['changes']:,} changes. Start the same import again to go on.")
                raise
            finally:
                session.services.flush(account_id)
        session.remark(
            f"Recorded {counts['recorded'] + counts['resumed']:,} runs with {counts['changes']:,} changes in "
            f"{progress.elapsed_s:.1f} s ({progress.rate:,.0f} changes/s); "
            f"{counts['resumed']:,} of them resumed, {counts['passed_over']:,} passed over."
        )
        if as_json:
            with open_output(None) as stream:
                write_json(stream, {name: counts[name] for name in ("recorded", "resumed", "passed_over", "changes")})


class _Source(io.RawIOBase):
    """A file that counts what was read of it."""

    def __init__(self, file: Any, size: int | None) -> None:
        self._file = file
        self._size = size
        self._read = 0

    @property
    def share(self) -> float | None:
        """How much of the file was read, 0 to 1; None where its size is not known."""
        return self._read / self._size if self._size else None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._file.read(len(buffer))
        buffer[: len(data)] = data
        self._read += len(data)
        return len(data)


@contextmanager
def _opened(path: Path) -> Iterator[_Source]:
    if str(path) == "-":
        yield _Source(sys.stdin.buffer, None)
        return
    try:
        file = path.open("rb", buffering=0)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    with file:
        yield _Source(file, os.fstat(file.fileno()).st_size)
