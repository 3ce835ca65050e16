"""Changes on the wire: NDJSON or a JSON array in, checked lines out, batch by batch, in bounded memory."""

from __future__ import annotations

import re
from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain
from typing import Annotated, Literal, NamedTuple

import msgspec
from msgspec import Meta, Raw, Struct

from ledger.errors import BadLine, Problem, TooLarge
from ledger.json_text import JsonFault, canonical, canonical_lines, split_fields

BATCH_LINES_MAX = 5_000
BATCH_BYTES_MAX = 4 * 1024 * 1024
"""A batch is one transaction: long enough that its commit costs little, short enough to wait for."""
LINE_BYTES_MAX = 4 * 1024 * 1024
ARRAY_BYTES_MAX = 8 * 1024 * 1024
"""A JSON array is held whole, at worst as some 30 times its size; NDJSON has no limit of its own."""

OBJECT_TYPE_BYTES_MAX = 255
RECORD_ID_BYTES_MAX = 1_024
LABEL_CHARACTERS_MAX = 1_024
LINK_CHARACTERS_MAX = 4_096
MESSAGE_CHARACTERS_MAX = 16_384

NOTHING = Raw(b"")
"""Stands for a member that was not sent."""


class ChangeLine(Struct, omit_defaults=True, forbid_unknown_fields=True, frozen=True, gc=False):
    """What a run did to one record, as its producer tells it. The objects stay canonical JSON text."""

    action: str
    record_id: Annotated[str, Meta(min_length=1, max_length=RECORD_ID_BYTES_MAX)] | None = None
    object_type: Annotated[str, Meta(min_length=1, max_length=OBJECT_TYPE_BYTES_MAX)] | None = None
    result: Literal["succeeded", "failed"] = "succeeded"
    message: Annotated[str, Meta(max_length=MESSAGE_CHARACTERS_MAX)] | None = None
    before: Raw = NOTHING
    after: Raw = NOTHING
    label: Annotated[str, Meta(max_length=LABEL_CHARACTERS_MAX)] | None = None
    link: Annotated[str, Meta(max_length=LINK_CHARACTERS_MAX)] | None = None
    details: Raw = NOTHING
    occurred_at: str | None = None


class Lines(NamedTuple):
    """Some lines as they came in: the texts, and the number of each in what was sent (from 1)."""

    texts: list[bytes]
    numbers: list[int]

    def from_line(self, index: int) -> Lines:
        """Without the first `index` lines."""
        return Lines(self.texts[index:], self.numbers[index:])


def read_batches(blocks: Iterable[bytes]) -> Iterator[Lines]:
    """Splits a body into batches of at most BATCH_LINES_MAX lines and about BATCH_BYTES_MAX bytes.

    Blank lines are passed over, and so is a byte order mark (RFC 8259 section 8.1 allows it). A body whose first byte
    is `[` is read as a JSON array; its items are its lines. Raises TooLarge for a line over LINE_BYTES_MAX or an array
    over ARRAY_BYTES_MAX, JsonFault for a broken array.
    """
    stream = iter(blocks)
    first, blank_lines = _first_block(stream)
    if first.startswith(b"["):
        yield from _array_batches(_read_whole(first, stream))
    else:
        yield from _line_batches(chain((first,), stream), blank_lines)


def _first_block(stream: Iterator[bytes]) -> tuple[bytes, int]:
    """The body up to some block's end, from its first byte that is no mark or white space; the lines before."""
    first = b""
    while len(first) < len(BOM_UTF8) and (block := next(stream, None)) is not None:
        first += block
    first = first.removeprefix(BOM_UTF8)
    blank_lines = 0
    while True:
        begun = first.lstrip(_WHITE_SPACE)
        blank_lines += first.count(b"\n", 0, len(first) - len(begun))
        block = None if begun else next(stream, None)
        if block is None:
            return begun, blank_lines
        first = block


def parse_lines(lines: Lines) -> list[ChangeLine]:
    """The changes in `lines`. Raises BadLine for the first line that is none, with its number and place."""
    return parse_canonical(lines, canonical_lines(b"\n".join(lines.texts)))


def parse_canonical(lines: Lines, at_once: bytes | None) -> list[ChangeLine]:
    """parse_lines where the lines' canonical text is known, or that they have to be taken one by one (None)."""
    try:
        block = b"\n".join([canonical(text) for text in lines.texts]) if at_once is None else at_once
        changes = _LINES.decode_lines(block)
    except (msgspec.MsgspecError, UnicodeDecodeError, JsonFault):
        _raise_for_first_bad(lines)
    may_hold_nul = b"\\u0000" in block
    for number, change in zip(lines.numbers, changes, strict=True):
        if may_hold_nul or not _is_ordinary(change):
            problem = _find_problem(change, may_hold_nul=may_hold_nul)
            if problem is not None:
                raise _bad_line(number, problem)
    return changes


def parse_instant(text: str) -> datetime | None:
    """An RFC 3339 instant with its offset, exact to the microsecond and in the years 2 to 9998 in UTC (so that it has
    a date in every time zone); None for anything else.
    """
    if not _INSTANT.fullmatch(text):
        return None
    try:
        instant = datetime.fromisoformat(text.upper())
        return instant if 2 <= instant.astimezone(UTC).year <= 9998 else None
    except (ValueError, OverflowError):
        return None


_LINES = msgspec.json.Decoder(ChangeLine)
_ACTION = re.compile(r"[a-z][a-z0-9_.\-]{0,63}")
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,6}0*)?([Zz]|[-+]\d\d:\d\d)", re.ASCII)
_INSTANT_EXPECTED = "an RFC 3339 instant, to the microsecond at most, such as 2026-11-23T10:00:00Z"
_WHITE_SPACE = b" \t\r\n"


def _is_ordinary(change: ChangeLine) -> bool:
    """Whether this is an update as nearly all are, which breaks no rule for sure: so most lines cost no closer look."""
    record_id = change.record_id
    return (
        change.action == "update"
        and record_id is not None
        and record_id.isascii()
        and change.object_type is None
        and change.occurred_at is None
        and change.details is NOTHING
        and bytes(change.before)[:1] == b"{"
        and bytes(change.after)[:1] == b"{"
    )


def _find_problem(change: ChangeLine, *, may_hold_nul: bool) -> Problem | None:
    """The first rule broken that the types of ChangeLine do not hold already."""
    action = change.action
    if action not in _ACTIONS and not _ACTION.fullmatch(action):
        return _problem("action", action, "create, update, delete, none or another word of a-z, 0-9, _ . -")
    if change.record_id is None and change.result == "succeeded":
        return _problem("record_id", None, "the record's id (only a failed change may have none)")
    if may_hold_nul or not (change.record_id or "").isascii() or not (change.object_type or "").isascii():
        problem = _find_text_problem(change)
        if problem is not None:
            return problem
    if change.occurred_at is not None and parse_instant(change.occurred_at) is None:
        return _problem("occurred_at", change.occurred_at, _INSTANT_EXPECTED)
    return _find_fields_problem(change, bytes(change.before), bytes(change.after), bytes(change.details))


_ACTIONS = frozenset(("create", "update", "delete", "none"))


def _find_text_problem(change: ChangeLine) -> Problem | None:
    for name in ("record_id", "object_type", "message", "label", "link"):
        text = getattr(change, name)
        if text is not None and "\0" in text:
            return _problem(name, text, "text without NUL, which no index can hold")
    for name, limit in (("record_id", RECORD_ID_BYTES_MAX), ("object_type", OBJECT_TYPE_BYTES_MAX)):
        text = getattr(change, name)
        if text is not None and len(text.encode()) > limit:
            return _problem(name, text, f"at most {limit:,} bytes of UTF-8")
    return None


def _find_fields_problem(change: ChangeLine, before: bytes, after: bytes, details: bytes) -> Problem | None:
    for name, text in (("before", before), ("after", after), ("details", details)):
        if text and text[0] != _OBJECT and text != b"null":
            return _problem(name, text.decode(), "an object of fields, or null")
    if change.result == "failed":
        return None
    if change.action == "create" and before not in _NO_FIELDS:
        return _problem("before", before.decode(), "nothing: a record that is created had no fields before")
    if change.action == "delete" and after not in _NO_FIELDS:
        return _problem("after", after.decode(), "nothing: a record that is deleted has no fields after")
    if change.action in ("create", "update") and after in (b"", b"null"):
        return _problem("after", None if not after else "null", "an object with the fields as they are now")
    return None


_OBJECT = ord("{")
_NO_FIELDS = (b"", b"null", b"{}")


def _problem(name: str, found: str | None, expected: str) -> Problem:
    shown = "nothing" if found is None else repr(found if len(found) <= 80 else found[:80] + "…")
    return Problem(f"{name} is not valid.", pointer=f"/{name}", found=shown, expected=expected)


def _bad_line(number: int, problem: Problem) -> BadLine:
    at = Problem(problem.detail, pointer=problem.pointer, line=number, found=problem.found, expected=problem.expected)
    place = f" at {at.pointer}" if at.pointer else ""
    return BadLine(
        f"Line {number}{place}: {at.detail} Found {at.found}, expected {at.expected}. "
        "Mend the line and send it and all after it again, from the accepted offset.",
        problems=(at,),
    )


def _raise_for_first_bad(lines: Lines) -> None:
    """Takes the lines one by one to find and name the first bad one."""
    for number, text in zip(lines.numbers, lines.texts, strict=True):
        try:
            change = _LINES.decode(canonical(text))
        except JsonFault as fault:
            raise _bad_line(number, fault.problems[0]) from None
        except msgspec.ValidationError as error:
            raise _bad_line(number, _unknown_member(text) or schema_problem(error)) from None
        problem = _find_problem(change, may_hold_nul=True)
        if problem is not None:
            raise _bad_line(number, problem)
    raise AssertionError("a batch was refused whose every line is accepted alone")


_SCHEMA_ERROR = re.compile(
    r"(?:Expected (?P<expected>.+?)(?:, got (?P<found>.+?))?|Invalid enum value (?P<enum>.+?)|(?P<other>.+?))"
    r"(?: - at `\$(?P<path>.*)`)?",
    re.DOTALL,
)


def _unknown_member(text: bytes) -> Problem | None:
    """The first member that no change has; in msgspec's own words a hostile name could not be told from the words."""
    try:
        name = next((name for name in split_fields(canonical(text)) if name not in _MEMBERS), None)
    except msgspec.ValidationError:  # no object at all
        return None
    if name is None:
        return None
    shown = name if len(name) <= 80 else name[:80] + "…"
    return Problem(
        "Unknown member.", pointer="/" + _escape(shown), found=repr(shown), expected=f"one of {', '.join(_MEMBERS)}"
    )


_MEMBERS = ChangeLine.__struct_fields__


def schema_problem(error: msgspec.ValidationError) -> Problem:
    """What msgspec says of a wrong shape, in our words: place as a JSON pointer, found and expected."""
    match = _SCHEMA_ERROR.fullmatch(str(error))
    assert match is not None
    path = (match["path"] or "").replace(".", "/").replace("[", "/").replace("]", "") or None
    if match["enum"]:
        return Problem("Unknown value.", pointer=path, found=match["enum"], expected="'succeeded' or 'failed'")
    if match["expected"]:
        return Problem(
            "Wrong type or length.", pointer=path, found=match["found"] or "another length", expected=match["expected"]
        )
    other = match["other"]
    name = re.search(r"`(.+)`", other)
    named = name[1] if name else ""
    return Problem("A member is missing.", pointer="/" + _escape(named), found="nothing", expected=f"`{named}`")


def _escape(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _line_batches(blocks: Iterable[bytes], number: int = 0) -> Iterator[Lines]:
    """`number` lines stand before the first block."""
    batch, size, rest = Lines([], []), 0, b""
    for block in chain(blocks, (b"\n",)):  # the last line may lack its end
        parts = (rest + block).split(b"\n") if rest else block.split(b"\n")
        rest = parts.pop()
        if len(rest) > LINE_BYTES_MAX:
            _raise_line_too_large(number + len(parts) + 1)
        if _is_ordinary_block(parts) and _fits(batch, size, parts):
            batch.texts.extend(parts)
            batch.numbers.extend(range(number + 1, number + len(parts) + 1))
            number += len(parts)
            size += sum(map(len, parts)) + len(parts)
            continue
        for text in parts:
            number += 1
            if not text.strip(_WHITE_SPACE):
                continue
            if len(text) > LINE_BYTES_MAX:
                _raise_line_too_large(number)
            if batch.texts and (len(batch.texts) >= BATCH_LINES_MAX or size + len(text) > BATCH_BYTES_MAX):
                yield batch
                batch, size = Lines([], []), 0
            batch.texts.append(text)
            batch.numbers.append(number)
            size += len(text) + 1
    if batch.texts:
        yield batch


def _is_ordinary_block(parts: list[bytes]) -> bool:
    """Whether no line of these is blank or too long: so most blocks cost no look at each line."""
    return all(parts) and not any(map(bytes.isspace, parts)) and max(map(len, parts), default=0) <= LINE_BYTES_MAX


def _fits(batch: Lines, size: int, parts: list[bytes]) -> bool:
    """Whether the lines all go into the batch that has `size` bytes."""
    lines = len(batch.texts) + len(parts)
    return lines <= BATCH_LINES_MAX and size + sum(map(len, parts)) + len(parts) <= BATCH_BYTES_MAX


def _array_batches(text: bytes) -> Iterator[Lines]:
    items = msgspec.json.decode(canonical(text), type=list[Raw])
    yield from _line_batches(bytes(item) + b"\n" for item in items)


def _read_whole(first: bytes, rest: Iterator[bytes]) -> bytes:
    parts, size = [first], len(first)
    for block in rest:
        size += len(block)
        if size > ARRAY_BYTES_MAX:
            break
        parts.append(block)
    if size > ARRAY_BYTES_MAX:
        raise TooLarge(
            f"A JSON array of changes may have {ARRAY_BYTES_MAX // 1024**2} MiB. "
            "Send more as NDJSON (application/x-ndjson), one change a line, which has no limit."
        )
    return b"".join(parts)


def _raise_line_too_large(number: int) -> None:
    raise TooLarge(
        f"Line {number} is longer than {LINE_BYTES_MAX // 1024**2} MiB. Nothing of it was recorded; "
        "leave large values out of the change, or send a reference to them.",
        problems=(Problem("The line is too long.", line=number, expected=f"at most {LINE_BYTES_MAX:,} bytes"),),
    )
