"""What the pages owe everybody: no axe-core violation, every action by keyboard, narrow windows, light and dark."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.e2e import scene

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from tests.e2e.conftest import Site

PAGES = {
    "sign-in": "/sign-in",
    "tracker": "/?mode=all&has_failures=true&template=Check+e-mail+addresses",
    "tracker, all": "/?mode=all",
    "tracker, none": "/?text=nothing+like+it",
    "run": f"/runs/{scene.PHONES}",
    "failed run": f"/runs/{scene.FAILED}",
    "dead run": f"/runs/{scene.DEAD}",
    "running run": f"/runs/{scene.RUNNING}",
    "recipe": f"/runs/{scene.RECIPE}",
    "undo": f"/runs/{scene.CORRECTION}/undo",
    "records": "/records",
    "record": "/records?object_type=contact&record_id=2",
    "restore": "/records/restore?object_type=contact&record_id=2&at=2026-11-03",
    "search": "/search?q=202+555+0002",
    "overview": "/overview?days=30&to=2026-11-20",
    "verify": "/verify",
    "account": "/account",
    "API": "/v1/docs",
    "problem": "/runs/no-such-run",
}
WIDTHS = (1280, 390)


@pytest.mark.parametrize("name", PAGES)
def test_page_has_no_accessibility_violation(site: Site, name: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = site.page(None if name == "sign-in" else "operator", path=PAGES[name], reduced_motion="reduce")
    for theme in ("light", "dark"):
        page.emulate_media(color_scheme=theme)
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            found = Axe().run(page)
            assert found.violations_count == 0, f"{theme}, {width} px\n{found.generate_report()}"


def test_opened_parts_of_the_tracker_have_no_accessibility_violation(site: Site) -> None:
    from axe_playwright_python.sync_playwright import Axe

    page = site.page(path="/", reduced_motion="reduce")
    page.get_by_role("button", name=f"System error of {scene.DEAD}").click()
    for menu in page.locator("details").all():
        menu.evaluate("menu => { menu.open = true; }")
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


@pytest.mark.parametrize("width", [320, 390])
def test_page_does_not_scroll_sideways_on_a_narrow_window(site: Site, width: int) -> None:
    page = site.page(path=None, width=width)
    for name, path in PAGES.items():
        page.goto(site.url + path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name


def test_everything_on_the_tracker_goes_by_keyboard(site: Site) -> None:
    page = site.page(None, path="/")
    page.keyboard.type(site.tokens["operator"])
    page.keyboard.press("Enter")
    page.wait_for_selector("#results")
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to the content"
    tab_to(page, "Template, object type or Run ID")
    page.keyboard.type("nightly")
    page.keyboard.press("Enter")
    page.wait_for_url("**text=nightly**")
    tab_to(page, f"System error of {scene.DEAD}")
    page.wait_for_selector("text=No calls are left today.", state="visible")
    page.keyboard.press("Escape")
    page.wait_for_selector("text=No calls are left today.", state="hidden")
    tab_to(page, scene.DEAD)
    page.wait_for_selector("#tip:popover-open")
    assert page.locator("#tip").inner_text() == "2026-11-16 09:00:00 UTC to 2026-11-16 09:03:00 UTC"
    page.keyboard.press("Enter")
    page.wait_for_url(f"**/runs/{scene.DEAD}")


def test_switch_sort_and_menus_go_by_keyboard(site: Site) -> None:
    page = site.page(path="/?template=Format+phone+numbers")
    tab_to(page, "Show preview")
    page.keyboard.press("Space")
    page.wait_for_url("**mode=all**")
    tab_to(page, "Columns")
    page.keyboard.press("Enter")
    tab_to(page, "Module")
    page.keyboard.press("Space")
    tab_to(page, "Show these")
    page.keyboard.press("Enter")
    page.wait_for_selector("thead >> text=Module", state="detached")
    tab_to(page, "Updated")
    page.keyboard.press("Enter")
    page.wait_for_selector("th[aria-sort=descending] >> text=Updated")
    assert focused(page).startswith("Updated"), "the focus stays on the head that was pressed"


def test_undo_goes_by_keyboard_up_to_its_button(site: Site) -> None:
    page = site.page(path=f"/runs/{scene.CORRECTION}/undo")
    tab_to(page, "Leave conflicts alone")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.locator("input[name=policy]:checked").get_attribute("value") == "abort"
    tab_to(page, "Show the plan")
    page.keyboard.press("Enter")
    page.wait_for_url("**policy=abort**")
    tab_to(page, "Write 1 record back")


def focused(page: Page) -> str:
    """What a screen reader would call the element with the focus, near enough."""
    text: str = page.evaluate(
        """() => {
            const one = document.activeElement, label = one.labels && one.labels[0];
            return (one.ariaLabel || (label ? label.innerText : one.innerText) || one.placeholder || "").trim();
        }"""
    )
    return text


def tab_to(page: Page, name: str, presses_max: int = 250) -> None:
    """Presses Tab until the element has the focus; it must be seen there."""
    for _ in range(presses_max):
        if focused(page).startswith(name):
            assert page.evaluate("document.activeElement.matches(':focus-visible')")
            return
        page.keyboard.press("Tab")
    raise AssertionError(f"Tab never came to {name!r}")
