"""Changes as OCSF events of class 3004, Entity Management (https://schema.ocsf.io/, 1.3.0). Pure.

An event tells who did what to which record, in which run, and the names of the fields; never values, labels or free
texts: what was sent to a monitoring system cannot be erased from there.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from ledger.domain.keeping import (
    HoldLifted,
    HoldPlaced,
    KeepingEvent,
    RetentionApplied,
    RetentionLifted,
    RetentionSet,
)
from ledger.domain.operation import Operation
from ledger.json_text import split_fields
from ledger.store.rows import EventRow
from projections.run_changes.view import Change

SCHEMA_VERSION = "1.3.0"
CATEGORY_UID, CLASS_UID = 3, 3004
OTHER = 99
NO_RECORD_ID = "(no record id)"
_ACTIVITIES = {"create": (1, "Create"), "update": (3, "Update"), "delete": (4, "Delete"), "none": (2, "Read")}
_INFORMATIONAL, _LOW = 1, 2
_SUCCESS, _FAILURE = 1, 2
_RULES: Mapping[type[KeepingEvent], tuple[int, str, str]] = {
    HoldPlaced: (1, "Create", "legal hold"),
    HoldLifted: (4, "Delete", "legal hold"),
    RetentionSet: (3, "Update", "retention policy"),
    RetentionLifted: (4, "Delete", "retention policy"),
    RetentionApplied: (OTHER, "Apply", "retention policy"),
}


def change_event(account_id: UUID, account: str, change: Change, operation: Operation) -> dict[str, Any]:
    """One change of a run. `operation`: the run's."""
    activity_id, activity = _ACTIVITIES.get(change.action, (OTHER, change.action))
    failed = change.result == "failed"
    names = {*split_fields(change.before), *split_fields(change.after), *change.erased_fields}
    entity = {"type": change.object_type, "uid": change.record_id}
    if change.record_id is None:
        entity = {"type": change.object_type, "name": NO_RECORD_ID}
    event = _event(account_id, account, change.position, change.occurred_at, change.recorded_at, activity_id, activity)
    event |= {
        "entity": entity,
        "severity_id": _LOW if failed else _INFORMATIONAL,
        "status_id": _FAILURE if failed else _SUCCESS,
        "status": "Failure" if failed else "Success",
        "message": f"{change.action} of {change.object_type} {change.record_id or NO_RECORD_ID} by run {change.run_id}",
        "actor": _actor(change.actor or (operation.user.shown if operation.user else None), operation),
        "unmapped": {"run_id": change.run_id, "sequence": change.sequence, "fields": sorted(names)},
    }
    event["metadata"]["correlation_uid"] = change.run_id
    return event


def rule_event(account_id: UUID, account: str, row: EventRow, rule: KeepingEvent) -> dict[str, Any] | None:
    """What was decided about keeping. None: the erasure's own changes tell of it."""
    if type(rule) not in _RULES:
        return None
    activity_id, activity, kind = _RULES[type(rule)]
    told: Any = rule
    record_id = getattr(rule, "record_id", None)
    uid = told.object_type if record_id is None else f"{told.object_type}/{record_id}"
    event = _event(account_id, account, row.position, row.occurred_at, row.recorded_at, activity_id, activity)
    return event | {
        "entity": {"type": kind, "uid": uid},
        "severity_id": _INFORMATIONAL,
        "status_id": _SUCCESS,
        "status": "Success",
        "message": f"{activity} of the {kind} on {uid}",
        "actor": {"user": {"name": told.user}} if hasattr(rule, "user") else {"app_name": "ledger"},
    }


def _event(
    account_id: UUID, account: str, position: int, occurred_at: datetime, recorded_at: datetime, activity_id: int,
    activity: str,
) -> dict[str, Any]:  # fmt: skip
    """What every event has. Times are milliseconds since 1970."""
    return {
        "class_uid": CLASS_UID,
        "class_name": "Entity Management",
        "category_uid": CATEGORY_UID,
        "category_name": "Identity & Access Management",
        "activity_id": activity_id,
        "activity_name": activity,
        "type_uid": CLASS_UID * 100 + activity_id,
        "time": _milliseconds(occurred_at),
        "metadata": {
            "version": SCHEMA_VERSION,
            "product": {"name": "Audit ledger", "vendor_name": "Audit ledger"},
            "uid": f"{account_id}/{position}",
            "sequence": position,
            "log_name": account,
            "logged_time": _milliseconds(recorded_at),
        },
    }


def _actor(user: str | None, operation: Operation) -> dict[str, Any]:
    """OCSF wants one of both at least."""
    app = operation.module or (operation.app.name if operation.app else None)
    actor: dict[str, Any] = {} if user is None else {"user": {"name": user}}
    if app is not None or not actor:
        actor["app_name"] = app or "unknown"
    return actor


def _milliseconds(instant: datetime) -> int:
    return int(instant.timestamp() * 1_000)
