"""`python -m demo.screenshots`: pictures of each page, from the demo's real history, for the documentation."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

from demo.airports import FIRST, SECOND, difference, load_version
from demo.server import LedgerCommand
from demo.story import DEAD_RUN, FAILED_RECORDS_RUN, RECIPE_RUN, play
from ledger.client import Client

FOLDER = Path(".demo")
TARGET = Path("docs/screenshots")
RECORD = "/records?object_type=airport&record_id=00AK"
PICTURES = {
    "tracker": ("/?mode=all", "light", 1280, 760),
    "tracker-dark": ("/?mode=all", "dark", 1280, 760),
    "tracker-narrow": ("/?mode=all", "light", 390, 800),
    "run": (f"/runs/{FAILED_RECORDS_RUN}", "light", 1280, 1000),
    "changes": (f"/runs/{RECIPE_RUN}-update?field=name#changes", "light", 1280, 800),
    "recipe": (f"/runs/{RECIPE_RUN}", "dark", 1280, 900),
    "system-error": (f"/runs/{DEAD_RUN}", "light", 1280, 700),
    "undo": (f"/runs/{RECIPE_RUN}-delete/undo", "light", 1280, 900),
    "record": (RECORD, "light", 1280, 900),
    "record-past": (f"{RECORD}&step=1", "dark", 1280, 900),
    "search": ("/search?q=Lava+Hot+Springs+Airport", "light", 1280, 700),
    "overview": ("/overview", "light", 1280, 900),
    "sign-in": ("/sign-in", "dark", 1280, 620),
}
"""Name to address, theme, width and height."""


def main() -> int:
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        print("No Chromium: `make browser` installs Debian's where it can.", file=sys.stderr)
        return 1
    FOLDER.mkdir(parents=True, exist_ok=True)
    first, second = (load_version(FOLDER, version) for version in (FIRST, SECOND))
    ledger = LedgerCommand((FOLDER / "ledger").resolve())
    ledger.text("migrate")
    tokens = ledger.make_tokens()
    with ledger.serving(0) as (url, _):
        with Client(url, tokens["producer"]) as client:
            play(client, first, difference(first, second), lambda text: print(f"- {text}", flush=True))
        ledger.text("project", "--once")
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=program, args=["--headless", "--no-sandbox", "--disable-gpu"]
            )
            take(browser, url, tokens["operator"])
            browser.close()
    return 0


def take(browser: Browser, url: str, token: str) -> None:
    TARGET.mkdir(parents=True, exist_ok=True)
    for name, (address, theme, width, height) in PICTURES.items():
        context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=theme)  # type: ignore[arg-type]
        if name != "sign-in":
            context.add_cookies([{"name": "ledger_token", "value": token, "url": url}])
        page = context.new_page()
        page.goto(url + address, wait_until="networkidle")
        page.screenshot(path=TARGET / f"{name}.png")
        print(f"{TARGET / name}.png  {(TARGET / f'{name}.png').stat().st_size // 1024} kB", flush=True)
        context.close()


if __name__ == "__main__":
    sys.exit(main())
