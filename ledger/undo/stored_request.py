"""An undo's request as JSON text: kept in its run's details, to resume it and to know it again."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

import msgspec

from ledger.json_text import encode
from ledger.undo.request import POLICIES, Policy, Selection, UndoRequest


class StoredRequest(msgspec.Struct, omit_defaults=True):
    runs: list[str]
    policy: Policy = "skip"
    fields: list[str] | None = None
    records: list[tuple[str, str]] | None = None
    object_types: list[str] | None = None
    columns: list[str] | None = None
    except_changes: list[tuple[str, str, str]] = []
    cells: list[tuple[str, str, str | None]] | None = None
    """Written once, never any more: an edited report as (object type, record id, field), rows times columns."""
    target: str | None = None
    group: list[str] = []
    """The runs undone, newest first; children and cascaded ones included."""
    cascaded: list[str] = []
    since: datetime | None = None


assert set(POLICIES) == set(Policy.__args__)  # type: ignore[attr-defined]


def encode_request(request: UndoRequest, group: list[str], cascaded: list[str]) -> bytes:
    """The request with what it was resolved to."""
    selection = request.selection
    return encode(
        StoredRequest(
            list(request.runs), request.policy, _sorted(selection.fields), _pairs(selection.records),
            _sorted(selection.object_types), _sorted(selection.columns), sorted(selection.except_changes),
            target=request.target, group=group, cascaded=cascaded, since=request.since,
        )
    )  # fmt: skip


def decode_request(text: bytes) -> tuple[UndoRequest, list[str], list[str]]:
    """The inverse of encode_request."""
    stored = msgspec.json.decode(text, type=StoredRequest)
    selection = Selection(
        None if stored.fields is None else frozenset(stored.fields),
        None if stored.records is None else frozenset(stored.records),
        None if stored.object_types is None else frozenset(stored.object_types),
        None if stored.columns is None else frozenset(stored.columns),
        frozenset(stored.except_changes),
    )
    if stored.cells is not None:
        left = frozenset((kind, record_id) for kind, record_id, _ in stored.cells)
        selection = replace(
            selection,
            records=left if selection.records is None else left & selection.records,
            columns=frozenset(name for _, _, name in stored.cells if name is not None),
        )
    request = UndoRequest(tuple(stored.runs), stored.policy, selection, stored.target, since=stored.since)
    return request, stored.group, stored.cascaded


def same_request(one: UndoRequest, other: UndoRequest) -> bool:
    """Whether two requests ask for the same, whatever their keys. Those of restorings name no runs themselves: at the
    second time the restoring is one of them."""
    if one.since is None and one.runs != other.runs:
        return False
    return (one.policy, one.selection, one.target, one.since) == (
        other.policy, other.selection, other.target, other.since
    )  # fmt: skip


def _sorted(names: frozenset[str] | None) -> list[str] | None:
    return None if names is None else sorted(names)


def _pairs(records: frozenset[tuple[str, str]] | None) -> list[tuple[str, str]] | None:
    return None if records is None else sorted(records)
