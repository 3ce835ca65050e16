"""Records the runs of a file. What stands in the ledger already is found by Run ID and digest, so an import that was
interrupted anywhere goes on where it stopped, and importing a file again changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from ledger.errors import InputError, LedgerError, Problem, RunExists
from ledger.importing.source import Line
from ledger.service import AccountLedger
from ledger.wire.run_document import RunDocument, parse_run_document

BLOCK_BYTES = 256 * 1024
RUN_ID_DIGITS = 24
"""Hexadecimal digits of the digest in the Run ID of a run that has none: 96 bits."""

Outcome = Literal["recorded", "resumed", "passed_over"]


@dataclass(frozen=True, slots=True)
class ImportedRun:
    """What became of one line. `recorded` counts the changes recorded now."""

    run_id: str
    outcome: Outcome
    changes: int
    recorded: int


class Importer:
    """Records runs line by line. `on_changes` is told how many changes each batch recorded."""

    def __init__(self, ledger: AccountLedger, *, on_changes: Callable[[int], None] = lambda _: None) -> None:
        self._ledger = ledger
        self._on_changes = on_changes
        self._seen: Counter[str] = Counter()

    def import_lines(self, lines: Iterable[Line]) -> Iterator[ImportedRun]:
        """Records each line's run. Raises the first error, which names the line; everything before it is recorded."""
        for line in lines:
            try:
                yield self.import_run(line.text)
            except InputError as error:
                raise _at_line(error, line.number) from error
            except RunExists as error:
                raise RunExists(
                    f"Line {line.number}: run {error.details.get('run_id')} is in the ledger already, with other "
                    "content. Nothing of the line was recorded; give the run another Run ID or leave the line out.",
                    **error.details,
                ) from error
            except LedgerError as error:
                error.add_note(f"It was line {line.number}.")
                raise

    def import_run(self, text: bytes) -> ImportedRun:
        """Records one run, or what is missing of it. Raises InputError, RunExists and what recording raises."""
        document = parse_run_document(text)
        run_id = document.run_id or self._made_run_id(document.digest)
        started = self._ledger.start_run(
            document.operation, run_id=run_id, started_at=document.started_at, digest=document.digest
        )
        before = started.run.accepted
        if started.run.status != "running":
            return ImportedRun(run_id, "passed_over", len(document.changes), 0)
        self._record(run_id, document, before)
        if document.error is None:
            self._ledger.finish_run(run_id, finished_at=document.finished_at)
        else:
            fault = document.error
            self._ledger.fail_run(run_id, fault.code, fault.message, finished_at=document.finished_at)
        outcome: Outcome = "recorded" if started.position is not None else "resumed"
        return ImportedRun(run_id, outcome, len(document.changes), len(document.changes) - before)

    def _record(self, run_id: str, document: RunDocument, offset: int) -> None:
        if offset >= len(document.changes):
            return
        accepted = offset
        try:
            for state in self._ledger.record_batches(run_id, _blocks(document.lines(offset)), offset=offset):
                self._on_changes(state.accepted - accepted)
                accepted = state.accepted
        except InputError as error:
            raise _at_change(error, offset) from error

    def _made_run_id(self, digest: str) -> str:
        """The Run ID of a run that has none: the same in each import of the file. Equal lines are runs of their own."""
        self._seen[digest] += 1
        number = self._seen[digest]
        return f"import-{digest[:RUN_ID_DIGITS]}" + ("" if number == 1 else f"-{number}")


def _blocks(lines: Iterator[bytes]) -> Iterator[bytes]:
    parts, size = [], 0
    for line in lines:
        parts.append(line)
        size += len(line)
        if size >= BLOCK_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join(parts)


def _at_change(error: InputError, offset: int) -> InputError:
    """The error of a change with the change's place in the run: its pointer, and no line."""
    problems = tuple(
        replace(problem, line=None, pointer=f"/changes/{offset + problem.line - 1}{problem.pointer or ''}")
        if problem.line
        else problem
        for problem in error.problems
    )
    return type(error)(_sentence(problems, error), problems=problems)


def _at_line(error: InputError, number: int) -> InputError:
    problems = tuple(replace(problem, line=number) for problem in error.problems) or (
        Problem(error.message, line=number),
    )
    message = error.message if error.message.startswith(f"Line {number}") else f"Line {number}: {error.message}"
    return type(error)(message, problems=problems)


def _sentence(problems: tuple[Problem, ...], error: InputError) -> str:
    if not problems:
        return error.message
    first = problems[0]
    found = f" Found {first.found}." if first.found else ""
    expected = f" Expected {first.expected}." if first.expected else ""
    return (
        f"The change at {first.pointer} is refused: {first.detail}{found}{expected} "
        "The batches before it are recorded; mend the line and import the file again under a new Run ID."
    )
