"""What is asked of an undo: which runs, how conflicts are met, and which part of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal, get_args

Policy = Literal["skip", "skip_record", "abort", "force", "cascade"]
POLICIES: tuple[Policy, ...] = get_args(Policy)
RESTORE_POLICIES = tuple(policy for policy in POLICIES if policy != "cascade")
"""A restoring takes back all later runs as it is."""


@dataclass(frozen=True, slots=True)
class Selection:
    """A part of what the runs changed. None: no limit. A field filter selects field updates only."""

    fields: frozenset[str] | None = None
    records: frozenset[tuple[str, str]] | None = None
    """(object type, record id) pairs."""
    object_types: frozenset[str] | None = None
    columns: frozenset[str] | None = None
    """Fields whose Before column is left in an edited report. Unlike with `fields`, records that were created or
    deleted stay selected."""
    except_changes: frozenset[tuple[str, str, str]] = frozenset()
    """(Run ID, object type, record id): rows removed from an edited report of a recipe, of records that it has in the
    row of another run still."""

    @property
    def is_everything(self) -> bool:
        return self == EVERYTHING

    def takes_record(self, object_type: str, record_id: str) -> bool:
        return (self.object_types is None or object_type in self.object_types) and (
            self.records is None or (object_type, record_id) in self.records
        )

    @property
    def takes_whole(self) -> bool:
        """Whether records that were created or deleted are selected (takes_record holds already)."""
        return self.fields is None

    def takes_field(self, name: str) -> bool:
        return (self.fields is None or name in self.fields) and (self.columns is None or name in self.columns)

    def takes_change(self, run_id: str, object_type: str, record_id: str) -> bool:
        """Whether what this run did to a record is selected (takes_record holds already)."""
        return (run_id, object_type, record_id) not in self.except_changes

    def takes(self, run_id: str, object_type: str, record_id: str, name: str | None) -> bool:
        """Whether what this run did to a field (None: that it created or deleted the record) is selected."""
        is_taken = self.takes_whole if name is None else self.takes_field(name)
        return (
            self.takes_record(object_type, record_id) and self.takes_change(run_id, object_type, record_id) and is_taken
        )


EVERYTHING = Selection()


@dataclass(frozen=True, slots=True)
class Restoring:
    """What is asked of a restoring: records of one type back to a moment."""

    object_type: str
    as_of: datetime
    records: frozenset[str] | None = None
    """Record ids; None: all."""
    policy: Policy = "skip"
    target: str | None = None
    plan_digest: str | None = None
    idempotency_key: str | None = None

    def of_runs(self, runs: tuple[str, ...]) -> UndoRequest:
        """The undo that does it, given the runs that changed records of the type after the moment."""
        keys = None if self.records is None else frozenset((self.object_type, each) for each in self.records)
        selection = Selection(records=keys, object_types=frozenset((self.object_type,)))
        return UndoRequest(
            runs, self.policy, selection, self.target, self.plan_digest, self.idempotency_key, since=self.as_of
        )


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
