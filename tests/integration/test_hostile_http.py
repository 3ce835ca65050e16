"""Hostile input over HTTP: accepted exactly or refused with a clear problem, never a 500, never a changed value."""

# ruff: noqa: E501 - lists of data
from __future__ import annotations

import csv
import gzip
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest

from ledger.json_text import canonical, encode
from tests.naughty import BAD_VALUES, NUL, TEXTS, VALUES
from tests.read_report import read_exact
from tests.web import NDJSON, Web, changes_path, problem, record_path

FIELD_VALUES: dict[str, bytes] = {f"field {number}": encode(text) for number, text in enumerate(TEXTS)} | {
    f"value {number}": text for number, text in enumerate(VALUES)
}


SOME_OR_ALL = pytest.mark.parametrize(
    "texts", [TEXTS[::9], pytest.param(TEXTS, marks=pytest.mark.long)], ids=["some", "all"]
)
"""Where each text costs a request of its own, `make test` takes every ninth, `make test-long` all."""


def line_of(fields: bytes, record_id: str = "1", **more: Any) -> bytes:
    """A create of these fields, given as JSON text."""
    members = {"action": "create", "record_id": record_id} | more
    return encode(members)[:-1] + b',"after":' + fields + b"}\n"


def fields_text(fields: dict[str, bytes]) -> bytes:
    return b"{" + b",".join(encode(name) + b":" + text for name, text in fields.items()) + b"}"


def members(text: bytes) -> dict[str, str]:
    """An object as it was sent: names to the text of each value, digits kept."""
    kept = {"parse_int": lambda digits: ("number", digits), "parse_float": lambda digits: ("number", digits)}
    return {name: repr(value) for name, value in json.loads(text, **kept).items()}  # type: ignore[arg-type]


def read_back(web: Web, run_id: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The after-fields of a run's one create, from every interface that gives them as JSON."""
    kept: dict[str, Any] = {name: (lambda digits: ("number", digits)) for name in ("parse_int", "parse_float")}

    def parsed(text: str) -> Any:
        return json.loads(text, **kept)

    def shown(fields: dict[str, Any]) -> dict[str, str]:
        return {name: repr(value) for name, value in fields.items()}

    yield "changes", shown(parsed(web.get(changes_path(run_id)).text)["changes"][0]["after"])
    yield "report", shown(parsed(web.get(f"/v1/runs/{run_id}/report.ndjson").text)["after"])
    yield "state", shown(parsed(web.get(record_path("contact", "1")).text)["fields"])
    yield "states", shown(parsed(web.get("/v1/states/contact").text)["fields"])
    blamed = parsed(web.get(record_path("contact", "1") + "/blame").text)["fields"]
    yield "blame", {one["field"]: repr(one["value"]) for one in blamed}


def test_naughty_values_come_back_as_they_were_sent(web: Web) -> None:
    sent = fields_text(FIELD_VALUES)
    run_id = web.start()
    assert web.send(run_id, line_of(sent)).status_code == 200
    web.services.project_once(web.account_id)
    for interface, found in read_back(web, run_id):
        assert found == members(sent), interface


def test_naughty_field_names_come_back_as_they_were_sent(web: Web) -> None:
    sent = fields_text({text: encode(number) for number, text in enumerate(TEXTS)})
    run_id = web.start()
    assert web.send(run_id, line_of(sent)).status_code == 200
    web.services.project_once(web.account_id)
    for interface, found in read_back(web, run_id):
        assert found == members(sent), interface


@pytest.mark.parametrize("sent", [FIELD_VALUES, {text: encode(number) for number, text in enumerate(TEXTS)}])
def test_exact_csv_keeps_naughty_values_and_names(web: Web, sent: dict[str, bytes]) -> None:
    run_id = web.start()
    web.send(run_id, line_of(fields_text(sent)))
    web.services.project_once(web.account_id)
    csv.field_size_limit(10_000_000)
    (row,) = read_exact(web.get(f"/v1/runs/{run_id}/report.csv?dialect=exact").data)
    assert row.after == sent
    for form in ("csv", "xlsx"):
        assert web.get(f"/v1/runs/{run_id}/report.{form}").status_code == 200


@SOME_OR_ALL
def test_naughty_texts_of_a_change_are_kept_or_refused(web: Web, texts: list[str]) -> None:
    """As record id, object type, label, link and message, each alone in its line."""
    run_id = web.start()
    kept: list[dict[str, Any]] = []
    for text in texts:
        for member in ("record_id", "object_type", "label", "link", "message"):
            change = {"action": "create", "record_id": "1", "after": {"x": 1}} | {member: text}
            answer = web.send(run_id, encode(change) + b"\n")
            if answer.status_code == 200:
                kept.append({member: text})
            else:
                assert answer.status_code in (413, 422), (member, text, answer.text)
                assert problem(answer)["errors"], (member, text)
    assert len(kept) > 4 * len(texts)
    web.services.project_once(web.account_id)
    rows = [json.loads(line) for line in web.get(f"/v1/runs/{run_id}/report.ndjson").text.split("\n") if line]
    assert [{name: row[name] for name in change} for change, row in zip(kept, rows, strict=True)] == kept
    for name in ("record_id", "object_type"):
        for text in (change[name] for change in kept if name in change):
            names = {"object_type": "contact", "record_id": "1"} | {name: text}
            found = web.get(record_path(**names))
            assert found.status_code == 200, (name, text)
            assert found.get_json()["fields"] == {"x": 1}, (name, text)


@pytest.mark.parametrize("number", range(len(BAD_VALUES)))
def test_value_that_cannot_be_kept_is_refused(web: Web, number: int) -> None:
    run_id = web.start()
    for body in (line_of(b'{"x":' + BAD_VALUES[number] + b"}"), b"[" + BAD_VALUES[number] + b"]", BAD_VALUES[number]):
        answer = web.send(run_id, body)
        if answer.status_code == 200:
            assert not body.strip(b"[] \n"), body[:80]
            assert answer.get_json()["accepted"] == 0
        else:
            assert answer.status_code in (400, 413, 422), (answer.status_code, body[:80])
            assert problem(answer)["accepted"] == 0
    for path in ("/v1/runs", f"/v1/runs/{run_id}/fail"):
        for body in (BAD_VALUES[number], b'{"details":{"x":' + BAD_VALUES[number] + b"}}"):
            answer = web.post(path, body)
            assert answer.status_code in (400, 413, 422), (answer.status_code, path, body[:80])
            problem(answer)


@SOME_OR_ALL
@pytest.mark.parametrize("member", ["module", "object_type", "target", "message", "template", "app", "user", "run_id"])
def test_naughty_facts_of_a_run_are_kept_or_refused(web: Web, member: str, texts: list[str]) -> None:
    nested = member in ("template", "app", "user")
    runs: dict[str, str] = {}
    for text in texts:
        answer = web.post("/v1/runs", {member: {"name": text} if nested else text})
        if answer.status_code == 201:
            runs[answer.get_json()["run_id"]] = text
        else:
            assert answer.status_code == 422, (text, answer.text)
            assert problem(answer)["errors"][0]["pointer"] == f"/{member}" + ("/name" if nested else "")
    web.services.project_once(web.account_id)
    for run_id, text in runs.items():
        found = web.get(f"/v1/runs/{quote(run_id, safe='')}").get_json()[member]
        assert (found["name"] if nested else found) == text
        if member in ("module", "object_type", "template", "app", "user"):
            listed = web.get(f"/v1/runs?mode=all&page_size=200&{member}={quote(text)}")
            assert listed.status_code == 200
            assert run_id in {run["run_id"] for run in listed.get_json()["runs"]}, text


@pytest.mark.parametrize(
    "path",
    ["/v1/runs?text={}", "/v1/runs?template={}", "/v1/runs?cursor={}", "/v1/changes?value={}", "/v1/changes?field={}",
     "/v1/changes?text={}", "/v1/changes?user={}", "/v1/record?object_type={}&record_id={}", "/v1/records/{}/{}",
     "/v1/runs/{}", "/v1/states/{}", "/v1/runs/{}/changes", "/v1/runs/{}/report.csv", "/runs/{}", "/?text={}",
     "/records?object_type={}&record_id={}", "/v1/activity?from={}&to={}", "/v1/records/a/b?at={}", "/v1/records/a/b?after_run={}"],
)  # fmt: skip
@SOME_OR_ALL
def test_naughty_questions_are_answered_or_refused(web: Web, path: str, texts: list[str]) -> None:
    web.record([{"action": "create", "record_id": "1", "after": {"x": 1}}])
    web.client.set_cookie("ledger_token", web.tokens["auditor"])
    for text in texts:
        if len(text) <= 4_000:
            answer = web.get(path.replace("{}", quote(text, safe="")))
            assert answer.status_code < 500, (path, text, answer.text)


@pytest.mark.parametrize(
    "body",
    [b"", b"null", b"1", b'"x"', b"[]", b"[1]", b"[[]]", b"{", b"{}x", b'{"run_id":1}', b'{"app":"x"}', b'{"app":[]}',
     b'{"user":{"name":1}}', b'{"details":[]}', b'{"details":"x"}', b'{"started_at":1}', b'{"started_at":"yesterday"}',
     b'{"mode":true}', b'{"kind":1e400}', b'{"started_at":"0001-01-01T00:00:00+14:00"}', b'{"recipe_run_id":"nobody"}',
     b'{"started_at":"2026-02-30T00:00:00Z"}', b'{"constructor":1}', b'\xef\xbb\xbf{}', b'{"run_id":"' + b"x" * 2_000_000 + b'"}'],
)  # fmt: skip
def test_bad_document_is_refused(web: Web, body: bytes) -> None:
    answer = web.post("/v1/runs", body)
    assert answer.status_code in (400, 404, 413, 422)
    problem(answer)


@pytest.mark.parametrize(
    "line",
    [b"null", b"1", b"[]", b'"x"', b"{}", b'{"action":"update"}', b'{"action":"UPDATE","record_id":"1","after":{}}',
     b'{"action":"update","record_id":"1"}', b'{"action":"update","record_id":1,"after":{}}',
     b'{"action":"update","record_id":"","after":{}}', b'{"action":"create","record_id":"1","before":{"x":1},"after":{}}',
     b'{"action":"delete","record_id":"1","before":{},"after":{"x":1}}', b'{"action":"update","record_id":"1","after":[]}',
     b'{"action":"update","record_id":"1","after":{},"colour":1}', b'{"action":"update","record_id":"1","after":{},"result":"ok"}',
     b'{"action":"update","record_id":"1","after":{},"occurred_at":"yesterday"}',
     b'{"action":"update","record_id":"1","after":{},"details":[]}', b'{"action":"update","action":"delete","record_id":"1"}'],
)  # fmt: skip
def test_bad_line_is_refused_with_its_number(web: Web, line: bytes) -> None:
    run_id = web.start()
    document = problem(web.send(run_id, line_of(b'{"x":1}') + line + b"\n"))
    assert document["status"] == 422
    assert document["errors"][0]["line"] == 2
    assert document["accepted"] == 0


def test_line_of_100_megabytes_is_refused(web: Web) -> None:
    run_id = web.start()
    body = line_of(b'{"x":1}') + b'{"action":"update","record_id":"1","after":{"x":"' + b"y" * 100_000_000 + b'"}}\n'
    document = problem(web.send(run_id, body))
    assert (document["status"], document["code"]) == (413, "too_large")


@pytest.mark.parametrize("unit", [b"x", b"\n"])
def test_gzip_bomb_is_refused_or_harmless(web: Web, unit: bytes) -> None:
    """200 MB in 200 kB, unpacked block by block."""
    packed = gzip.compress(unit * 200_000_000, 1)
    answer = web.send(web.start(), packed, headers={"Content-Encoding": "gzip"})
    if unit == b"\n":
        assert answer.get_json()["accepted"] == 0
    else:
        assert answer.status_code in (400, 413, 422) or answer.get_json()["accepted"] == 0


@pytest.mark.parametrize("cut", [1, 5, 10, 20])
def test_gzip_that_ends_too_early_is_refused(web: Web, cut: int) -> None:
    packed = gzip.compress(line_of(b'{"x":1}') * 100)[:-cut]
    document = problem(web.send(web.start(), packed, headers={"Content-Encoding": "gzip"}))
    assert "gzip" in document["detail"]


@pytest.mark.parametrize(
    "body", [b"not gzip", b"\x1f\x8b", b"\x1f\x8b\x08\x00", gzip.compress(b"x", mtime=0) + b"garbage"]
)
def test_what_is_not_gzip_is_refused(web: Web, body: bytes) -> None:
    assert problem(web.send(web.start(), body, headers={"Content-Encoding": "gzip"}))["status"] in (400, 422)


def test_very_many_fields_are_kept(web: Web) -> None:
    sent = fields_text({f"{'long name ' * 20}{number}": b"1" for number in range(5_000)})
    run_id = web.start()
    assert web.send(run_id, line_of(sent)).status_code == 200
    web.services.project_once(web.account_id)
    for interface, found in read_back(web, run_id):
        assert found == members(sent), interface


@pytest.mark.parametrize(
    "header", ["Authorization", "Idempotency-Key", "X-Request-Id", "Content-Digest", "Ledger-Change-Count"]
)
def test_naughty_headers_are_refused(web: Web, header: str) -> None:
    for text in TEXTS:
        value = text.encode().decode("latin-1")
        if len(text) < 1_000 and not {"\r", "\n"} & set(value):
            path = "/v1/runs" if header == "Idempotency-Key" else changes_path("nobody")
            answer = web.client.post(
                path,
                data=b"{}",
                content_type="application/json" if header == "Idempotency-Key" else NDJSON,
                headers={"Authorization": f"Bearer {web.tokens['producer']}"} | {header: value},
            )
            assert answer.status_code < 500, (header, text, answer.text)


def test_nul_is_kept_in_values_and_refused_in_names_of_records(web: Web) -> None:
    run_id = web.start()
    assert web.send(run_id, line_of(fields_text({text: encode(text) for text in NUL}))).status_code == 200
    assert problem(web.send(run_id, line_of(b"{}", record_id="a\0b")))["errors"][0]["pointer"] == "/record_id"


def test_canonical_values_are_what_is_compared() -> None:
    for text in VALUES:
        assert canonical(text) == text
