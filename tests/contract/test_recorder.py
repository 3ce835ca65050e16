"""The library's own test cases for recorders, unmodified, against ours on a real database, a fresh one each test."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from eventsourcing.tests import persistence

from ledger.embedded import DatabaseUrls
from ledger.store.recorder import Recorder
from tests.examples import add_account, opened


class OnADatabase:
    """Supplies what the library's cases leave open: `create_recorder`."""

    recorder: Recorder

    @pytest.fixture(autouse=True)
    def _recorder(self, database: DatabaseUrls) -> Iterator[None]:
        with opened(database.service_url) as opened_database:
            self.recorder = Recorder(opened_database, add_account(opened_database))
            yield

    def create_recorder(self) -> Any:
        return self.recorder


class TestApplicationRecorder(OnADatabase, persistence.ApplicationRecorderTestCase[Any]):
    def test_insert_subscribe(self) -> None:
        self.optional_test_insert_subscribe()


class TestNonInterleavingNotificationIDs(OnADatabase, persistence.NonInterleavingNotificationIDsBaseCase):
    pass
