"""The options that name a moment in an account's history."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import click

from ledger.errors import InputError, Problem
from ledger.wire.changes import parse_instant
from projections.records.moment import Moment

_NAMES = ("at", "recorded_at", "position", "after_run", "before_run")


def moment_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --at, --recorded-at, --position, --after-run, --before-run."""
    for option in (
        click.option("--before-run", metavar="RUN_ID", help="As it was before this run."),
        click.option("--after-run", metavar="RUN_ID", help="As this run left it."),
        click.option("--position", type=click.IntRange(0, 2**62), help="With the events up to this position."),
        click.option("--recorded-at", metavar="INSTANT", help="As the ledger knew it at this instant."),
        click.option("--at", metavar="INSTANT", help="With what had happened by this instant."),
    ):
        command = option(command)
    return command


def moment_of(options: dict[str, Any]) -> Moment:
    """Takes the moment out of a command's options. Raises InputError for two of them, or a bad instant."""
    given = {name: value for name in _NAMES if (value := options.pop(name)) is not None}
    if len(given) > 1:
        raise InputError(f"One moment at a time: found {' and '.join(_flag(name) for name in given)}.")
    for name, value in given.items():
        if name in ("at", "recorded_at"):
            instant = parse_instant(value)
            if instant is None:
                expected = "an RFC 3339 instant such as 2026-11-23T10:00:00Z"
                problem = Problem("Not an instant.", parameter=_flag(name), found=repr(value[:60]), expected=expected)
                raise InputError(f"{_flag(name)} is not an instant.", problems=(problem,))
            return Moment.at(instant) if name == "at" else Moment.recorded_at(instant)
        if name == "position":
            return Moment.at_position(value)
        return Moment.after_run(value) if name == "after_run" else Moment.before_run(value)
    return Moment.now()


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")
