"""Charts as SVG, worked out on the server. Pure: numbers in, rectangles and labels out; a template draws them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

WIDTH, HEIGHT = 720.0, 200.0
LEFT, BOTTOM, TOP = 46.0, 22.0, 8.0
LABELS_MAX = 8
GAP = 0.22
"""Share of a column's place that is left empty."""


class Series(NamedTuple):
    """One colour of a chart; a number for each column."""

    title: str
    style: str
    values: tuple[int, ...]


class Bar(NamedTuple):
    x: float
    y: float
    width: float
    height: float
    style: str
    title: str


class Label(NamedTuple):
    x: float
    y: float
    text: str


class Chart(NamedTuple):
    """What a template draws, and the numbers that it was made of."""

    width: float
    height: float
    bars: tuple[Bar, ...]
    lines: tuple[Label, ...]
    """Lines across, each with what it stands for."""
    labels: tuple[Label, ...]
    columns: tuple[str, ...]
    series: tuple[Series, ...]

    @property
    def is_empty(self) -> bool:
        return not self.bars


def stacked_columns(columns: Sequence[str], series: Sequence[Series]) -> Chart:
    """A column for each of `columns`, its parts one upon the other in the order of the series."""
    totals = [sum(one.values[at] for one in series) for at in range(len(columns))]
    top = nice_top(max(totals, default=0))
    room, place = HEIGHT - TOP - BOTTOM, (WIDTH - LEFT) / max(1, len(columns))
    bars = []
    for at, column in enumerate(columns):
        y = TOP + room
        for one in series:
            if value := one.values[at]:
                height = max(1.0, room * value / top)
                y -= height
                x, width = LEFT + place * (at + GAP / 2), place * (1 - GAP)
                bars.append(_bar(x, y, width, height, one.style, f"{column}, {one.title}: {value:,}"))
    lines = tuple(Label(LEFT, TOP + room * (1 - part / 2), short(top * part / 2)) for part in range(3))
    every = -(-len(columns) // LABELS_MAX) or 1
    labels = tuple(
        Label(LEFT + place * (at + 0.5), HEIGHT - 6, columns[at][5:]) for at in range(0, len(columns), every)
    )
    return Chart(WIDTH, HEIGHT, tuple(bars), lines, labels, tuple(columns), tuple(series))


def nice_top(highest: int) -> int:
    """The next 1, 2 or 5 times a power of ten, and even."""
    size = 1
    while True:
        for step in (2, 4, 10):
            if step * size >= highest:
                return step * size
        size *= 10


def short(number: float) -> str:
    """1,500 as 1.5k."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:g}{unit}"
    return f"{number:g}"


def _bar(x: float, y: float, width: float, height: float, style: str, title: str) -> Bar:
    return Bar(round(x, 1), round(y, 1), round(width, 1), round(height, 1), style, title)
