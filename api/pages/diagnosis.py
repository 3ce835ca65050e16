"""What is remarkable about a run, in words. Pure: the sample and the earlier runs are handed in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal

from api.shown import duration, number
from ledger.json_text import plain, split_fields
from projections.run_changes.sampling import MESSAGES_LOOKED_AT, FieldSample, Sample
from projections.tracker.view import TrackerRow

MANY = 0.5
"""From this share on, unmodified records are many."""
EARLIER_MIN = 4
"""So many earlier runs of a template make a habit."""
FIELDS_TOLD_MAX = 6
_FILTER_MEMBERS = ("filter", "filters", "query", "search", "where", "list", "segment", "criteria")


@dataclass(frozen=True, slots=True)
class Finding:
    """One remark. `items`: (text, how many, the filters of the changes that show it)."""

    level: Literal["bad", "warn", "info"]
    text: str
    items: tuple[tuple[str, int, dict[str, str]], ...] = ()


def diagnose(run: TrackerRow, sample: Sample, earlier: Sequence[TrackerRow]) -> list[Finding]:
    """The findings, the gravest first. `earlier`: runs of the same template that ended before this one began."""
    found = [*_failures(run, sample), *_nothing(run), *_unmodified(run), *_fields(sample), *_unusual(run, earlier)]
    return sorted(found, key=lambda finding: ("bad", "warn", "info").index(finding.level))


def _failures(run: TrackerRow, sample: Sample) -> Iterator[Finding]:
    tally = run.tally
    if not tally.failed:
        return
    share = tally.failed / tally.processed
    text = f"{number(tally.failed)} of {number(tally.processed)} records failed ({_percent(share)})."
    if sample.messages:
        far = tally.processed > MESSAGES_LOOKED_AT
        text += f" Why, among the first {number(MESSAGES_LOOKED_AT)} records:" if far else " Why:"
    items = tuple(
        (
            each.text or "no message given",
            each.records,
            {"result": "failed"} | ({"text": each.text} if each.text else {}),
        )
        for each in sample.messages
    )
    yield Finding("bad" if share >= 0.1 else "warn", text, items)


def _nothing(run: TrackerRow) -> Iterator[Finding]:
    if run.tally.succeeded or run.status == "running" or run.operation.kind == "recipe":
        return
    if run.tally.failed:
        text = "Nothing succeeded: every record failed."
    else:
        text = "No record was processed: nothing met the filter, or the run ended before the first."
    told = filter_of(run)
    text += f" The filter was: {told}" if told else " The run does not tell what its filter was."
    yield Finding("warn", text)


def filter_of(run: TrackerRow) -> str | None:
    """What the producer told of the run's filter: a member of its details, else its message."""
    members = split_fields(run.operation.details)
    for name in _FILTER_MEMBERS:
        if name in members:
            return plain(members[name])
    return run.operation.message


def _unmodified(run: TrackerRow) -> Iterator[Finding]:
    tally = run.tally
    if tally.succeeded and tally.unmodified / tally.succeeded >= MANY:
        share = _percent(tally.unmodified / tally.succeeded)
        yield Finding(
            "info",
            f"{number(tally.unmodified)} of {number(tally.succeeded)} records ({share}) were looked at and left as they"
            " were: they had these values already, or the template's filter is wider than it needs to be.",
        )


def _fields(sample: Sample) -> Iterator[Finding]:
    lost = [field for field in sample.fields if field.lost]
    if lost:
        text = f"Fields lost their value, among the first {number(sample.looked_at)} changes:"
        yield Finding("warn", text, _items(lost, "lost"))
    always = [field for field in sample.fields if field.left_empty == field.named >= 3 and not field.lost]
    if always:
        text = f"Fields were left empty in every one of the first {number(sample.looked_at)} changes that name them:"
        yield Finding("warn", text, _items(always, "left_empty"))


def _items(fields: list[FieldSample], count: str) -> tuple[tuple[str, int, dict[str, str]], ...]:
    found = sorted(fields, key=lambda field: -int(getattr(field, count)))[:FIELDS_TOLD_MAX]
    return tuple((field.name, getattr(field, count), {"field": field.name}) for field in found)


def _unusual(run: TrackerRow, earlier: Sequence[TrackerRow]) -> Iterator[Finding]:
    if len(earlier) < EARLIER_MIN or run.status == "running":
        return
    runs = f"the {len(earlier)} runs of this template before it"
    processed = [row.tally.processed for row in earlier]
    usual, now = median(processed), run.tally.processed
    if now > 3 * max(processed) or (usual >= 10 and now < min(processed) / 3):
        much = "more" if now > usual else "fewer"
        yield Finding(
            "warn", f"Unusual for this template: {number(now)} records, far {much} than {runs} (usually {usual:,.0f})."
        )
    shares = [row.tally.failed / row.tally.processed for row in earlier if row.tally.processed]
    share = run.tally.failed / now if now else 0
    if shares and share > max(shares) + 0.05:
        yield Finding(
            "warn",
            f"Unusual for this template: {_percent(share)} of the records failed; in {runs} at most"
            f" {_percent(max(shares))}.",
        )
    times = [row.duration_s for row in earlier if row.duration_s is not None]
    if times and run.duration_s is not None and run.duration_s > max(60.0, 3 * max(times)):
        longest = duration(max(times))
        yield Finding("info", f"It took {duration(run.duration_s)}; {runs} took {longest} at most.")


def _percent(share: float) -> str:
    return "under 1 %" if 0 < share < 0.01 else f"{share:.0%}".replace("%", " %")
