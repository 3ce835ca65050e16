"""Values as pages show them. Nothing here reads a database or a request."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from typing import NamedTuple
from urllib.parse import urlsplit

from ledger.json_text import plain, split_fields

NUMBER_FORMAT = "{:,}"


class FieldChange(NamedTuple):
    """One field of a change as the pages show it. None: the field was not there; `unknown`: nobody recorded it."""

    name: str
    before: str | None
    after: str | None
    unknown: bool = False


def field_changes(before: bytes | None, after: bytes | None) -> Iterator[FieldChange]:
    """The fields of a change, sorted by name, with before and after side by side."""
    olds, news = split_fields(before), split_fields(after)
    unknown = before == b"null"
    for name in sorted(olds.keys() | news.keys()):
        yield FieldChange(name, _shown(olds.get(name)), _shown(news.get(name)), unknown and name not in olds)


def _shown(text: bytes | None) -> str | None:
    if text is None:
        return None
    return "null" if text == b"null" else plain(text)


def instant(moment: datetime | None, zone: tzinfo = UTC) -> str:
    """A moment to the second, in a time zone. Years before 1000 and at the ends of the calendar too."""
    if moment is None:
        return ""
    try:
        there = moment.astimezone(zone)
    except OverflowError:
        there = moment.astimezone(UTC)
    return there.replace(tzinfo=None, microsecond=0).isoformat(" ")


def instant_utc(moment: datetime) -> str:
    """The same in UTC, which it says."""
    return instant(moment) + " UTC"


def instant_exact(moment: datetime) -> str:
    """For the `datetime` attribute of a time element."""
    return moment.astimezone(UTC).isoformat()


def duration(seconds: float | None) -> str:
    """Seconds in at most two units: 0.4 s, 12 s, 3 min 5 s, 2 h 10 min, 4 d 1 h."""
    if seconds is None:
        return ""
    if abs(seconds) < 10:
        return f"{seconds:.1f} s"
    whole, sign = abs(round(seconds)), "-" if seconds < 0 else ""
    for size, unit, smaller, small_unit in ((86_400, "d", 3_600, "h"), (3_600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // smaller
            return f"{sign}{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{sign}{whole} s"


def number(count: int) -> str:
    return NUMBER_FORMAT.format(count)


def web_link(url: str | None) -> str | None:
    """The address where it is one that a browser may follow, else None: producers' text is never trusted as a link."""
    if not url:
        return None
    try:
        parts = urlsplit(url)
    except ValueError:
        return None
    return url if parts.scheme in ("http", "https") and parts.netloc else None
