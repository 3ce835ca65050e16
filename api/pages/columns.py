"""The tracker's columns: what stands in their heads, and by what they are sorted."""

from __future__ import annotations

from typing import Literal, NamedTuple

from projections.tracker.view import Sort

Kind = Literal["text", "number", "time", "mark"]


class Column(NamedTuple):
    """One column. `sort` None: there is no order by it."""

    name: str
    title: str
    kind: Kind = "text"
    sort: Sort | None = None
    may_hide: bool = True

    @property
    def descends_first(self) -> bool:
        """Numbers and times begin with the highest."""
        return self.kind in ("number", "time")


def _sorted(name: Sort, title: str, kind: Kind = "text") -> Column:
    return Column(name, title, kind, name)


COLUMNS = (
    Column("run_id", "Run ID", "text", "run_id", may_hide=False),
    _sorted("template", "Template"),
    _sorted("object_type", "Object type"),
    _sorted("app", "App"),
    _sorted("module", "Module"),
    _sorted("user", "User"),
    Column("account", "Account"),
    _sorted("started_at", "Started", "time"),
    _sorted("finished_at", "Finished", "time"),
    _sorted("duration_s", "Duration", "number"),
    _sorted("updated", "Updated", "number"),
    _sorted("created", "Created", "number"),
    _sorted("deleted", "Deleted", "number"),
    _sorted("failed", "Failed", "number"),
    _sorted("succeeded", "Succeeded", "number"),
    _sorted("unmodified", "Unmodified", "number"),
    Column("mode", "Preview", "mark", "mode"),
    Column("recipe", "Recipe", "mark", "recipe_run_id"),
    Column("trigger", "Manual", "mark", "trigger"),
    Column("undo", "Undo"),
)
"""In their order. `recipe` is ordered by the recipe's Run ID, so that what belongs together stands together."""
