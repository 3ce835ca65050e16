"""Option types and groups of options that several commands take."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime, time
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from projections.records.moment import Moment

_F = TypeVar("_F", bound=Callable[..., Any])


class InstantType(click.ParamType[datetime]):
    """An RFC 3339 instant with its offset, or a date: the midnight in UTC with which it begins."""

    name = "instant"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        from ledger.wire.changes import parse_instant

        if isinstance(value, datetime):
            return value
        try:
            return datetime.combine(date.fromisoformat(value), time(), UTC)
        except ValueError:
            pass
        instant = parse_instant(value)
        if instant is None:
            self.fail(f"{value!r} is no instant; expected one such as 2026-11-23T10:00:00Z, or a date.", param, ctx)
        return instant


INSTANT = InstantType()


def moment_options(command: _F) -> _F:
    """Adds the options that name a moment; `moment_of` turns them into one."""
    for option in (
        click.option("--before-run", metavar="RUN_ID", help="As it was before this run."),
        click.option("--after-run", metavar="RUN_ID", help="As this run left it."),
        click.option("--position", type=click.IntRange(min=0), help="With the events up to this position."),
        click.option("--recorded-at", type=INSTANT, metavar="INSTANT", help="As the ledger knew it at this instant."),
        click.option(
            "--at", type=INSTANT, metavar="INSTANT", help="As it was at this instant: what had happened by then."
        ),
    ):
        command = option(command)
    return command


def moment_of(chosen: dict[str, Any]) -> Moment:
    """Takes the options of moment_options out of `chosen`. Raises UsageError for more than one."""
    from projections.records.moment import Moment

    makers: dict[str, Callable[[Any], Moment]] = {
        "at": Moment.at,
        "recorded_at": Moment.recorded_at,
        "position": Moment.at_position,
        "after_run": Moment.after_run,
        "before_run": Moment.before_run,
    }
    given = {name: value for name in makers if (value := chosen.pop(name)) is not None}
    if len(given) > 1:
        options = " and ".join("--" + name.replace("_", "-") for name in given)
        raise click.UsageError(f"{options} name two moments; give one of them.")
    for name, value in given.items():
        return makers[name](value)
    return Moment.now()
