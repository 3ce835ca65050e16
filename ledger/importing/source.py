"""The lines of a file of runs: NDJSON, plain or gzip, each line read whole and with a limit."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from ledger.errors import BadLine, Problem, TooLarge

RUN_LINE_BYTES_MAX = 512 * 1024 * 1024
"""One run with its changes: held in memory about twice while it is recorded. A million changes of some 400 bytes."""
READ_BYTES = 1024 * 1024
_GZIP_MAGIC = b"\x1f\x8b"


class Line(NamedTuple):
    """A line without its end, and its number in the file, from 1."""

    number: int
    text: bytes


def read_lines(file: io.RawIOBase | io.BufferedIOBase, *, line_bytes_max: int = RUN_LINE_BYTES_MAX) -> Iterator[Line]:
    """The lines that are not blank. Raises TooLarge for one over the limit, BadLine for broken gzip."""
    stream: io.BufferedReader = io.BufferedReader(file, READ_BYTES)
    if stream.peek(2)[:2] == _GZIP_MAGIC:
        stream = io.BufferedReader(gzip.GzipFile(fileobj=stream), READ_BYTES)
    number = 0
    while text := _read_line(stream, number + 1, line_bytes_max):
        number += 1
        stripped = text.strip()
        if stripped:
            yield Line(number, stripped)


def _read_line(stream: io.BufferedReader, number: int, line_bytes_max: int) -> bytes:
    try:
        text = stream.readline(line_bytes_max + 2)
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        problem = Problem("The gzip data is damaged or cut off.", line=number, found=str(error), expected="gzip data")
        raise BadLine(
            f"Line {number}: the gzip data is damaged or cut off ({error}). The lines before it were read.",
            problems=(problem,),
        ) from error
    if len(text.rstrip(b"\r\n")) > line_bytes_max:
        problem = Problem("The line is too long.", line=number, expected=f"at most {line_bytes_max:,} bytes")
        raise TooLarge(
            f"Line {number} is longer than {line_bytes_max:,} bytes. Split the run, or send its changes in batches "
            "with `ledger run changes`.",
            problems=(problem,),
        )
    return text
