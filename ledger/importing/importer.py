"""Records the runs of a file. What stands in the ledger already is found by Run ID and digest, so an import that was
interrupted anywhere goes on where it stopped, and importing a file again changes nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from ledger.errors import BadLine, InputError, LedgerError, Problem, RunExists
from ledger.importing.source import Line
from ledger.importing.whole_run import record_whole_run
from ledger.service import AccountLedger, utc_now
from ledger.wire.changes import Lines, parse_lines, read_batches
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
        self._expects_new_runs = False
        """After a run that was new the next is likely new too: it is recorded without a look first."""

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
        try:
            batches = self._checked_batches(document)
            if self._expects_new_runs and len(batches) <= 1 and document.operation.recipe_run_id is None:
                lines = batches[0] if batches else Lines([], [])
                record_whole_run(self._ledger.store, run_id, document, lines, utc_now())
                self._on_changes(len(lines.texts))
                return ImportedRun(run_id, "recorded", len(document.changes), len(document.changes))
        except RunExists:
            pass  # a run is there: the careful way tells whether it is this one
        imported = self._import_carefully(run_id, document)
        self._expects_new_runs = imported.outcome != "passed_over"
        return imported

    def _import_carefully(self, run_id: str, document: RunDocument) -> ImportedRun:
        started = self._ledger.start_run(
            document.operation, run_id=run_id, started_at=document.started_at, digest=document.digest
        )
        before = started.run.accepted
        if started.run.status != "running":
            return ImportedRun(run_id, "passed_over", len(document.changes), 0)
        accepted = before
        if before < len(document.changes):
            for state in self._ledger.record_batches(run_id, _blocks(document.lines(before)), offset=before):
                self._on_changes(state.accepted - accepted)
                accepted = state.accepted
        if document.error is None:
            self._ledger.finish_run(run_id, finished_at=document.finished_at)
        else:
            fault = document.error
            self._ledger.fail_run(run_id, fault.code, fault.message, finished_at=document.finished_at)
        outcome: Outcome = "recorded" if started.position is not None else "resumed"
        return ImportedRun(run_id, outcome, len(document.changes), accepted - before)

    def _checked_batches(self, document: RunDocument) -> list[Lines]:
        """The first two batches of the run's changes. Where there are more than one, all are checked before any is
        recorded, so that a run with a bad change leaves nothing behind; one alone is checked as it is recorded.
        """
        first: list[Lines] = []
        for lines in read_batches(_blocks(document.lines(0))):
            if len(first) == 1:
                _check(first[0], document)
            if first:
                _check(lines, document)
            if len(first) < 2:
                first.append(lines)
        if len(first) == 1 and not self._expects_new_runs:
            _check(first[0], document)
        return first

    def _made_run_id(self, digest: str) -> str:
        """The Run ID of a run that has none: the same in each import of the file. Equal lines are runs of their own."""
        self._seen[digest] += 1
        number = self._seen[digest]
        return f"import-{digest[:RUN_ID_DIGITS]}" + ("" if number == 1 else f"-{number}")


def _check(lines: Lines, document: RunDocument) -> None:
    for index, change in enumerate(parse_lines(lines)):
        if change.object_type is None and document.operation.object_type is None:
            problem = Problem("object_type is missing.", pointer="/object_type", line=lines.numbers[index])
            raise BadLine("The change has no object_type, and its run names none.", problems=(problem,))


def _blocks(lines: Iterator[bytes]) -> Iterator[bytes]:
    parts, size = [], 0
    for line in lines:
        parts.append(line)
        size += len(line)
        if size >= BLOCK_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
    yield b"".join(parts)


def _at_line(error: InputError, number: int) -> InputError:
    """The error with the line's number in the file; a change's own line becomes its place in the run."""
    problems = tuple(_placed(problem, number) for problem in error.problems) or (Problem(error.message, line=number),)
    if error.message.startswith(f"Line {number} is longer"):
        return error
    first = problems[0]
    place = f" at {first.pointer}" if first.pointer else ""
    found = f" Found {first.found}" if first.found else ""
    expected = f", expected {first.expected}" if first.expected else ""
    return BadLine(
        f"Line {number}{place}: {first.detail}{found}{expected}{'.' if found or expected else ''} "
        "Nothing of this line was recorded; mend it and import again: runs that are recorded are passed over.",
        problems=problems,
    )


def _placed(problem: Problem, number: int) -> Problem:
    if problem.line is None:
        return replace(problem, line=number)
    return replace(problem, line=number, pointer=f"/changes/{problem.line - 1}{problem.pointer or ''}")
