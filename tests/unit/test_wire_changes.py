"""Change lines: every rule has a test that breaks it; how a body is cut into blocks never matters."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger.errors import BadLine, Problem, TooLarge
from ledger.json_text import JsonFault
from ledger.wire.changes import (
    ARRAY_BYTES_MAX,
    BATCH_BYTES_MAX,
    BATCH_LINES_MAX,
    LINE_BYTES_MAX,
    ChangeLine,
    Lines,
    parse_instant,
    parse_lines,
    read_batches,
)
from tests.examples import a_change, ndjson

SUCCEEDED = {"record_id": "r-1", "action": "update", "after": {"a": 1}}


def parse(*lines: dict[str, Any] | bytes) -> list[ChangeLine]:
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    return parse_lines(Lines(texts, list(range(1, len(texts) + 1))))


def problem_of(line: dict[str, Any] | bytes) -> Problem:
    """The one problem of a line that stands third, behind two good ones."""
    with pytest.raises(BadLine) as raised:
        parse(SUCCEEDED, SUCCEEDED, line)
    (problem,) = raised.value.problems
    assert problem.line == 3
    assert str(raised.value).startswith("Line 3")
    return problem


@pytest.mark.parametrize(
    "line",
    [
        SUCCEEDED,
        {"record_id": "r-1", "action": "create", "after": {}},
        {"record_id": "r-1", "action": "create", "before": {}, "after": {"a": None}},
        {"record_id": "r-1", "action": "delete", "before": {"a": 1}},
        {"record_id": "r-1", "action": "delete", "before": None, "after": None},
        {"record_id": "r-1", "action": "update", "before": None, "after": {"a": 1}},
        {"record_id": "r-1", "action": "none"},
        {"record_id": "r-1", "action": "merge"},
        {"record_id": "r-1", "action": "a2_.-"},
        {"action": "update", "result": "failed"},
        {"action": "create", "result": "failed", "before": {"a": 1}},
        {"action": "delete", "result": "failed", "after": {"a": 1}},
        {"record_id": "\u00e9" * 512, "object_type": "x" * 255, "action": "none"},
        SUCCEEDED
        | {"occurred_at": "2026-11-23T10:00:00.123456+05:30", "details": {"x": []}, "message": "", "label": ""},
        SUCCEEDED | {"after": {"\0": "\0", "": "", "a" * 10_000: 1}},
    ],
)
def test_good_lines_are_taken(line: dict[str, Any]) -> None:
    (change,) = parse(line)
    for name, value in line.items():
        kept = getattr(change, name)
        assert (json.loads(bytes(kept)) if name in ("before", "after", "details") else kept) == value


@pytest.mark.parametrize(
    ("line", "pointer", "found"),
    [
        ({}, "/action", "nothing"),
        ({"record_id": "r-1", "action": "Update", "after": {}}, "/action", "'Update'"),
        ({"record_id": "r-1", "action": "", "after": {}}, "/action", "''"),
        ({"record_id": "r-1", "action": "a b"}, "/action", "'a b'"),
        ({"record_id": "r-1", "action": "a" * 65}, "/action", repr("a" * 65)),
        ({"record_id": "r-1", "action": "none\n"}, "/action", "'none\\n'"),
        ({"record_id": "r-1", "action": 1}, "/action", "`int`"),
        ({"record_id": "r-1", "action": None}, "/action", "`null`"),
        ({"action": "update", "after": {}}, "/record_id", "nothing"),
        (SUCCEEDED | {"record_id": ""}, "/record_id", "another length"),
        (SUCCEEDED | {"record_id": "x" * 1_025}, "/record_id", "another length"),
        (SUCCEEDED | {"record_id": "\u00e9" * 513}, "/record_id", repr("\u00e9" * 80 + "…")),
        (SUCCEEDED | {"record_id": "a\0b"}, "/record_id", "'a\\x00b'"),
        (SUCCEEDED | {"record_id": 7}, "/record_id", "`int`"),
        (SUCCEEDED | {"record_id": 1.5}, "/record_id", "`float`"),
        (SUCCEEDED | {"object_type": ""}, "/object_type", "another length"),
        (SUCCEEDED | {"object_type": "\u20ac" * 86}, "/object_type", repr("\u20ac" * 80 + "…")),
        (SUCCEEDED | {"object_type": "\0"}, "/object_type", "'\\x00'"),
        (SUCCEEDED | {"result": "ok"}, "/result", "'ok'"),
        (SUCCEEDED | {"result": True}, "/result", "`bool`"),
        (SUCCEEDED | {"message": "a\0"}, "/message", "'a\\x00'"),
        (SUCCEEDED | {"message": "x" * 16_385}, "/message", "another length"),
        (SUCCEEDED | {"label": "a\0"}, "/label", "'a\\x00'"),
        (SUCCEEDED | {"label": ["a"]}, "/label", "`array`"),
        (SUCCEEDED | {"label": "x" * 1_025}, "/label", "another length"),
        (SUCCEEDED | {"link": "a\0"}, "/link", "'a\\x00'"),
        (SUCCEEDED | {"link": "x" * 4_097}, "/link", "another length"),
        (SUCCEEDED | {"before": []}, "/before", "'[]'"),
        (SUCCEEDED | {"before": "x"}, "/before", "'\"x\"'"),
        (SUCCEEDED | {"after": 1.10}, "/after", "'1.1'"),
        (SUCCEEDED | {"after": None}, "/after", "'null'"),
        ({"record_id": "r-1", "action": "update"}, "/after", "nothing"),
        ({"record_id": "r-1", "action": "create"}, "/after", "nothing"),
        ({"record_id": "r-1", "action": "create", "before": {"a": 1}, "after": {}}, "/before", "'{\"a\":1}'"),
        ({"record_id": "r-1", "action": "delete", "after": {"a": 1}}, "/after", "'{\"a\":1}'"),
        (SUCCEEDED | {"details": []}, "/details", "'[]'"),
        (SUCCEEDED | {"occurred_at": "yesterday"}, "/occurred_at", "'yesterday'"),
        (SUCCEEDED | {"occurred_at": 5}, "/occurred_at", "`int`"),
        (SUCCEEDED | {"extra": 1}, "/extra", "'extra'"),
        (SUCCEEDED | {"a/b~c": 1}, "/a~1b~0c", "'a/b~c'"),
        (SUCCEEDED | {"a\nb` - at `$.x": 1}, "/a\nb` - at `$.x", "'a\\nb` - at `$.x'"),
        (SUCCEEDED | {"n" * 200: 1}, "/" + "n" * 80 + "…", repr("n" * 80 + "…")),
        (b"[]", None, "`array`"),
        (b"7", None, "`int`"),
        (b"null", None, "`null`"),
        (b'"text"', None, "`str`"),
        (b"{", None, "the end"),
        (b'{"action":"update","action":"none"}', None, "'action' twice"),
        (b'{"action":"none","record_id":"\\ud800"}', None, "a lone \\ud800 to \\udfff escape"),
        (b'{"action":"none","record_id":"\xff"}', None, "bytes ff 22 7d"),
        (b'{"action":"none","record_id":"1","before":{"a":NaN}}', None, "NaN"),
        (b'{"action":"none","record_id":"1","before":' + b'{"a":' * 64 + b"1" + b"}" * 65, None, "more than 64 levels"),
    ],
)
def test_each_broken_rule_is_named(line: dict[str, Any] | bytes, pointer: str | None, found: str) -> None:
    problem = problem_of(line)
    assert (problem.pointer, problem.found) == (pointer, found)
    assert problem.detail
    assert problem.expected


def test_the_first_bad_line_is_named_by_its_number_in_the_body() -> None:
    body = b"\n\n" + ndjson([a_change(1)]) + b" \r\n" + b'{"action":1}\n' + b"broken\n"
    (batch,) = read_batches([body])
    with pytest.raises(BadLine) as raised:
        parse_lines(batch)
    assert raised.value.problems[0].line == 5


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-11-23T10:00:00Z", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("2026-11-23t10:00:00z", datetime(2026, 11, 23, 10, tzinfo=UTC)),
        ("2026-11-23 10:00:00.5+05:30", datetime(2026, 11, 23, 10, 0, 0, 500_000, timezone(timedelta(hours=5.5)))),
        ("2026-11-23T10:00:00.123456000Z", datetime(2026, 11, 23, 10, 0, 0, 123_456, UTC)),
        ("0002-01-01T00:00:00Z", datetime(2, 1, 1, tzinfo=UTC)),
    ],
)
def test_instants(text: str, instant: datetime) -> None:
    assert parse_instant(text) == instant


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23",
        "2026-11-23T10:00:00",
        "2026-11-23T10:00Z",
        "2026-02-30T10:00:00Z",
        "2026-11-23T25:00:00Z",
        "2026-11-23T10:00:60Z",
        "2026-11-23T10:00:00.1234567Z",
        "20261123T100000Z",
        "2026-11-23T10:00:00+0530",
        "2026-11-23T10:00:00+99:00",
        "9999-12-31T23:59:59-23:59",
        "9999-01-01T00:00:00Z",
        "0001-01-01T00:00:00+14:00",
        "0000-01-01T00:00:00Z",
        "２０２６-11-23T10:00:00Z",
        "2026-11-23T10:00:00Z\n",
        "now",
        "",
    ],
)
def test_no_instants(text: str) -> None:
    assert parse_instant(text) is None


# Bodies.


def batches(body: bytes, block_size: int = 1 << 16) -> list[Lines]:
    return list(read_batches(body[at : at + block_size] for at in range(0, len(body), block_size)))


def test_batches_have_at_most_so_many_lines() -> None:
    found = batches(b"{}\n" * (2 * BATCH_LINES_MAX + 7))
    assert [len(batch.texts) for batch in found] == [BATCH_LINES_MAX, BATCH_LINES_MAX, 7]
    assert found[2].numbers == list(range(2 * BATCH_LINES_MAX + 1, 2 * BATCH_LINES_MAX + 8))


def test_batches_have_about_so_many_bytes() -> None:
    line = b'{"message":"' + b"x" * 100_000 + b'"}\n'
    found = batches(line * 100)
    assert all(sum(map(len, batch.texts)) <= BATCH_BYTES_MAX for batch in found)
    assert len(found) == 3
    assert sum(len(batch.texts) for batch in found) == 100


def test_a_line_may_fill_a_batch_alone() -> None:
    line = b'"' + b"x" * (LINE_BYTES_MAX - 2) + b'"'
    assert [batch.texts for batch in batches(b"{}\n" + line + b"\n{}")] == [[b"{}"], [line], [b"{}"]]


@pytest.mark.parametrize("block_size", [1 << 16, 1 << 24])
@pytest.mark.parametrize("end", [b"\n", b"\n{}", b""])
def test_a_line_over_the_limit_is_refused_before_it_is_held(block_size: int, end: bytes) -> None:
    with pytest.raises(TooLarge, match="Line 2 ") as raised:
        batches(b"{}\n" + b"x" * (LINE_BYTES_MAX + 1) + end, block_size)
    assert raised.value.problems[0].line == 2


def test_the_end_of_the_last_line_may_be_missing() -> None:
    assert batches(b"1\n2") == batches(b"1\n2\n") == [Lines([b"1", b"2"], [1, 2])]


@pytest.mark.parametrize("body", [b"", b"\n", b" \t\r\n\n", b"\xef\xbb\xbf", b"\xef\xbb\xbf\r\n", b"[]", b" [ ] \n"])
def test_bodies_without_a_change(body: bytes) -> None:
    assert batches(body) == batches(body, 1) == []


def test_a_byte_order_mark_is_passed_over_at_the_beginning_only() -> None:
    assert batches(b"\xef\xbb\xbf{}\n") == [Lines([b"{}"], [1])]
    assert batches(b"{}\n\xef\xbb\xbf{}\n")[0].texts == [b"{}", b"\xef\xbb\xbf{}"]


def test_endless_white_space_is_not_held() -> None:
    blocks = (b" \n" * 50_000 for _ in range(200))
    assert list(read_batches(blocks)) == []


def test_an_array_gives_its_items_as_lines() -> None:
    items = [a_change(1), a_change(2), {"action": "none", "record_id": "x\ny"}]
    for text in (json.dumps(items, indent=2), json.dumps(items), "\n " + json.dumps(items) + "\n"):
        (batch,) = batches(text.encode())
        assert [json.loads(line) for line in batch.texts] == items
        assert batch.numbers == [1, 2, 3]


@pytest.mark.parametrize("body", [b"[", b'[{"a":1}', b"[1,]", b"[] []", b"[1]\n{}", b"[NaN]", b'["\xff"]'])
def test_a_broken_array_is_refused(body: bytes) -> None:
    with pytest.raises(JsonFault):
        batches(body)


def test_a_large_array_is_refused_before_it_is_held() -> None:
    taken = 0

    def blocks() -> Any:
        nonlocal taken
        yield b"["
        while True:
            taken += 1
            yield b"1," * 500_000

    with pytest.raises(TooLarge, match="NDJSON"):
        list(read_batches(blocks()))
    assert taken <= ARRAY_BYTES_MAX // 1_000_000 + 2


TEXTS = st.sampled_from([b'{"a":1}', b'{"b":"\xc3\xa9"}', b"", b" ", b"\r", b'{"c":[1,\t2]}\r', b"broken"])


@given(st.lists(TEXTS, max_size=12), st.sampled_from([b"", b"\xef\xbb\xbf"]), st.data())
def test_where_a_body_is_cut_does_not_matter(texts: list[bytes], mark: bytes, data: st.DataObject) -> None:
    body = mark + b"\n".join(texts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    blocks = [body[start:end] for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    whole = [(text, number) for batch in read_batches([body]) for text, number in zip(*batch, strict=True)]
    pieces = [(text, number) for batch in read_batches(blocks) for text, number in zip(*batch, strict=True)]
    assert pieces == whole == [(text, number) for number, text in enumerate(texts, 1) if text.strip()]
