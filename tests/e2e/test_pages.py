"""The pages as a person uses them, in a real Chromium."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.request import Request, urlopen

from tests.e2e import scene

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.e2e.conftest import Site


def rows(page: Page) -> list[str]:
    return page.locator("table.runs tbody .run-id").all_inner_texts()


def shows_only(page: Page, run_ids: list[str]) -> None:
    """Waits until the list is this one."""
    from playwright.sync_api import expect

    expect(page.locator("table.runs tbody .run-id")).to_have_text(run_ids)


def test_run_is_found_by_template_and_date(site: Site) -> None:
    page = site.page()
    page.get_by_label("Template, object type or Run ID").fill("phone num")
    page.get_by_label("From", exact=True).fill("2026-11-10")
    page.get_by_label("To", exact=True).fill("2026-11-12")
    page.get_by_role("button", name="Apply").click()
    shows_only(page, [scene.PHONES])
    assert "from=2026-11-10" in page.url
    again = site.page(path=page.url.removeprefix(site.url))
    shows_only(again, [scene.PHONES])
    again.get_by_role("link", name="Search: phone num").click()
    shows_only(again, [scene.CORRECTION, scene.UNDONE, scene.PHONES])


def test_list_is_sorted_by_a_click_on_a_head(site: Site) -> None:
    from playwright.sync_api import expect

    page = site.page(path="/?app=HubSpot")
    page.get_by_role("link", name="Failed", exact=True).click()
    expect(page.locator("th[aria-sort=descending]")).to_have_text(re.compile("Failed"))
    assert rows(page)[0] == scene.FAILED
    page.get_by_role("link", name="Failed").click()
    expect(page.locator("th[aria-sort=ascending]")).to_have_text(re.compile("Failed"))
    assert rows(page)[0] != scene.FAILED


def test_previews_are_shown_when_they_are_switched_on(site: Site) -> None:
    page = site.page(path="/?template=Format+phone+numbers")
    assert scene.PREVIEW not in rows(page)
    page.get_by_role("switch", name="Show preview").click()
    page.wait_for_selector(f"text={scene.PREVIEW}")
    assert "mode=all" in page.url
    page.get_by_role("switch", name="Show preview").click()
    page.wait_for_selector(f"text={scene.PREVIEW}", state="detached")


def test_difference_is_read_word_by_word(site: Site) -> None:
    page = site.page(path=f"/runs/{scene.PHONES}?field=note")
    row = page.locator("table.fields tr", has_text="note").first
    assert row.locator("del").all_inner_texts() == ["before"]
    assert row.locator("ins").all_inner_texts() == ["after"]
    assert row.locator(".before").inner_text() == "call before nine"


def test_downloaded_report_is_the_apis(site: Site, tmp_path: Path) -> None:
    page = site.page(path=f"/?text={scene.PHONES[:-1]}1")
    with page.expect_download() as downloading:
        page.get_by_role("link", name="CSV report").click()
    kept = tmp_path / downloading.value.suggested_filename
    downloading.value.save_as(kept)
    assert scene.PHONES in kept.name
    request = Request(f"{site.url}/v1/runs/{scene.PHONES}/report.csv")
    request.add_header("Authorization", f"Bearer {site.tokens['auditor']}")
    with urlopen(request) as answer:
        assert kept.read_bytes() == answer.read()


def test_running_import_advances_without_reloading(site: Site) -> None:
    from playwright.sync_api import expect

    page = site.page(path="/?status=running")
    row = page.locator("tr", has_text=scene.RUNNING)
    before = site.ledger.store.load_run(scene.RUNNING).accepted
    expect(row.locator("progress")).to_have_attribute("value", str(before))
    page.evaluate("window.stays = true")
    scene.feed(site.ledger, 50)
    expect(row.locator("progress")).to_have_attribute("value", str(before + 50))
    expect(row).to_contain_text(f"{before + 50} of {scene.TOTAL}")
    assert page.evaluate("window.stays")


def test_failed_run_warns_and_has_no_report(site: Site) -> None:
    page = site.page()
    row = page.locator("tr", has_text=scene.DEAD)
    warning = row.get_by_role("button", name=f"System error of {scene.DEAD}")
    warning.hover()
    page.wait_for_selector("text=No calls are left today.", state="visible")
    assert row.get_by_role("link", name="Download the report").count() == 0


def test_diagnosis_groups_the_failures_and_leads_to_them(site: Site) -> None:
    page = site.page(path=f"/runs/{scene.FAILED}")
    assert "8 of 11 records failed" in page.locator(".findings").inner_text()
    page.get_by_role("link", name="The address has no @.").click()
    assert page.locator("table.changes > tbody > tr").count() == 7


def test_one_field_of_a_run_with_a_conflict_is_undone(site: Site) -> None:
    page = site.page(path=f"/runs/{scene.UNDONE}")
    page.get_by_role("link", name="Undo this run").click()
    page.get_by_text("Only some fields").click()
    page.get_by_label("title", exact=True).check()
    page.get_by_role("button", name="Show the plan").click()
    conflict = page.locator("tr", has_text="changed since")
    assert "u-2" in conflict.inner_text()
    assert "Eve Corrector in by-hand-1" in conflict.inner_text()
    page.get_by_role("button", name="Write 2 records back").click()
    page.wait_for_selector("text=Written back in part")
    assert "2" in page.locator(".tally div", has_text="Fields proven as before").inner_text()
    records = site.services.records(site.ledger.account_id)
    found = {number: records.state("contact", f"u-{number}").fields for number in (1, 2, 3)}
    assert found == {
        1: {"title": b'"Doctor"', "city": b'"BONN"'},
        2: {"title": b'"Professor"', "city": b'"BONN"'},
        3: {"title": b'"Doctor"', "city": b'"BONN"'},
    }


def test_past_of_a_record_is_looked_up(site: Site) -> None:
    page = site.page(path="/records")
    page.get_by_label("Object type").fill("contact")
    page.get_by_label("Record ID").fill("2")
    page.get_by_role("button", name="Look up").click()
    assert "+1 202 555 0002" in page.locator("section", has=page.locator("#state")).inner_text()
    timeline = page.locator(".timeline")
    assert "The contact is locked." in timeline.inner_text()
    page.get_by_label("Day and time").fill("2026-11-05T12:00:00")
    page.get_by_role("button", name="Show it then").click()
    assert "As it was" in page.locator("#state").inner_text()
    assert "+1 202 555 0002" not in page.locator("section", has=page.locator("#state")).inner_text()


def test_value_is_searched_across_runs(site: Site) -> None:
    page = site.page(path="/search")
    page.get_by_label("Run ID, record ID or value").fill("202 555 0002")
    page.get_by_role("button", name="Search").click()
    page.wait_for_selector("text=That is all.")
    assert page.locator("table.changes > tbody > tr").count() == 1


def test_auditor_signs_in_sees_the_plan_and_is_refused(site: Site) -> None:
    page = site.page(None, path=f"/runs/{scene.PHONES}/undo")
    page.get_by_label("API token").fill(site.tokens["auditor"])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_selector("text=An operator can carry this one out")
    assert page.get_by_role("button", name=re.compile("Write .* back")).count() == 0
    answer = page.request.post(
        f"{site.url}/runs/{scene.PHONES}/undo", form={"digest": "x"}, headers={"Origin": site.url}
    )
    assert answer.status == 403
    assert "operator or admin" in answer.text()


def test_producer_cannot_sign_in(site: Site) -> None:
    page = site.page(None, path="/")
    page.get_by_label("API token").fill(site.tokens["producer"])
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=alert]")
    assert "producer" in page.locator("[role=alert]").inner_text()


def test_everything_reads_and_filters_without_javascript(site: Site) -> None:
    page = site.page(java_script_enabled=False)
    page.get_by_label("Template, object type or Run ID").fill("phone num")
    page.get_by_role("switch", name="Show preview").check()
    page.get_by_role("button", name="Apply").click()
    assert scene.PREVIEW in rows(page)
    page.get_by_role("link", name="Duration", exact=True).click()
    assert page.locator("th[aria-sort=descending]").inner_text().startswith("Duration")
    page.locator("summary", has_text="Columns").click()
    page.get_by_label("Module").nth(-1).uncheck()
    page.get_by_role("button", name="Show these").click()
    assert page.locator("thead", has_text="Module").count() == 0


def test_times_are_the_viewers_with_utc_on_hover_and_focus(site: Site) -> None:
    page = site.page(path=f"/runs/{scene.PHONES}")
    started = page.locator("dl.facts time").first
    assert started.inner_text() == "2026-11-10 10:00:00"
    started.focus()
    page.wait_for_selector("#tip:popover-open")
    assert page.locator("#tip").inner_text() == "2026-11-10 09:00:00 UTC"
    page.reload()
    assert page.locator("html").get_attribute("data-zone") == "Europe/Berlin"


def test_hostile_texts_are_shown_as_texts(site: Site) -> None:
    page = site.page(path="/?page_size=200")
    assert set(scene.HOSTILE_TEXTS) <= set(page.locator("table.runs td").all_text_contents())
    for number, text in enumerate(scene.HOSTILE_TEXTS):
        page.goto(f"{site.url}/runs/{scene.HOSTILE}-{number}")
        assert text in page.locator("dl.facts dd").all_text_contents()
        assert page.locator("table.fields th[scope=row]").all_text_contents() == [text]
        assert page.locator("main script, main img, main svg[onload], main [onclick], main [onfocus]").count() == 0
