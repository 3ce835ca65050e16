"""A change as OpenAPI shows it. It accepts exactly what ledger.wire.changes accepts (a test holds them equal)."""

from __future__ import annotations

import re
from typing import Any

from marshmallow import ValidationError, fields, validates_schema

from ledger.errors import Problem
from ledger.wire.changes import (
    LABEL_CHARACTERS_MAX,
    LINK_CHARACTERS_MAX,
    MESSAGE_CHARACTERS_MAX,
    OBJECT_TYPE_BYTES_MAX,
    RECORD_ID_BYTES_MAX,
)
from ledger.wire.fields import Choice, Instant, JsonObject, Text, refuse
from ledger.wire.runs import StrictSchema

_ACTION = re.compile(r"[a-z][a-z0-9_.\-]{0,63}")
_NO_FIELDS = (None, b"{}")


class Action(fields.String):
    """create, update, delete, none or another word."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:  # noqa: ARG002
        if not isinstance(value, str) or not _ACTION.fullmatch(value):
            refuse("Not an action.", value, "create, update, delete, none or another word of a-z, 0-9, _ . -")
        return value


class Name(Text):
    """Text with a limit in bytes of UTF-8."""

    def __init__(self, bytes_max: int, **kwargs: Any) -> None:
        super().__init__(length_max=bytes_max, **kwargs)
        self.bytes_max = bytes_max

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> str:
        text = super()._deserialize(value, attr, data, **kwargs)
        if len(text.encode()) > self.bytes_max:
            refuse("Too long.", text, f"at most {self.bytes_max:,} bytes of UTF-8")
        return text


class ChangeSchema(StrictSchema):
    """What a run did to one record."""

    action = Action(required=True, metadata={"pattern": r"^[a-z][a-z0-9_.\-]{0,63}$", "example": "update"})
    record_id = Name(RECORD_ID_BYTES_MAX, allow_none=True, metadata={"description": "Only failed changes may lack it."})
    object_type = Name(OBJECT_TYPE_BYTES_MAX, allow_none=True, metadata={"description": "Default: the run's."})
    result = Choice("succeeded", "failed")
    message = Text(allow_none=True, length_min=0, length_max=MESSAGE_CHARACTERS_MAX)
    before = JsonObject(allow_none=True)
    after = JsonObject(allow_none=True)
    label = Text(allow_none=True, length_min=0, length_max=LABEL_CHARACTERS_MAX)
    link = Text(allow_none=True, length_min=0, length_max=LINK_CHARACTERS_MAX)
    details = JsonObject(allow_none=True)
    occurred_at = Instant(allow_none=True)

    @validates_schema
    def check_fields(self, data: dict[str, Any], **_: Any) -> None:
        """Which of before and after an action has."""
        if data.get("result") == "failed":
            return
        action, before, after = data.get("action"), data.get("before"), data.get("after")
        if data.get("record_id") is None:
            self._refuse("record_id", "the record's id")
        if action == "create" and before not in _NO_FIELDS:
            self._refuse("before", "nothing: a record that is created had no fields before")
        if action == "delete" and after not in _NO_FIELDS:
            self._refuse("after", "nothing: a record that is deleted has no fields after")
        if action in ("create", "update") and after is None:
            self._refuse("after", "an object with the fields as they are now")

    @staticmethod
    def _refuse(name: str, expected: str) -> None:
        raise ValidationError([Problem(f"{name} is not valid.", expected=expected)], field_name=name)
