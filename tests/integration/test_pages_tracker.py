"""The Activity Tracker as a page, read without a browser: addresses, chips, saved views, columns, CSV, weight."""

from __future__ import annotations

import csv
import gzip
import io
import re
from collections.abc import Iterator
from typing import Any

import pytest
from werkzeug.test import TestResponse

from ledger.embedded import DatabaseUrls
from tests.examples import a_change
from tests.web import Web, opened_web

FIRST_VISIT_BYTES_MAX = 150_000


@pytest.fixture
def web(database: DatabaseUrls) -> Iterator[Web]:
    with opened_web(database.service_url) as opened:
        opened.client.set_cookie("ledger_token", opened.tokens["auditor"])
        yield opened


def page(web: Web, path: str, **options: Any) -> str:
    answer = web.client.get(path, **options)
    assert answer.status_code == 200, answer.text
    return answer.text


def test_empty_parameters_of_a_form_leave_the_address(web: Web) -> None:
    answer = web.client.get("/?text=phones&template=&from=&mode=all")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/?text=phones&mode=all")


def test_whole_run_id_leads_to_the_run_and_a_part_of_it_to_the_list(web: Web) -> None:
    run_id = web.record([a_change()], run_id="phones-2026")
    assert web.client.get(f"/?text={run_id}").headers["Location"] == f"/runs/{run_id}"
    assert run_id in page(web, "/?text=phones-20")


def test_each_filter_is_a_chip_whose_link_removes_it(web: Web) -> None:
    shown = page(web, "/?text=phones&status=failed&has_failures=true")
    chips = re.findall(r'<li><a href="([^"]+)" title="Remove this filter"><span>([^:]+):</span> (\w+)', shown)
    assert chips == [
        ("/?status=failed&amp;has_failures=true", "Search", "phones"),
        ("/?text=phones&amp;has_failures=true", "Status", "failed"),
        ("/?text=phones&amp;status=failed", "Failures", "yes"),
    ]


def test_days_are_those_of_the_viewers_zone(web: Web) -> None:
    web.record([a_change()], run_id="evening-run", started_at="2026-03-31T22:30:00Z")
    assert "evening-run" not in page(web, "/?from=2026-04-01&to=2026-04-01")
    web.client.set_cookie("ledger_zone", "Europe/Berlin")
    shown = page(web, "/?from=2026-04-01&to=2026-04-01")
    assert 'title="2026-03-31 22:30:00 UTC">2026-04-01 00:30:00</time>' in shown


@pytest.mark.parametrize("name", ["Nowhere/Land", "../../etc/passwd", "x" * 500, "Europe"])
def test_zone_that_is_none_is_utc(web: Web, name: str) -> None:
    web.client.set_cookie("ledger_zone", name)
    assert 'data-zone="UTC"' in page(web, "/")


def test_saved_view_is_listed_for_everybody_and_can_be_removed(web: Web) -> None:
    saved = web.client.post("/views", data={"name": " Bad  runs ", "query": "status=failed&mode=all"})
    assert saved.headers["Location"] == "/?status=failed&mode=all"
    web.client.set_cookie("ledger_token", web.tokens["operator"])
    assert '<a href="/?status=failed&amp;mode=all">Bad runs</a>' in page(web, "/")
    web.client.post("/views/remove", data={"name": "Bad runs", "next": "/"})
    assert "Bad runs" not in page(web, "/")


@pytest.mark.parametrize("name", ["", "x" * 81, "a\0b", "a\x1bb"])
def test_saved_view_without_a_proper_name_is_refused(web: Web, name: str) -> None:
    assert web.client.post("/views", data={"name": name, "query": ""}).status_code == 422


@pytest.mark.parametrize("path", ["/views", "/views/remove", "/preferences"])
def test_form_from_another_site_is_refused(web: Web, path: str) -> None:
    answer = web.client.post(path, data={"name": "x"}, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403


def test_columns_that_were_not_chosen_are_hidden(web: Web) -> None:
    web.record([a_change()])
    kept = {"columns": "1", "column": ["template", "failed"], "next": "/?mode=all"}
    assert web.client.post("/preferences", data=kept).headers["Location"] == "/?mode=all"
    heads = re.findall(r'<th scope="col" class="\w+"[^>]*>(?:<a [^>]+>)?([^<]+)', page(web, "/"))
    assert heads == ["Run ID", "Template", "Failed"]


def test_theme_is_kept(web: Web) -> None:
    web.client.post("/preferences", data={"theme": "dark"})
    assert 'data-theme="dark"' in page(web, "/")


def test_recipe_stands_below_its_templates_in_either_order(web: Web) -> None:
    recipe = web.start(kind="recipe", run_id="the-recipe", recipe={"name": "Weekly"})
    web.record([a_change(1)], run_id="child-1", recipe_run_id=recipe)
    web.record([a_change(2)], run_id="child-2", recipe_run_id=recipe)
    for order, runs in (("desc", ["child-2", "child-1", recipe]), ("asc", ["child-1", "child-2", recipe])):
        rows = re.findall(r'class="run-id" href="/runs/([^"]+)"', page(web, f"/?sort=started_at&order={order}"))
        assert rows == runs


def test_system_error_has_a_warning_and_no_report(web: Web) -> None:
    run_id = web.start(run_id="dead")
    web.post(f"/v1/runs/{run_id}/fail", {"code": "quota", "message": "No calls <left>."})
    web.services.project_once(web.account_id)
    shown = page(web, "/")
    assert "System error: quota" in shown
    assert "No calls &lt;left&gt;." in shown
    assert f"/runs/{run_id}/report.csv" not in shown


def test_running_run_asks_for_its_row_until_it_ends(web: Web) -> None:
    run_id = web.start(details={"total": 40})
    web.send(run_id, [a_change(number) for number in range(10)])
    web.services.project_once(web.account_id)
    row = page(web, f"/runs/{run_id}/row")
    assert f'data-poll="/runs/{run_id}/row"' in row
    assert 'value="10" max="40"' in row
    web.post(f"/v1/runs/{run_id}/finish")
    web.services.project_once(web.account_id)
    assert "data-poll" not in page(web, f"/runs/{run_id}/row")


def test_csv_has_every_run_of_the_list_and_no_formula(web: Web) -> None:
    for number in range(3):
        web.record([a_change(number)], run_id=f"run-{number}", template={"name": "=1+1"})
    web.record([a_change()], mode="preview")
    answer = web.client.get("/runs.csv?sort=run_id&order=asc")
    rows = list(csv.DictReader(io.StringIO(answer.get_data().decode("utf-8-sig"))))
    assert [(row["Run ID"], row["Template"], row["Updated"]) for row in rows] == [
        (f"run-{number}", "'=1+1", "1") for number in range(3)
    ]


def test_first_visit_is_light_and_its_files_are_kept(web: Web) -> None:
    for number in range(50):
        web.start(run_id=f"a-run-with-a-long-id-{number:04}", template={"name": f"Template {number}"})
    web.services.project_once(web.account_id)
    first = compressed(web, "/")
    weight = len(first.get_data())
    for address in set(re.findall(r'(?:src|href)="(/static/[^"]+)"', gzip.decompress(first.get_data()).decode())):
        asset = compressed(web, address.replace("&amp;", "&"))
        assert asset.headers["Cache-Control"] == "public, max-age=31536000, immutable"
        weight += len(asset.get_data())
    assert weight < FIRST_VISIT_BYTES_MAX


def compressed(web: Web, path: str) -> TestResponse:
    answer = web.client.get(path, headers={"Accept-Encoding": "gzip"})
    assert answer.status_code == 200
    assert answer.headers["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in answer.headers["Vary"]
    return answer


def test_page_runs_no_script_of_its_own(web: Web) -> None:
    answer = web.client.get("/")
    policy = answer.headers["Content-Security-Policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=\"", answer.text)
