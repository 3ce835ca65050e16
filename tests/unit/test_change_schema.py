"""The schema that OpenAPI shows takes exactly the lines that the bulk path takes."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from api.schemas.changes import ChangeSchema
from ledger.errors import InputError
from ledger.json_text import encode
from ledger.wire.changes import Lines, parse_lines
from ledger.wire.runs import load, read_document
from tests.naughty import TEXTS

ANYTHING = st.one_of(
    st.none(), st.booleans(), st.integers(), st.sampled_from(TEXTS), st.just({}), st.just({"x": None}), st.just([]),
    st.just("x" * 5_000), st.just("é" * 600), st.text(max_size=4),
)  # fmt: skip
INSTANTS = st.sampled_from(
    ["2026-11-23T10:00:00Z", "2026-11-23t10:00:00.123456+01:00", "2026-11-23", "2026-02-30T00:00:00Z",
     "0001-01-01T00:00:00Z", "2026-11-23T10:00:00.1234567Z", "2026-11-23T10:00:00"]
)  # fmt: skip
MEMBERS: dict[str, st.SearchStrategy[Any]] = {
    "action": st.sampled_from(["create", "update", "delete", "none", "merge", "UPDATE", "", "a b"]),
    "record_id": st.sampled_from(["1", "é", ""]),
    "object_type": st.sampled_from(["contact", "é" * 128, "x" * 255]),
    "result": st.sampled_from(["succeeded", "failed", "ok"]),
    "message": st.sampled_from(["", "no"]),
    "before": st.sampled_from([None, {}, {"x": 1}]),
    "after": st.sampled_from([None, {}, {"x": 1}]),
    "label": st.sampled_from(["", "Ann"]),
    "link": st.sampled_from(["", "https://x.example"]),
    "details": st.sampled_from([None, {}, {"x": 1}]),
    "occurred_at": INSTANTS,
}
CHANGES = st.fixed_dictionaries(
    {"action": MEMBERS["action"]}, optional={name: of for name, of in MEMBERS.items() if name != "action"}
)


def is_line(text: bytes) -> bool:
    try:
        parse_lines(Lines([text], [1]))
    except InputError:
        return False
    return True


def fits_schema(text: bytes) -> bool:
    try:
        load(ChangeSchema(), read_document(text, raw=frozenset(("before", "after", "details"))))
    except InputError:
        return False
    return True


@given(change=CHANGES, name=st.sampled_from([*MEMBERS, "colour"]), value=ANYTHING, spoil=st.booleans())
def test_schema_accepts_what_the_bulk_path_accepts(change: dict[str, Any], name: str, value: Any, spoil: bool) -> None:
    text = encode(change | ({name: value} if spoil else {}))
    assert fits_schema(text) == is_line(text), text
