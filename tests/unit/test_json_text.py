"""Exact JSON: one canonical text by either path, every digit kept, everything doubtful refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import json_text
from ledger.json_text import DEPTH_MAX, JsonFault, canonical, canonical_lines, join_fields, plain, split_fields

NUMBERS = st.one_of(
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(min_value=10**28, max_value=10**31),
)
VALUES = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=5)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=5)
    ),
    max_leaves=20,
)
LAYOUTS = st.sampled_from(
    [
        {"separators": (",", ":"), "ensure_ascii": False},
        {"separators": (",", ":")},
        {"separators": (", ", ": "), "ensure_ascii": False},
        {},
        {"indent": 1, "ensure_ascii": False},
        {"indent": "\t"},
    ]
)


@given(VALUES, LAYOUTS)
def test_both_paths_give_the_same_text_and_keep_the_value(value: Any, layout: dict[str, Any]) -> None:
    text = json.dumps(value, **layout).encode()
    assert canonical(text) == json_text._strict(text)
    assert json.loads(canonical(text)) == value
    assert canonical(canonical(text)) == canonical(text)


@given(st.lists(VALUES, min_size=1, max_size=8), LAYOUTS)
def test_lines_at_once_give_what_each_gives_alone(values: list[Any], layout: dict[str, Any]) -> None:
    texts = [json.dumps(value, **layout | {"indent": None}).encode() for value in values]
    together = canonical_lines(b"\n".join(texts))
    assert together is None or together.rstrip(b"\n").split(b"\n") == [canonical(text) for text in texts]


@given(st.binary(max_size=60) | st.text(alphabet='[]{}",:\\u0dn1.eE-+ \t\r\nNaIftrls', max_size=40).map(str.encode))
def test_any_bytes_are_refused_by_both_paths_or_by_none(text: bytes) -> None:
    def outcome(path: Any) -> bytes | None:
        try:
            return bytes(path(text))
        except JsonFault as fault:
            return None if fault.problems[0].expected else b"a refusal that does not say what is expected"

    assert outcome(canonical) == outcome(json_text._strict)


@pytest.mark.parametrize(
    "digits",
    [
        "123456789012345678901234567890",
        "1.10",
        "1e400",
        "-1E-400",
        "-0",
        "-0.0",
        "0.0",
        "1E+2",
        "9007199254740993",
        "18446744073709551616",
        "-9223372036854775809",
        "0.1000000000000000055511151231257827",
        "7" * 6_000,
        "-" + "7" * 6_000 + ".50",
    ],
)
def test_numbers_keep_their_digits(digits: str) -> None:
    for text in (digits, f"[{digits}]", f'{{"a": {digits}}}', f" {digits}\n"):
        assert digits.encode() in canonical(text.encode())
    assert canonical(f'{{"a":{digits}}}'.encode()) == f'{{"a":{digits}}}'.encode()
    assert canonical_lines(f'{{"a":{digits}}}'.encode()) in (None, f'{{"a":{digits}}}\n'.encode())


def test_white_space_goes_but_not_inside_strings() -> None:
    assert canonical(b' { "a b" : [ 1 , "c  \\" d\\\\" ] }\r\n') == b'{"a b":[1,"c  \\" d\\\\"]}'
    assert canonical_lines(b'{ "a" : " x " }\r\n[ 1, 2 ]') == b'{"a":" x "}\n[1,2]\n'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('"\\u00e9"', '"é"'),
        ('"\\/"', '"/"'),
        ('"\\ud83d\\ude00"', '"😀"'),
        ('"\\u000a\\u0001"', '"\\n\\u0001"'),
        ('"\\u0000"', '"\\u0000"'),
        ('"\u007f\u2028"', '"\u007f\u2028"'),
        ('"e\u0301"', '"e\u0301"'),
        ('{"b":1,"a":2}', '{"b":1,"a":2}'),
        ('{"":1," ":2}', '{"":1," ":2}'),
    ],
)
def test_strings_have_the_fewest_escapes_and_are_not_normalised(text: str, expected: str) -> None:
    assert canonical(text.encode()).decode() == expected


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b'{"a":1,"a":1}', "twice"),
        (b'[{"x":{"a":1,"b":2,"a":3}}]', "twice"),
        (b'{"a":1,"\\u0061":2}', "twice"),
        (b"NaN", "NaN"),
        (b"[Infinity]", "Infinity"),
        (b'{"a":-Infinity}', "-Infinity"),
        (b'"\\ud800"', "surrogate"),
        (b'{"\\udc00":1}', "surrogate"),
        (b'["\\ud83d x"]', "surrogate"),
        (b'"\xff"', "UTF-8"),
        (b'"\xed\xa0\x80"', "UTF-8"),
        (b'"\xc0\x80"', "UTF-8"),
        (b"", "Not JSON"),
        (b"{", "Not JSON"),
        (b"1 2", "Not JSON"),
        (b"01", "Not JSON"),
        (b"1.", "Not JSON"),
        (b".5", "Not JSON"),
        (b"+1", "Not JSON"),
        (b"'a'", "Not JSON"),
        (b'"a\nb"', "Not JSON"),
        (b'"\\x41"', "Not JSON"),
        (b"[1,]", "Not JSON"),
        (b'{"a":1,}', "Not JSON"),
        (b"tru e", "Not JSON"),
        (b"- 1", "Not JSON"),
        (b"\xef\xbb\xbf1", "Not JSON"),
        (b"\x0b1", "Not JSON"),
        (b"1\x00", "Not JSON"),
    ],
)
def test_what_is_doubtful_is_refused(text: bytes, word: str) -> None:
    with pytest.raises(JsonFault, match=word) as raised:
        canonical(text)
    assert raised.value.problems[0].found
    assert raised.value.problems[0].expected
    assert canonical_lines(text) in (None, b"")


@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_depth_is_limited(opening: str, closing: str) -> None:
    def nested(depth: int) -> bytes:
        return (opening * depth + "1" + closing * depth).encode()

    assert canonical(nested(DEPTH_MAX)) == nested(DEPTH_MAX)
    assert canonical_lines(nested(DEPTH_MAX)) is not None
    for depth in (DEPTH_MAX + 1, 100_000):
        with pytest.raises(JsonFault, match="deeper"):
            canonical(nested(depth))
        assert canonical_lines(nested(depth)) is None


def test_many_values_side_by_side_are_not_deep() -> None:
    flat = json.dumps([{"a": ["[{"]}] * 100, separators=(",", ":")).encode()
    assert canonical(flat) == flat


def test_a_long_string_after_a_broken_start_is_refused_quickly() -> None:
    with pytest.raises(JsonFault):
        canonical(b"[" * 70 + b'"' + b"\\\\" * 500_000)


@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), VALUES, max_size=6))
def test_fields_split_and_join(value: dict[str, Any]) -> None:
    text = canonical(json.dumps(value).encode())
    assert join_fields(split_fields(text)) == text
    assert {name: json.loads(part) for name, part in split_fields(text).items()} == value


def test_no_fields_split_into_nothing() -> None:
    assert split_fields(None) == split_fields(b"null") == split_fields(b"{}") == {}


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        (b'"a\\"b"', 'a"b'),
        (b"null", ""),
        (b"1.10", "1.10"),
        (b"true", "true"),
        (b'{"a":[1]}', '{"a":[1]}'),
        (b'""', ""),
    ],
)
def test_plain_text_for_people(text: bytes, shown: str) -> None:
    assert plain(text) == shown
