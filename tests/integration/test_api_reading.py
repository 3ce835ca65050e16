"""Reading over HTTP."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from hashlib import sha256, sha512
from typing import Any, LiteralString
from urllib.parse import quote

import psycopg
import pytest

from ledger.embedded import DatabaseUrls
from tests.examples import a_change, changes
from tests.web import Web, problem, record_path

SCRIPTS = re.compile(r"<script.*?</script>", re.DOTALL)
NAMES = [
    "a/b",
    "..",
    ".",
    "%2F",
    "100%",
    "a?b#c",
    "ünï ©ødé",
    "日本",
    "a//b",
    "/",
    " ",
    "+",
    "a/history",
    "history",
    "\u202e",
]


@pytest.mark.parametrize("name", NAMES)
def test_any_text_names_a_record(web: Web, name: str) -> None:
    web.record([{"action": "create", "object_type": name, "record_id": name, "after": {"x": 1}}])
    for path in (record_path(name, name), f"/v1/record?object_type={quote(name)}&record_id={quote(name)}"):
        found = web.get(path).get_json()
        assert (found["object_type"], found["record_id"], found["fields"]) == (name, name, {"x": 1})
    assert len(web.get(record_path(name, name) + "/history").get_json()["changes"]) == 1
    assert web.get(record_path(name, name) + "/blame").get_json()["fields"][0]["value"] == 1
    lines = web.get(f"/v1/states/{quote(name, safe='')}").text.splitlines()
    assert [json.loads(line)["record_id"] for line in lines] == [name]


def test_path_that_is_not_utf8_is_not_found(web: Web) -> None:
    assert problem(web.get("/v1/records/contact/%FF"))["status"] == 404
    assert problem(web.get("/v1/runs?text=%FF"))["status"] == 422


def test_pages_of_runs_follow_each_other(web: Web) -> None:
    ids = [web.record([a_change(1)], run_id=f"r-{number}") for number in range(5)]
    path: str | None = "/v1/runs?page_size=2"
    found: list[str] = []
    while path:
        answer = web.get(path)
        found += [run["run_id"] for run in answer.get_json()["runs"]]
        link = answer.headers.get("Link")
        assert (link is None) == (answer.get_json()["next_cursor"] is None)
        path = link and link.partition("<")[2].partition(">")[0]
    assert found == ids[::-1]


def test_pages_of_changes_follow_each_other(web: Web) -> None:
    run_id = web.start()
    web.send(run_id, changes(1, 5))
    web.services.project_once(web.account_id)
    first = web.get(f"/v1/runs/{run_id}/changes?limit=3").get_json()
    second = web.get(f"/v1/runs/{run_id}/changes?limit=3&cursor={first['next_cursor']}").get_json()
    assert [one["record_id"] for one in first["changes"] + second["changes"]] == [f"r-{n}" for n in range(1, 6)]
    assert second["next_cursor"] is None


@pytest.mark.parametrize(
    "query",
    ["colour=1", "page_size=0", "page_size=1&page_size=2", "sort=colour", "wait_for_position=x", "from=x", "cursor=x"],
)
def test_bad_query_is_refused_by_parameter(web: Web, query: str) -> None:
    document = problem(web.get(f"/v1/runs?{query}"))
    assert document["status"] == 422
    assert document["errors"][0]["parameter"] == query.partition("=")[0]


def test_two_moments_at_once_are_refused(web: Web) -> None:
    answer = web.get("/v1/records/contact/1?position=1&at=2026-01-01T00:00:00Z")
    assert problem(answer)["status"] == 422


def test_moment_is_chosen(web: Web) -> None:
    first = web.record([{"action": "create", "record_id": "1", "after": {"x": 1}}])
    second = web.record([{"action": "update", "record_id": "1", "before": {"x": 1}, "after": {"x": 2}}])

    def value(query: str) -> Any:
        return web.get(f"/v1/records/contact/1?{query}").get_json()["fields"]

    assert value("") == {"x": 2}
    assert value(f"after_run={first}") == {"x": 1}
    assert value(f"before_run={second}") == {"x": 1}
    assert value(f"before_run={first}") is None
    assert value("position=2") == {"x": 1}
    assert value("at=2020-01-01T00:00:00Z") is None
    assert value("recorded_at=2020-01-01T00:00:00Z") is None


def test_reader_waits_for_a_position(web: Web) -> None:
    run_id = web.record([a_change(1)])
    position = web.get(f"/v1/runs/{run_id}").get_json()["position"]
    assert web.get(f"/v1/runs?wait_for_position={position}").status_code == 200


def test_view_that_is_behind_says_so(web: Web) -> None:
    run_id = web.start()
    answer = web.get(f"/v1/runs/{run_id}")
    assert problem(answer)["code"] == "not_caught_up"
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1


def test_ended_run_has_an_etag(web: Web) -> None:
    run_id = web.record([a_change(1)])
    etag = web.get(f"/v1/runs/{run_id}").headers["ETag"]
    assert web.get(f"/v1/runs/{run_id}", headers={"If-None-Match": etag}).status_code == 304


@pytest.mark.parametrize(("form", "begin"), [("csv", b"\xef\xbb\xbfResult"), ("xlsx", b"PK"), ("ndjson", b"{")])
def test_report_is_a_file_named_after_its_run(web: Web, form: str, begin: bytes) -> None:
    run_id = web.record([a_change(1)])
    answer = web.get(f"/v1/runs/{run_id}/report.{form}")
    assert answer.data.startswith(begin)
    assert run_id in answer.headers["Content-Disposition"]


def test_preview_has_a_report_on_request_only(web: Web) -> None:
    run_id = web.record([a_change(1)], mode="preview")
    assert problem(web.get(f"/v1/runs/{run_id}/report.csv"))["code"] == "no_report"
    assert web.get(f"/v1/runs/{run_id}/report.csv?preview=true&dialect=exact").status_code == 200


def test_search_finds_a_value(web: Web) -> None:
    web.record([a_change(1), a_change(2)])
    found = web.get("/v1/changes?field=phone&new_value=%2B12025550002").get_json()["changes"]
    assert [one["record_id"] for one in found] == ["r-2"]


def test_activity_counts_days(web: Web) -> None:
    web.record([a_change(1)], started_at="2026-01-02T10:00:00Z", template={"name": "T"})
    days = web.get("/v1/activity?from=2026-01-01&to=2026-01-31").get_json()["days"]
    assert [(day["day"], day["template"], day["tally"]["updated"]) for day in days] == [("2026-01-02", "T", 1)]


@pytest.mark.parametrize(
    ("statement", "advice"),
    [
        ("DELETE FROM ledger_migrations WHERE number = (SELECT max(number) FROM ledger_migrations)", "ledger migrate"),
        ("INSERT INTO ledger_migrations SELECT max(number) + 1, 'x', 'x' FROM ledger_migrations", "newer release"),
    ],
)
def test_schema_of_another_release_is_not_ready(
    web: Web, database: DatabaseUrls, statement: LiteralString, advice: str
) -> None:
    with psycopg.connect(database.owner_url) as connection:
        connection.execute(statement)
    document = problem(web.get("/readyz", role=None))
    assert (document["status"], document["code"]) == (503, "other_schema")
    assert advice in document["detail"]


@pytest.mark.parametrize("form", ["csv", "xlsx", "ndjson"])
def test_report_has_the_digest_that_is_asked_for(web: Web, form: str) -> None:
    path = f"/v1/runs/{web.record([a_change(number) for number in range(1, 4)])}/report.{form}"
    assert "Repr-Digest" not in web.get(path).headers
    assert "Repr-Digest" not in web.get(path, headers={"Want-Repr-Digest": "md5=10, sha-256=0, nonsense"}).headers
    for wanted, name, hashing in (("sha-256=1", "sha-256", sha256), ("sha-256=3, sha-512=10", "sha-512", sha512)):
        answer = web.get(path, headers={"Want-Repr-Digest": wanted})
        assert answer.headers["Repr-Digest"] == f"{name}=:{b64encode(hashing(answer.data).digest()).decode()}:"
        assert answer.headers["Content-Length"] == str(len(answer.data)) != "0"
    if form != "xlsx":  # which holds the moment it was made
        assert web.get(path, headers={"Want-Repr-Digest": "sha-256=1"}).data == web.get(path).data


def test_health_metrics_and_docs_answer(web: Web) -> None:
    web.record([a_change(1)])
    assert web.get("/healthz", role=None).get_json() == {"status": "ok"}
    assert web.get("/readyz", role=None).get_json()["status"] == "ready"
    text = web.get("/metrics", role=None).text
    assert "ledger_batches_total 1.0" in text
    assert 'route="/v1/runs"' in text
    assert "contact" not in text
    assert web.get("/v1/openapi.json", role=None).get_json()["openapi"].startswith("3.1")
    page = web.get("/v1/docs", role=None).text
    assert all(re.fullmatch(r'<script src="/static/[^"<>]+" defer></script>', tag) for tag in SCRIPTS.findall(page))
    assert "POST /v1/runs" in page


def test_every_type_of_problem_is_explained(web: Web) -> None:
    assert "There is no such thing" in web.get("/problems/not_found", role=None).text


def test_answers_carry_request_id_and_security_headers(web: Web) -> None:
    answer = web.get("/v1/runs", headers={"X-Request-Id": "abc-1"})
    assert answer.headers["X-Request-Id"] == "abc-1"
    policy = answer.headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'; script-src 'self';")
    assert "unsafe" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert web.get("/v1/runs", headers={"X-Request-Id": "a b\u00e4"}).headers["X-Request-Id"] != "a b\u00e4"
