"""The overview: activity by day, what failed, who and what is busiest. Days are those of UTC, as they are counted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from flask import render_template, request

from api.auth import services
from api.pages.blueprint import pages, reader
from api.pages.charts import Chart, Series, stacked_columns
from projections.activity.view import ActivityDay

SPANS = (7, 30, 90, 365)
SPAN = 30
TEMPLATES_SHOWN = 5
BUSIEST = 8
ACTIONS = (("updated", "c1"), ("created", "c2"), ("deleted", "c4"), ("other", "c5"), ("unmodified", "c6"))
STYLES = ("c1", "c2", "c4", "c5", "c3")


class Busy(NamedTuple):
    """A line of a list of the busiest."""

    name: str
    records: int
    share: float
    """Of the busiest one."""


@pages.get("/overview")
def overview() -> str:
    identity = reader()
    span = _span(request.args.get("days", ""))
    last = _last(request.args.get("to", ""))
    first = last - timedelta(days=span - 1)
    found = services().activity(identity.account_id).days(first, last)
    columns = [(first + timedelta(days=at)).isoformat() for at in range(span)]
    return render_template(
        "overview.html",
        span=span,
        spans=SPANS,
        first=first,
        last=last,
        runs=sum(day.runs for day in found),
        failed_runs=sum(day.failed_runs for day in found),
        changes=sum(day.tally.succeeded - day.tally.unmodified for day in found),
        failed=sum(day.tally.failed for day in found),
        charts=(
            ("By action", "Records a day, by what was done to them", _by_action(columns, found)),
            ("By template", "Records processed a day, by template", _by_template(columns, found)),
            ("Failures", "Records that failed a day", _failures(columns, found)),
        ),
        users=_busiest((day.user or "nobody named", day.tally.processed) for day in found),
        templates=_busiest((day.template or "no template", day.tally.processed) for day in found),
        fields=_busiest(services().sampling(identity.account_id).newest_fields()),
    )


def _by_action(columns: list[str], found: list[ActivityDay]) -> Chart:
    series = [
        Series(name, style, _daily(columns, found, lambda day, name=name: getattr(day.tally, name)))  # type: ignore[misc]
        for name, style in ACTIONS
    ]
    return stacked_columns(columns, [one for one in series if any(one.values)])


def _by_template(columns: list[str], found: list[ActivityDay]) -> Chart:
    names = [busy.name for busy in _busiest((day.template or "", day.tally.processed) for day in found)]
    shown = names[:TEMPLATES_SHOWN]

    def counted(name: str) -> tuple[int, ...]:
        return _daily(columns, [day for day in found if (day.template or "") == name], lambda day: day.tally.processed)

    series = [Series(name or "no template", style, counted(name)) for name, style in zip(shown, STYLES, strict=False)]
    others = _daily(
        columns, [day for day in found if (day.template or "") not in shown], lambda day: day.tally.processed
    )
    return stacked_columns(columns, [*series, *([Series("others", "c6", others)] if any(others) else [])])


def _failures(columns: list[str], found: list[ActivityDay]) -> Chart:
    return stacked_columns(columns, [Series("failed", "c3", _daily(columns, found, lambda day: day.tally.failed))])


def _daily(columns: list[str], found: list[ActivityDay], count: Callable[[ActivityDay], int]) -> tuple[int, ...]:
    counts: Counter[str] = Counter()
    for day in found:
        counts[day.day.isoformat()] += count(day)
    return tuple(counts[column] for column in columns)


def _busiest(counted: Iterable[tuple[str, int]]) -> list[Busy]:
    totals: Counter[str] = Counter()
    for name, count in counted:
        totals[name] += count
    most = totals.most_common(BUSIEST)
    top = max(1, most[0][1]) if most else 1
    return [Busy(name, count, count / top) for name, count in most if count]


def _span(text: str) -> int:
    return int(text) if text in map(str, SPANS) else SPAN


def _last(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return datetime.now(UTC).date()
