"""What readers of the Activity Tracker ask and get: RunQuery, TrackerRow, RunPage. No SQL here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple
from urllib.parse import quote

from msgspec import Raw

from ledger.domain.operation import Operation, Saved
from ledger.domain.run import Status, SystemFault
from ledger.domain.tally import Tally

PAGE_SIZE = 50
PAGE_SIZE_MAX = 200
TOTAL_MAX = 200
"""Totals are counted up to here; beyond it a page says `total_is_capped`. Counting takes longer than finding a page."""

Sort = Literal[
    "started_at", "finished_at", "duration_s", "run_id", "template", "object_type", "app", "module", "user", "recipe",
    "recipe_run_id", "kind", "mode", "trigger", "status", "updated", "created", "deleted", "unmodified", "other",
    "failed", "succeeded", "processed",
]  # fmt: skip
SORTS: tuple[Sort, ...] = Sort.__args__  # type: ignore[attr-defined]

UndoState = Literal["none", "under_way", "undone"]
UNDO_STATES: tuple[UndoState, ...] = UndoState.__args__  # type: ignore[attr-defined]

Facet = Literal["template", "object_type", "app", "module", "user"]
FACETS: tuple[Facet, ...] = Facet.__args__  # type: ignore[attr-defined]
"""What drop-downs offer: the distinct values of these."""


class Limits(NamedTuple):
    """How many runs are looked at where several filters must hold together, which no index answers alone."""

    candidates: int = 1_500
    """For a page: there it ends, if a short one, and the next goes on."""
    counted: int = 1_000
    """For a total, which then says `total_is_capped`. No more than `candidates`."""
    rare: int = 1_500
    """A filter that lets through no more runs than this is rare: all of them are taken and sorted. With more, walking
    through the runs in order finds a page soon."""
    branch: int = 500
    """Where a text may match in many ways, these share the limits; each has this at the least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunQuery:
    """Which runs, in what order, how many. Filters that are None do not filter; all others must hold together."""

    text: str | None = None
    """Anywhere in the template or the object type, in any case, or the beginning of the Run ID."""
    object_type: str | None = None
    """A type that the run names or that any of its changes touched."""
    template: str | None = None
    module: str | None = None
    app: str | None = None
    user: str | None = None
    """The user as shown: the name, else the e-mail address, else the id. So with template: the name, else the id."""
    mode: Literal["update", "preview", "all"] = "update"
    """Previews are hidden unless asked for."""
    kind: Literal["run", "recipe"] | None = None
    trigger: Literal["manual", "automated"] | None = None
    status: Status | None = None
    recipe_run_id: str | None = None
    started_from: datetime | None = None
    """The first instant of started_at, included."""
    started_to: datetime | None = None
    """The instant where started_at ends, not included."""
    has_failures: bool | None = None
    zero_succeeded: bool | None = None
    undo_state: UndoState | None = None
    sort: Sort = "started_at"
    descending: bool = True
    """Ties are ordered by started_at and Run ID, in the same direction."""
    page_size: int = PAGE_SIZE
    """1 to PAGE_SIZE_MAX."""
    cursor: str | None = None
    """The next_cursor of the page before; bound to the filters and the order it was made for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerRow:
    """One run as the tracker shows it. A recipe's tally is the sum of its children's."""

    run_id: str
    operation: Operation
    started_at: datetime
    finished_at: datetime | None
    status: Status
    tally: Tally
    error: SystemFault | None
    position: int
    """The last position that changed this row."""
    undoes: tuple[str, ...] = ()
    undone_by: tuple[str, ...] = ()
    """The undo that took the run back; nothing where it stands, or only a part was undone."""
    undo_under_way: str | None = None
    """The undo that has begun and not ended."""
    is_interrupted: bool = False
    """Of an undo: it has not ended, and no process carries it out. It waits to be resumed."""

    @property
    def stamp_run_id(self) -> str:
        """The Run ID that stands on the run's records: the recipe's where there is one."""
        return self.operation.recipe_run_id or self.run_id

    @property
    def duration_s(self) -> float | None:
        """Seconds from start to end; None while it runs."""
        return None if self.finished_at is None else (self.finished_at - self.started_at).total_seconds()

    @property
    def undo_state(self) -> UndoState:
        """What became of the run."""
        return "under_way" if self.undo_under_way else "undone" if self.undone_by else "none"

    @property
    def is_preview(self) -> bool:
        return self.operation.mode == "preview"

    @property
    def has_report(self) -> bool:
        """False for previews (their report is given on request) and where a system error came before any change."""
        return not self.is_preview and (self.tally.processed > 0 or self.status == "finished")

    def as_dict(self) -> dict[str, Any]:
        """The run as every interface gives it, ready for ledger.json_text.encode (details are a Raw)."""
        what = self.operation
        return {
            "run_id": self.run_id,
            "stamp_run_id": self.stamp_run_id,
            "kind": what.kind,
            "mode": what.mode,
            "trigger": what.trigger,
            "status": self.status,
            "app": what.app and {"name": what.app.name, "account": what.app.account},
            "module": what.module,
            "object_type": what.object_type,
            "template": _saved(what.template),
            "user": what.user and {"id": what.user.id, "name": what.user.name, "email": what.user.email},
            "recipe": _saved(what.recipe),
            "recipe_run_id": what.recipe_run_id,
            "target": what.target,
            "message": what.message,
            "details": None if what.details is None else Raw(what.details),
            "started_at": format_instant(self.started_at),
            "finished_at": None if self.finished_at is None else format_instant(self.finished_at),
            "duration_s": self.duration_s,
            "tally": self.tally.as_dict(),
            "error": self.error and {"code": self.error.code, "message": self.error.message},
            "has_report": self.has_report,
            "undoes": list(self.undoes),
            "undone_by": list(self.undone_by),
            "undo_under_way": self.undo_under_way,
            "undo_state": self.undo_state,
            "is_interrupted": self.is_interrupted,
            "position": self.position,
            "links": self._links(),
        }

    def _links(self) -> dict[str, str]:
        path = f"/v1/runs/{quote(self.run_id, safe='')}"
        links = {"self": path, "changes": f"{path}/changes"}
        if self.operation.recipe_run_id:
            links["recipe"] = f"/v1/runs/{quote(self.operation.recipe_run_id, safe='')}"
        if self.operation.kind == "recipe":
            links["children"] = f"/v1/runs?recipe_run_id={quote(self.run_id, safe='')}"
        if self.has_report:
            links |= {f"report_{form}": f"{path}/report.{form}" for form in ("csv", "xlsx", "ndjson")}
        return links


@dataclass(frozen=True, slots=True)
class RunPage:
    """One page of runs."""

    rows: Sequence[TrackerRow]
    """At most page_size; fewer, even none, on a page that is not the last where Limits ended it."""
    next_cursor: str | None
    """None: this is the last page."""
    total: int
    """How many runs the filters let through, as far as they were counted."""
    total_is_capped: bool
    """There are at least `total`, and there may be more: it was counted to TOTAL_MAX, or in the first candidates."""


def format_instant(instant: datetime) -> str:
    """RFC 3339 in UTC with a Z, to the microsecond where there are any."""
    return instant.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _saved(saved: Saved | None) -> dict[str, str | None] | None:
    return None if saved is None else {"id": saved.id, "name": saved.name, "url": saved.url}
