"""Data on stdout or into a file: tables for people, JSON and NDJSON for programs."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeVar

import click

from ledger.errors import InputError
from ledger.json_text import encode

Form = Literal["table", "json", "ndjson"]
COLUMN_WIDTH_MIN = 8
WIDTH_MIN = 60
BLOCK_BYTES = 64 * 1024
_F = TypeVar("_F", bound=Callable[..., Any])


def form_options(command: _F) -> _F:
    """Adds --json, --ndjson (as `form`) and -o (as `output`)."""
    command = click.option("--json", "form", flag_value="json", type=str, help="One JSON document.")(command)
    command = click.option("--ndjson", "form", flag_value="ndjson", type=str, help="A JSON object a line.")(command)
    return output_option(command)


def output_option(command: _F) -> _F:
    """Adds -o FILE as `output`."""
    return click.option(
        "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE", help="Write to FILE."
    )(command)


@contextmanager
def open_output(path: Path | None) -> Iterator[BinaryIO]:
    """stdout, or a file that appears under its name only when it is whole."""
    if path is None:
        stream = sys.stdout.buffer
        yield stream
        stream.flush()
        return
    try:
        descriptor, fresh = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror}.") from error
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
        mask = os.umask(0)
        os.umask(mask)
        Path(fresh).chmod(0o666 & ~mask)
        Path(fresh).replace(path)
    except BaseException:
        Path(fresh).unlink(missing_ok=True)
        raise


def write_json(stream: BinaryIO, value: Any) -> None:
    """One JSON document and its line's end."""
    stream.write(encode(value) + b"\n")


def write_ndjson(stream: BinaryIO, values: Iterable[Any]) -> int:
    """A JSON text a line, written in blocks. Returns how many."""
    parts, size, number = [], 0, 0
    for number, value in enumerate(values, start=1):  # noqa: B007 - the last number is the count
        line = encode(value) + b"\n"
        parts.append(line)
        size += len(line)
        if size >= BLOCK_BYTES:
            stream.write(b"".join(parts))
            parts, size = [], 0
    stream.write(b"".join(parts))
    return number


def write_table(stream: BinaryIO, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table, cut to the terminal's width where stdout is one. Columns whose values are all numbers are set right."""
    texts = [[_cell(value) for value in row] for row in rows]
    numeric = (
        [
            all(isinstance(row[index], int | float) or row[index] is None for row in rows)
            for index in range(len(columns))
        ]
        if isinstance(rows, Sequence)
        else [False] * len(columns)
    )
    widths = [max(map(len, column)) for column in zip(columns, *texts, strict=True)]
    _shrink(widths)
    for number, cells in enumerate([list(columns), *texts]):
        shown = [
            _fit(cell, width).rjust(width) if right else _fit(cell, width).ljust(width)
            for cell, width, right in zip(cells, widths, numeric, strict=True)
        ]
        line = "  ".join(shown).rstrip()
        if number == 0 and _is_terminal(stream):
            line = click.style(line, bold=True)
        stream.write(line.encode("utf-8", "replace") + b"\n")


def shown_instant(instant: datetime) -> str:
    """An instant for people, in UTC to the second."""
    return f"{instant.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def write_facts(stream: BinaryIO, facts: Iterable[tuple[str, object]]) -> None:
    """Names and values, one a line; those that are None are left out."""
    shown = [(name, _cell(value)) for name, value in facts if value is not None]
    width = max((len(name) for name, _ in shown), default=0)
    for name, text in shown:
        stream.write(f"{name.ljust(width)}  {text}\n".encode("utf-8", "replace"))


def _cell(value: object) -> str:
    """One line of text; what a terminal could take for a command is shown as what it is."""
    text = (
        "" if value is None else f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    )
    return "".join(
        character if character.isprintable() else "\u2420" if character in "\r\n\t" else "\ufffd" for character in text
    )


def _is_terminal(stream: BinaryIO) -> bool:
    return stream.isatty() and "NO_COLOR" not in os.environ


def _shrink(widths: list[int]) -> None:
    """Takes from the widest columns until the line fits; outside a terminal nothing is cut."""
    if "COLUMNS" not in os.environ and not sys.stdout.isatty():
        return
    limit = max(WIDTH_MIN, shutil.get_terminal_size().columns) - 2 * (len(widths) - 1)
    while sum(widths) > limit and max(widths) > COLUMN_WIDTH_MIN:
        widths[widths.index(max(widths))] -= 1


def _fit(text: str, width: int) -> str:
    return text if len(text) <= width else text[: max(0, width - 1)] + "…"
