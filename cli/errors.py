"""Errors of the ledger to exit codes and to text on stderr: the one place."""

from __future__ import annotations

import click

from ledger.errors import (
    BadLine,
    Conflict,
    InputError,
    IntegrityFailed,
    KeyReused,
    LedgerError,
    NotFound,
    NotPermitted,
    NotSignedIn,
    Unavailable,
)
from ledger.json_text import JsonFault

EXIT_FAILURE = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130
PROBLEMS_SHOWN_MAX = 10

_EXIT_CODES: tuple[tuple[type[LedgerError], int], ...] = (
    (BadLine, EXIT_FAILURE),  # the command was right, the data was not
    (JsonFault, EXIT_FAILURE),
    (InputError, EXIT_USAGE),
    (NotFound, 3),
    (Conflict, 4),
    (KeyReused, 4),
    (IntegrityFailed, 5),
    (NotPermitted, 6),
    (NotSignedIn, 6),
    (Unavailable, 7),
)
EXIT_PARTIAL = 8


def exit_code(error: LedgerError) -> int:
    """1 failure, 2 usage, 3 not found, 4 conflict, 5 integrity failed, 6 not permitted, 7 unavailable, 8 partial."""
    return next((code for error_type, code in _EXIT_CODES if isinstance(error, error_type)), EXIT_FAILURE)


def report(error: LedgerError) -> int:
    """Says what went wrong on stderr. Returns the exit code."""
    click.echo(click.style("Error: ", fg="red", bold=True) + error.message, err=True)
    for note in getattr(error, "__notes__", ()):
        click.echo(f"  {note}", err=True)
    if len(error.problems) > 1:  # one alone is in the message
        for problem in error.problems[:PROBLEMS_SHOWN_MAX]:
            place = problem.pointer or problem.parameter or ""
            found = f" Found {problem.found}." if problem.found else ""
            expected = f" Expected {problem.expected}." if problem.expected else ""
            click.echo(f"  {place}: {problem.detail}{found}{expected}", err=True)
    return exit_code(error)
