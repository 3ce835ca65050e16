"""The stored shapes: what stands in an event's payload, one class a kind, as JSON objects.

A shape is a promise: stored events never change, so a shape that must change gets a higher VERSION and an upcast
(ledger.store.upcasts) from the one before. Members that hold their default are left out of the payload. A shape of a
higher VERSION begins with the required member `v: Literal[VERSION]`: so it says which it is, and an older payload is
never taken for it.
tests/unit/samples/ keeps one payload of every shape and version ever stored.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from msgspec import Raw, Struct

from ledger.domain.operation import Operation
from ledger.domain.tally import Tally

NOTHING = Raw(b"")
"""Stands for a member that is not there: msgspec leaves it out when it encodes."""


class RunStartedShape(Struct, omit_defaults=True, forbid_unknown_fields=True):
    VERSION = 1
    operation: Operation
    started_at: datetime
    details: Raw = NOTHING
    digest: str | None = None
    undoes: tuple[str, ...] = ()


class ChangesRecordedShape(Struct, omit_defaults=True, forbid_unknown_fields=True):
    VERSION = 1
    offset: int
    tally: Tally


class RunFinishedShape(Struct, omit_defaults=True, forbid_unknown_fields=True):
    VERSION = 1
    finished_at: datetime
    outcome: Raw = NOTHING


class UndoBegunShape(Struct, omit_defaults=True, forbid_unknown_fields=True):
    VERSION = 1
    undo_run_id: str


class UndoEndedShape(Struct, omit_defaults=True, forbid_unknown_fields=True):
    VERSION = 1
    undo_run_id: str
    is_whole: bool


class UndoReversedShape(Struct, omit_defaults=True, forbid_unknown_fields=True):
    VERSION = 1
    undo_run_id: str
    by_run_id: str


class UndoIntendedShape(Struct, omit_defaults=True, forbid_unknown_fields=True):
    VERSION = 1
    writes: Raw


class BeforeStatesExpiredShape(Struct, omit_defaults=True, forbid_unknown_fields=True):
    VERSION = 1


class RunFailedShape(Struct, omit_defaults=True, forbid_unknown_fields=True):
    VERSION = 1
    finished_at: datetime
    code: str
    message: str


class RecordShape(Struct, omit_defaults=True, forbid_unknown_fields=True, gc=False):
    """All record events. `action` is left out where the topic says it."""

    VERSION = 1
    object_type: str
    record_id: str | None = None
    action: str | None = None
    before: Raw = NOTHING
    after: Raw = NOTHING
    message: str | None = None
    label: str | None = None
    link: str | None = None
    details: Raw = NOTHING
    actor: str | None = None
    preview: bool = False
    erased: Literal["whole", "part"] | None = None
    """Only in the rest that an erasure leaves in an event's place, never in an event as it was recorded."""
    erased_fields: tuple[str, ...] = ()


class HoldPlacedShape(Struct, omit_defaults=True, forbid_unknown_fields=True):
    VERSION = 1
    object_type: str
    record_id: str | None
    reason: str
    user: str


class HoldLiftedShape(Struct, omit_defaults=True, forbid_unknown_fields=True):
    VERSION = 1
    object_type: str
    record_id: str | None
    reason: str
    user: str


class RetentionSetShape(Struct, omit_defaults=True, forbid_unknown_fields=True):
    VERSION = 1
    object_type: str
    keep_days: int
    what: Literal["before", "whole"]
    reason: str
    user: str


class RetentionLiftedShape(Struct, omit_defaults=True, forbid_unknown_fields=True):
    VERSION = 1
    object_type: str
    reason: str
    user: str


class RetentionAppliedShape(Struct, omit_defaults=True, forbid_unknown_fields=True):
    VERSION = 1
    object_type: str
    what: Literal["before", "whole"]
    upto: int
    erased: int


class ErasureRecordedShape(Struct, omit_defaults=True, forbid_unknown_fields=True):
    VERSION = 1
    run_id: str
    object_type: str
    record_id: str
    reason: str
    user: str
    fields: tuple[str, ...] | None = None
    erased: int = 0
    repeats: str | None = None


Shape = (
    RunStartedShape
    | ChangesRecordedShape
    | RunFinishedShape
    | RunFailedShape
    | UndoBegunShape
    | UndoEndedShape
    | UndoReversedShape
    | UndoIntendedShape
    | BeforeStatesExpiredShape
    | RecordShape
    | HoldPlacedShape
    | HoldLiftedShape
    | RetentionSetShape
    | RetentionLiftedShape
    | RetentionAppliedShape
    | ErasureRecordedShape
)

SHAPES: dict[str, type[Shape]] = {
    "run-started": RunStartedShape,
    "changes-recorded": ChangesRecordedShape,
    "run-finished": RunFinishedShape,
    "run-failed": RunFailedShape,
    "undo-begun": UndoBegunShape,
    "undo-ended": UndoEndedShape,
    "undo-reversed": UndoReversedShape,
    "undo-intended": UndoIntendedShape,
    "before-states-expired": BeforeStatesExpiredShape,
    "record-created": RecordShape,
    "record-updated": RecordShape,
    "record-deleted": RecordShape,
    "record-unmodified": RecordShape,
    "record-failed": RecordShape,
    "record-erased": RecordShape,
    "hold-placed": HoldPlacedShape,
    "hold-lifted": HoldLiftedShape,
    "retention-set": RetentionSetShape,
    "retention-lifted": RetentionLiftedShape,
    "retention-applied": RetentionAppliedShape,
    "erasure-recorded": ErasureRecordedShape,
}
"""Every topic that this version of the ledger can store and read."""
