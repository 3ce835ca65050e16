"""One server, one history and one browser for all browser tests of a session."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

import bootstrap
from ledger.embedded import DatabaseUrls
from ledger.integrity.sealing import AccountSealer
from ledger.service import AccountLedger
from tests.conftest import cloned
from tests.e2e.browser import opened_browser
from tests.e2e.scene import record_scene
from tests.sealed import new_signing

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

PROGRAM = """
import sys, bootstrap
from api.serve import serve
from ledger.settings import read_settings
services = bootstrap.connect(sys.argv[1])
settings = read_settings({"port": 0, "database_url": sys.argv[1]}, environment={})
serve(services, settings, on_ready=lambda url: print(url, flush=True))
services.close()
"""


@dataclass
class Site:
    """The service as people reach it: pages of a browser, signed in as somebody."""

    url: str
    browser: Browser
    ledger: AccountLedger
    services: bootstrap.Services
    tokens: dict[str, str]
    opened: ExitStack = field(default_factory=ExitStack)

    def page(self, role: str | None = "operator", *, path: str | None = "/", width: int = 1280, **options: Any) -> Page:
        """A fresh window. Whatever its console complains of fails the test."""
        options.setdefault("timezone_id", "Europe/Berlin")
        context = self.browser.new_context(viewport={"width": width, "height": 900}, **options)
        if role is not None:
            context.add_cookies([{"name": "ledger_token", "value": self.tokens[role], "url": self.url}])
        page = context.new_page()
        complaints: list[str] = []
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
        page.on("dialog", lambda dialog: complaints.append(f"a dialog: {dialog.message}"))
        self.opened.callback(self._close, context, complaints)
        page.set_default_timeout(15_000)
        if path is not None:
            page.goto(self.url + path)
        return page

    @staticmethod
    def _close(context: Any, complaints: list[str]) -> None:
        context.close()
        refusals = [one for one in complaints if "the server responded with a status of" not in one]
        assert not refusals, refusals


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    with opened_browser() as opened:
        yield opened


@pytest.fixture(scope="session")
def one_site(
    browser: Browser,
    cluster: DatabaseUrls,
    administrator: psycopg.Connection,
    template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Site]:
    with cloned(cluster, administrator, template) as urls:
        services = bootstrap.connect(urls.service_url)
        account_id = services.accounts().ensure("default").account_id
        tokens = {
            role: services.tokens(account_id).make(role, f"{role.capitalize()} Person")[0]
            for role in ("operator", "auditor", "producer")
        }
        ledger = services.ledger(account_id)
        record_scene(ledger)
        services.project_once(account_id)
        signing = new_signing(tmp_path_factory.mktemp("signing"))
        AccountSealer(services.database, account_id, "default", signing).seal()
        command = [sys.executable, "-c", PROGRAM, urls.service_url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            yield Site(process.stdout.readline().strip(), browser, ledger, services, tokens)
            process.send_signal(signal.SIGTERM)
            process.stdout.read()
        services.close()


@pytest.fixture
def site(one_site: Site) -> Iterator[Site]:
    with ExitStack() as opened:
        one_site.opened = opened
        yield one_site
