"""What an undo did, or would do: one shape for preview, answer and record."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple

from msgspec import Raw

from ledger.connectors.port import Op, Values

Status = Literal["completed", "partial", "nothing_applied", "nothing_to_do", "aborted", "interrupted"]
Refusal = Literal[
    "already_undone", "undo_in_progress", "preview_run", "unknown_run", "run_not_finished", "before_states_expired"
]
ITEMS_MAX = 10_000
"""Items of each kind that an answer lists; the counts are always whole, and the report has all."""


class Author(NamedTuple):
    """Who wrote a value: the run, its user and when. run_id None: outside the ledger."""

    run_id: str | None
    user: str | None = None
    at: datetime | None = None

    def as_dict(self) -> dict[str, Any]:
        return {"run_id": self.run_id, "user": self.user, "at": self.at.isoformat() if self.at else None}


class Item(NamedTuple):
    """One verdict other than a write: a field (None: the whole record) and the reason."""

    object_type: str
    record_id: str
    field: str | None
    reason: str
    message: str | None = None
    author: Author | None = None

    def as_dict(self) -> dict[str, Any]:
        shown: dict[str, Any] = {
            "object_type": self.object_type, "record_id": self.record_id, "field": self.field, "reason": self.reason,
            "message": self.message,
        }  # fmt: skip
        if self.author is not None:
            shown["written_by"] = self.author.as_dict()
        return shown


def parse_item(told: Mapping[str, Any]) -> Item:
    """The inverse of Item.as_dict."""
    by = told.get("written_by")
    at = None if by is None or by["at"] is None else datetime.fromisoformat(by["at"])
    author = None if by is None else Author(by["run_id"], by["user"], at)
    return Item(told["object_type"], told["record_id"], told["field"], told["reason"], told["message"], author)


class Applied(NamedTuple):
    """What was written to one record, net; `fields` of a delete are empty."""

    op: Op
    object_type: str
    record_id: str
    fields: Values
    old_id: str | None = None
    """The id that the record had, where the target gave it a new one."""

    def as_dict(self) -> dict[str, Any]:
        fields = {name: Raw(b"null" if text is None else text) for name, text in self.fields.items()}
        shown: dict[str, Any] = {
            "op": self.op, "object_type": self.object_type, "record_id": self.record_id, "fields": fields
        }  # fmt: skip
        return shown | ({"old_id": self.old_id} if self.old_id is not None else {})


@dataclass(slots=True)
class Listed:
    """Items of one kind: all are counted, the first ITEMS_MAX kept."""

    items: list[Any] = field(default_factory=list)
    count: int = 0

    def add(self, item: Any) -> None:
        self.count += 1
        if len(self.items) < ITEMS_MAX:
            self.items.append(item)


@dataclass(slots=True)
class UndoResult:
    """`runs` are those undone, children and cascaded ones included. `digest` is set for a preview."""

    status: Status
    runs: tuple[str, ...]
    undo_id: str | None = None
    applied: Listed = field(default_factory=Listed)
    skipped: Listed = field(default_factory=Listed)
    noop: Listed = field(default_factory=Listed)
    failed: Listed = field(default_factory=Listed)
    cascaded_runs: tuple[str, ...] = ()
    digest: str | None = None
    position: int | None = None
    replayed: bool = False
    fields_proven: int = 0
    """Fields read back after the writes and found equal to their before-values."""
    fields_kept: int = 0
    """Fields left as they are, because of a conflict or a constraint."""
    fields_impossible: int = 0
    """Fields whose before-value the ledger does not hold (any more), or that the target does not take."""
    records_to_write: int = 0
    facts: Mapping[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """JSON values; lists longer than ITEMS_MAX are cut, which `truncated` says."""
        lists = {name: getattr(self, name) for name in ("applied", "skipped", "noop", "failed")}
        return {
            "undo_id": self.undo_id,
            "status": self.status,
            "runs": list(self.runs),
            **{name: [item.as_dict() for item in listed.items] for name, listed in lists.items()},
            "counts": {name: listed.count for name, listed in lists.items()},
            "truncated": any(listed.count > len(listed.items) for listed in lists.values()),
            "cascaded_runs": list(self.cascaded_runs),
            "fields": {
                "proven": self.fields_proven, "kept": self.fields_kept, "impossible": self.fields_impossible
            },
            "digest": self.digest,
            "position": self.position,
            "replayed": self.replayed,
        }  # fmt: skip
