"""Fixtures of the tests that go through HTTP."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ledger.embedded import DatabaseUrls
from tests.web import Web, opened_web


@pytest.fixture
def web(database: DatabaseUrls) -> Iterator[Web]:
    """The API on a database of the test's own."""
    with opened_web(database.service_url) as found:
        yield found
