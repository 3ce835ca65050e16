"""The undo wizard as a page, read without a browser: plan, confirmation, edited report, result; and who may."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import TestResponse

from ledger.embedded import DatabaseUrls
from tests.examples import a_change
from tests.web import Web, opened_web


@pytest.fixture
def web(database: DatabaseUrls) -> Iterator[Web]:
    with opened_web(database.service_url) as opened:
        opened.app.testing = True
        sign_in(opened, "operator")
        yield opened


def sign_in(web: Web, role: str) -> None:
    web.client.set_cookie("ledger_token", web.tokens[role])


def a_run_with_a_conflict(web: Web) -> str:
    """Two records, of which a later run changed the second again."""
    run_id = web.record(
        [a_change(1, before={"phone": "1", "name": "a"}, after={"phone": "2", "name": "A"}), a_change(2)]
    )
    web.record([a_change(2, before={"phone": "+12025550002"}, after={"phone": "by hand"})], user={"name": "Eve"})
    return run_id


def hidden(page: str) -> dict[str, str]:
    """The hidden members of the confirmation."""
    form = page.split('class="confirm')[1].split("</form>")[0]
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)"', form))


def get(web: Web, path: str) -> str:
    answer = web.client.get(path)
    assert answer.status_code == 200, answer.text
    return answer.text


def state(web: Web, record_id: str) -> dict[str, Any]:
    found: dict[str, Any] = web.get(f"/v1/records/contact/{record_id}").get_json()["fields"]
    return found


def test_plan_names_who_changed_what_since(web: Web) -> None:
    page = get(web, f"/runs/{a_run_with_a_conflict(web)}/undo")
    assert "Write 1 record back" in page
    assert re.search(r"contact r-2</a>.*?phone.*?changed since.*?Eve in", page, re.DOTALL)


def test_confirmed_undo_is_carried_out_once_and_shows_its_proof(web: Web) -> None:
    run_id = a_run_with_a_conflict(web)
    form = hidden(get(web, f"/runs/{run_id}/undo?field=phone"))
    first = web.client.post(f"/runs/{run_id}/undo", data=form)
    again = web.client.post(f"/runs/{run_id}/undo", data=form)
    assert first.status_code == again.status_code == 303
    assert first.headers["Location"] == again.headers["Location"]
    page = get(web, first.headers["Location"])
    assert "Written back in part" in page
    assert re.search(r"Fields proven as before</dt><dd>1</dd>", page)
    assert "Eve in" in page
    assert state(web, "r-1") == {"phone": "1", "name": "A"}
    assert state(web, "r-2") == {"phone": "by hand"}


def test_plan_that_moved_is_shown_anew_and_nothing_is_written(web: Web) -> None:
    run_id = web.record([a_change(1)])
    form = hidden(get(web, f"/runs/{run_id}/undo"))
    web.record([a_change(1, before={"phone": "+12025550001"}, after={"phone": "meanwhile"})])
    answer = web.client.post(f"/runs/{run_id}/undo", data=form)
    assert answer.status_code == 409
    assert "changed since its plan was made" in answer.text
    assert state(web, "r-1") == {"phone": "meanwhile"}


def test_large_run_wants_its_run_id_typed(web: Web) -> None:
    run_id = web.record([a_change(number) for number in range(101)])
    form = hidden(get(web, f"/runs/{run_id}/undo"))
    refused = web.client.post(f"/runs/{run_id}/undo", data=form | {"confirm": "yes"})
    assert refused.status_code == 422
    assert "Type its Run ID" in refused.text
    assert web.client.post(f"/runs/{run_id}/undo", data=form | {"confirm": run_id}).status_code == 303


def test_edited_report_selects_what_is_left_in_it(web: Web) -> None:
    run_id = web.record([a_change(1), a_change(2)])
    report = web.client.get(f"/runs/{run_id}/report.csv").get_data().decode("utf-8-sig").splitlines(keepends=True)
    kept = "".join(line for line in report if "r-2" not in line)
    sent = upload(web, run_id, kept.encode())
    assert sent.status_code == 303
    page = get(web, sent.headers["Location"])
    assert "The edited report selects 1 row" in page
    done = web.client.post(f"/runs/{run_id}/undo", data=hidden(page))
    assert done.status_code == 303
    assert (state(web, "r-1"), state(web, "r-2")) == ({"phone": "202 555 0100"}, {"phone": "+12025550002"})


def test_file_that_is_no_report_is_refused_on_the_page(web: Web) -> None:
    run_id = web.record([a_change(1)])
    answer = upload(web, run_id, b"just text\n")
    assert answer.status_code == 422
    assert 'role="alert"' in answer.text


def test_edited_report_of_another_run_is_refused(web: Web) -> None:
    first, second = web.record([a_change(1)]), web.record([a_change(2)])
    sent = upload(web, first, web.client.get(f"/runs/{first}/report.csv").get_data())
    draft = sent.headers["Location"].rsplit("=", 1)[1]
    assert web.client.get(f"/runs/{second}/undo?draft={draft}").status_code == 422


def test_auditor_sees_the_plan_without_a_button_and_is_refused_by_every_form(web: Web) -> None:
    run_id = a_run_with_a_conflict(web)
    undo_id = web.client.post(f"/runs/{run_id}/undo", data=hidden(get(web, f"/runs/{run_id}/undo"))).headers["Location"]
    sign_in(web, "auditor")
    page = get(web, f"/runs/{run_id}/undo")
    assert "An operator can carry this one out" in page
    assert 'class="confirm' not in page
    for path in (f"/runs/{run_id}/undo", "/undo-approvals", f"{undo_id}/cancel", f"{undo_id}/resume"):
        assert web.client.post(path, data={"digest": "x"}).status_code == 403, path


def test_two_person_rule_is_told_and_kept(web: Web) -> None:
    run_id = web.record([a_change(1), a_change(2)])
    web.services.undo(web.account_id).approvals.set_threshold(1)
    page = get(web, f"/runs/{run_id}/undo")
    form = hidden(page)
    assert "need a second person" in page
    assert web.client.post(f"/runs/{run_id}/undo", data=form).status_code == 403
    sign_in(web, "admin")
    assert web.client.post("/undo-approvals", data={"digest": form["digest"], "next": "/"}).status_code == 303
    sign_in(web, "operator")
    assert web.client.post(f"/runs/{run_id}/undo", data=form).status_code == 303


@pytest.mark.parametrize("query", ["policy=maybe", "records=a&policy=skip_recordx", "draft=nope"])
def test_choice_that_cannot_be_is_refused(web: Web, query: str) -> None:
    assert web.client.get(f"/runs/{web.record([a_change(1)])}/undo?{query}").status_code in (404, 422)


@pytest.mark.parametrize("path", ["/runs/{}/undo", "/runs/{}/undo/report", "/undos/{}/cancel", "/undos/{}/resume"])
def test_form_of_another_site_is_refused(web: Web, path: str) -> None:
    run_id = web.record([a_change(1)])
    answer = web.client.post(path.format(run_id), headers={"Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403


@pytest.mark.parametrize(
    "path", ["/runs/{}", "/runs/{}/undo", "/runs/{}/tally", "/runs/{}/row", "/undos/{}", "/runs/{}/report.csv"]
)
def test_other_accounts_run_is_not_there(web: Web, path: str) -> None:
    run_id = web.record([a_change(1)], run_id="private-run")
    other = web.services.accounts().add("other").account_id
    web.client.set_cookie("ledger_token", web.services.tokens(other).make("admin", "stranger")[0])
    assert web.client.get(path.format(run_id)).status_code == 404


def upload(web: Web, run_id: str, data: bytes) -> TestResponse:
    return web.client.post(f"/runs/{run_id}/undo/report", data={"report": (io.BytesIO(data), "report.csv")})
