"""Record, search, overview and verification as pages, read without a browser."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger.embedded import DatabaseUrls
from ledger.integrity.sealing import AccountSealer
from tests.examples import a_change
from tests.sealed import new_signing
from tests.web import Web, opened_web

FIRST_AT = "2026-01-01T10:00:00Z"
RECORD = "/records?object_type=contact&record_id=r-1"


@pytest.fixture
def web(database: DatabaseUrls) -> Iterator[Web]:
    """A record that two runs changed and a third one failed to."""
    with opened_web(database.service_url) as opened:
        opened.app.testing = True
        opened.client.set_cookie("ledger_token", opened.tokens["operator"])
        opened.record(
            [{"action": "create", "record_id": "r-1", "after": {"phone": "one", "n": 1}} | {"occurred_at": FIRST_AT}],
            run_id="first", user={"name": "Ann"}, started_at="2026-01-01T10:00:00Z", template={"name": "Import"},
        )  # fmt: skip
        opened.record(
            [a_change(1, before={"phone": "one"}, after={"phone": "two"}, occurred_at="2026-01-02T10:00:00Z")],
            run_id="second", user={"name": "Eve"}, started_at="2026-01-02T10:00:00Z", template={"name": "Format"},
        )  # fmt: skip
        opened.record(
            [a_change(1, result="failed", message="locked", occurred_at="2026-01-03T10:00:00Z")],
            run_id="third", user={"name": "Eve"}, started_at="2026-01-03T10:00:00Z", template={"name": "Format"},
        )  # fmt: skip
        yield opened


def page(web: Web, path: str) -> str:
    answer = web.client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


def fields(shown: str) -> dict[str, str]:
    table = shown.split('aria-label="Fields and who wrote them"')[1].split("</table>")[0]
    return dict(re.findall(r'<th scope="row">(\w+)</th><td class="value">([^<]*)</td>', table))


def test_record_is_shown_now_and_after_each_of_its_changes(web: Web) -> None:
    assert fields(page(web, RECORD)) == {"n": "1", "phone": "two"}
    assert fields(page(web, f"{RECORD}&step=1")) == {"n": "1", "phone": "one"}
    assert "locked" in page(web, RECORD)


def test_record_at_a_moment_is_in_the_viewers_zone(web: Web) -> None:
    assert fields(page(web, f"{RECORD}&at=2026-01-02T10:30")) == {"n": "1", "phone": "two"}
    web.client.set_cookie("ledger_zone", "America/New_York")
    assert fields(page(web, f"{RECORD}&at=2026-01-02T04:30")) == {"n": "1", "phone": "one"}


@pytest.mark.parametrize("query", ["at=yesterday", "at=2026-02-30", "at=9999-12-31", "after=x"])
def test_moment_that_is_none_is_refused(web: Web, query: str) -> None:
    assert web.client.get(f"{RECORD}&{query}").status_code in (200, 422)
    assert web.client.get(f"{RECORD}&at=yesterday").status_code == 422


def test_record_is_restored_to_a_moment(web: Web) -> None:
    address = "/records/restore?object_type=contact&record_id=r-1&at=2026-01-01T12:00:00Z"
    form = dict(
        re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', page(web, address).split("confirm")[1])
    )
    done = web.client.post("/records/restore", data=form)
    assert done.status_code == 303, done.text
    assert "Everything is written back" in page(web, done.headers["Location"])
    assert fields(page(web, RECORD)) == {"n": "1", "phone": "one"}
    web.client.set_cookie("ledger_token", web.tokens["auditor"])
    assert web.client.post("/records/restore", data=form).status_code == 403


def test_restoring_what_nothing_changed_says_so(web: Web) -> None:
    address = "/records/restore?object_type=contact&record_id=r-1&at=2026-02-01T12:00:00Z"
    assert "Nothing has changed this record since then" in page(web, address)


@pytest.mark.parametrize(
    ("query", "runs"),
    [("q=two", ["second"]), ("q=one", ["second", "first"]), ("q=none", []), ("field=n", ["first"]),
     ("user=Eve", ["third", "second"]), ("user=Eve&result=failed", ["third"]), ("template=Import", ["first"]),
     ("q=one&to=2026-01-01", ["first"]), ("record_id=r-1&object_type=contact&old_value=one", ["second"])],
)  # fmt: skip
def test_search_finds_changes_newest_first(web: Web, query: str, runs: list[str]) -> None:
    found = page(web, f"/search?{query}").split('id="found"')[1]
    assert re.findall(r'<a class="mono" href="/runs/([^"]+)">', found) == runs


def test_search_leads_to_what_is_called_so(web: Web) -> None:
    assert 'href="/runs/second"' in page(web, "/search?q=second").split('aria-label="Called so"')[1]
    assert "record_id=r-1" in page(web, "/search?q=r-1").split('aria-label="Called so"')[1]


def test_overview_counts_by_day_and_has_the_numbers_of_its_charts(web: Web) -> None:
    shown = page(web, "/overview?days=7&to=2026-01-04")
    by_action = shown.split('aria-label="By action in numbers"')[1].split("</table>")[0]
    numbers = r'<th scope="row">([\d-]+)</th><td class="number">(\d+)</td><td class="number">(\d+)</td>'
    assert re.findall(numbers, by_action) == [("2026-01-01", "0", "1"), ("2026-01-02", "1", "0")]
    assert shown.count("<rect class=") > 3
    assert re.search(r"Records failed</dt><dd>1</dd>", shown)


def test_verification_shows_the_newest_checkpoint_and_gives_proofs(web: Web, tmp_path: Path) -> None:
    assert "has no checkpoint yet" in page(web, "/verify")
    AccountSealer(web.services.database, web.account_id, "default", new_signing(tmp_path)).seal()
    note = web.get("/v1/log/checkpoint").text
    assert note in page(web, "/verify").replace("&#43;", "+")
    proof = web.client.get("/verify/proof?position=2")
    assert proof.headers["Content-Disposition"] == "attachment; filename=2.tlog-proof"
    assert proof.data == web.get("/v1/log/proof/2").data
    assert web.client.get("/verify/proof?position=none").status_code == 422
    assert web.client.get("/verify/proof?position=999").status_code == 404
