"""What is asked of an undo: which runs, how conflicts are met, and which part of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

Policy = Literal["skip", "skip_record", "abort", "force", "cascade"]
POLICIES: tuple[Policy, ...] = get_args(Policy)


@dataclass(frozen=True, slots=True)
class Selection:
    """A part of what the runs changed. None: no limit. A field filter selects field updates only."""

    fields: frozenset[str] | None = None
    records: frozenset[tuple[str, str]] | None = None
    """(object type, record id) pairs."""
    object_types: frozenset[str] | None = None
    cells: frozenset[tuple[str, str, str | None]] | None = None
    """(object type, record id, field): of an edited report. Field None: the record was created or deleted."""

    @property
    def is_everything(self) -> bool:
        return self == EVERYTHING

    def takes_record(self, object_type: str, record_id: str) -> bool:
        return (self.object_types is None or object_type in self.object_types) and (
            self.records is None or (object_type, record_id) in self.records
        )

    def takes_whole(self, object_type: str, record_id: str) -> bool:
        """Whether a record that was created or deleted is selected (takes_record holds already)."""
        return self.fields is None and (self.cells is None or (object_type, record_id, None) in self.cells)

    def takes_field(self, object_type: str, record_id: str, name: str) -> bool:
        return (self.fields is None or name in self.fields) and (
            self.cells is None or (object_type, record_id, name) in self.cells
        )


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class UndoRequest:
    """One undo of one or several runs (a recipe's Run ID stands for its children; an undo's own for a redo)."""

    runs: tuple[str, ...]
    policy: Policy = "skip"
    selection: Selection = EVERYTHING
    target: str | None = None
    """Name of the target to write to; None: the one that the runs name, else the ledger itself."""
    plan_digest: str | None = None
    """Apply only if the plan still has this digest."""
    idempotency_key: str | None = None
    undo_id: str | None = None
    """The undo's own Run ID; None: it is made."""
    since: datetime | None = None
    """Of a restoring: only what happened after this instant is taken back, of runs undone before too."""
