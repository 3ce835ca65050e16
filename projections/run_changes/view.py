"""Query and answer types for the changes of runs. No SQL, nothing of HTTP or the command line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from msgspec import Raw

PAGE_LIMIT_MAX = 1_000
"""Changes on one page; each may hold megabytes of values."""


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a run as it was recorded. before, after and details are canonical JSON texts.

    `before` is None where a change has none (a create) and `b"null"` where the producer did not know it. `erased`:
    what the event held was erased; only its frame is left. `erased_fields`: fields whose values were erased; what is
    left of the change is not what its leaf commits to.
    """

    position: int
    run_id: str
    sequence: int
    object_type: str
    record_id: str | None
    action: str
    result: str
    occurred_at: datetime
    recorded_at: datetime
    message: str | None = None
    before: bytes | None = None
    after: bytes | None = None
    label: str | None = None
    link: str | None = None
    details: bytes | None = None
    actor: str | None = None
    preview: bool = False
    erased: bool = False
    erased_fields: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """The change as every interface shows it: values exact (msgspec.Raw), what is not there left out.

        `before: null` means that the before-value is not known. Encode with msgspec.json (ledger.json_text.encode).
        """
        shown: dict[str, Any] = {
            "position": self.position,
            "run_id": self.run_id,
            "sequence": self.sequence,
            "object_type": self.object_type,
            "record_id": self.record_id,
            "action": self.action,
            "result": self.result,
            "message": self.message,
        }
        if self.before is not None:
            shown["before"] = Raw(self.before)
        if self.after is not None:
            shown["after"] = Raw(self.after)
        shown |= {"label": self.label, "link": self.link}
        if self.details is not None:
            shown["details"] = Raw(self.details)
        shown |= {
            "actor": self.actor,
            "preview": self.preview,
            "occurred_at": self.occurred_at,
            "recorded_at": self.recorded_at,
        }
        if self.erased:
            shown["erased"] = True
        if self.erased_fields:
            shown["erased_fields"] = list(self.erased_fields)
        return shown


@dataclass(frozen=True, slots=True)
class ChangeQuery:
    """The changes of one run, in the log's order; of a recipe: those of all its children.

    `text` is found anywhere in the message, in any case. `field`: a field that the change names in before or after.
    `after` is the `next_after` of the page before.
    """

    run_id: str
    result: str | None = None
    action: str | None = None
    object_type: str | None = None
    record_id: str | None = None
    field: str | None = None
    text: str | None = None
    after: int | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class ChangeSearch:
    """Changes across runs, newest (by position) first; previews and their runs are left out unless asked for.

    `value` is the old or the new value, `old_value` and `new_value` only the one: of the field in `field`, else of
    any. A value matches where its text, as people read it (a string without quotes, other values as JSON), is the same.
    `user` is the name, e-mail or id of the run's user; `template` the id or name of its template.
    `from_at` (included) and `to_at` (excluded) bound occurred_at. `after` is the `next_after` of the page before.
    """

    field: str | None = None
    value: str | None = None
    old_value: str | None = None
    new_value: str | None = None
    user: str | None = None
    template: str | None = None
    object_type: str | None = None
    record_id: str | None = None
    run_id: str | None = None
    result: str | None = None
    action: str | None = None
    text: str | None = None
    from_at: datetime | None = None
    to_at: datetime | None = None
    preview: bool = False
    after: int | None = None
    limit: int = 100


@dataclass(frozen=True, slots=True)
class ChangePage:
    """Some changes. `next_after` is None at the end.

    A page looks at a bounded number of changes, so it can have few matches or none although there are more: go on
    with `next_after` while it is set. `searched_to` is the position up to which (down to which, in a search) it looked.
    """

    changes: tuple[Change, ...]
    next_after: int | None
    searched_to: int | None

    def as_dict(self) -> dict[str, Any]:
        """The page without its cursor, which each interface writes in its own form."""
        return {"changes": [change.as_dict() for change in self.changes], "searched_to": self.searched_to}
