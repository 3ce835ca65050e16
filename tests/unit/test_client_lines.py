"""A producer's Python values as exact JSON lines."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from ledger.errors import BadLine, InputError
from ledger.sending.lines import change_line, encode_members


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, b"null"),
        (True, b"true"),
        (2**70, b"1180591620717411303424"),
        (-(10**40), b"-1" + b"0" * 40),
        (Decimal("1.10"), b"1.10"),
        (Decimal("1E+400"), b"1E+400"),
        (Decimal("-0"), b"-0"),
        (0.1, b"0.1"),
        ("007", b'"007"'),
        ("\0", b'"\\u0000"'),
        (date(2026, 11, 23), b'"2026-11-23"'),
        (datetime(2026, 11, 23, 10, tzinfo=UTC), b'"2026-11-23T10:00:00+00:00"'),
        (UUID(int=5), b'"00000000-0000-0000-0000-000000000005"'),
        ((1, [Decimal("2.0")], {"a": None}), b'[1,[2.0],{"a":null}]'),
    ],
)
def test_value_is_written_exactly(value: Any, text: bytes) -> None:
    assert encode_members({"x": value}, what="it") == b'{"x":' + text + b"}"


@pytest.mark.parametrize(
    "value", [float("nan"), float("inf"), Decimal("NaN"), b"bytes", {1: 2}, {1}, object(), "\ud800", {"\udfff": 1}]
)
def test_value_that_json_cannot_hold_is_refused(value: Any) -> None:
    with pytest.raises(InputError) as caught:
        encode_members({"after": {"a/b": value}}, what="Change 7")
    assert caught.value.message.startswith("Change 7 ")
    assert caught.value.problems


def test_refusal_points_at_the_value() -> None:
    with pytest.raises(InputError) as caught:
        encode_members({"after": {"a/b": [1, float("nan")]}}, what="Change 7")
    assert caught.value.problems[0].pointer == "/after/a~1b/1"


def test_line_leaves_out_what_is_none_but_keeps_null_fields() -> None:
    line = change_line(
        1, {"action": "update", "record_id": "5", "before": None, "after": {"x": None}}, has_object_type=True
    )
    assert json.loads(line) == {"action": "update", "record_id": "5", "after": {"x": None}}


@pytest.mark.parametrize(
    ("members", "pointer"),
    [
        ({"action": "Update", "record_id": "5", "after": {}}, "/action"),
        ({"action": "update", "after": {}}, "/record_id"),
        ({"action": "update", "record_id": "5", "after": {}, "occurred_at": "now"}, "/occurred_at"),
        ({"action": "update", "record_id": "5", "after": {}, "colour": "red"}, "/colour"),
        ({"action": "create", "record_id": "5"}, "/after"),
    ],
)
def test_bad_change_is_named_at_once(members: dict[str, Any], pointer: str) -> None:
    with pytest.raises(BadLine) as caught:
        change_line(12, members, has_object_type=True)
    assert (caught.value.problems[0].line, caught.value.problems[0].pointer) == (12, pointer)


def test_change_without_any_object_type_is_refused() -> None:
    with pytest.raises(BadLine, match="object_type"):
        change_line(1, {"action": "none", "record_id": "5"}, has_object_type=False)
