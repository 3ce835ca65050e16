"""A bar on stderr for what takes long: how far, how many, how fast. Silent where stderr is no terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

BAR_CELLS = 24
REDRAW_S = 0.1


class Progress:
    """Counts `items` towards an end that is told as a share (0 to 1), where it is known."""

    def __init__(self, what: str, *, quiet: bool = False) -> None:
        self._what = what
        self._shown = not quiet and sys.stderr.isatty()
        self._began_at = time.monotonic()
        self._drawn_at = 0.0
        self.items = 0
        self._share: float | None = None

    @property
    def rate(self) -> float:
        """Items a second since the beginning."""
        return self.items / max(time.monotonic() - self._began_at, 1e-9)

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._began_at

    def advance(self, items: int, share: float | None = None) -> None:
        self.items += items
        self._share = share if share is not None else self._share
        if self._shown and time.monotonic() - self._drawn_at >= REDRAW_S:
            self._draw()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def _draw(self) -> None:
        self._drawn_at = time.monotonic()
        text = f"{self.items:,} {self._what}, {self.rate:,.0f}/s"
        if self._share is not None:
            filled = round(min(1.0, self._share) * BAR_CELLS)
            text = f"[{'#' * filled}{'.' * (BAR_CELLS - filled)}] {min(1.0, self._share):4.0%}  {text}"
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()
