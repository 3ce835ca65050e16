"""Fixtures for every test: one embedded cluster a session, a freshly migrated database a test.

A test that takes `database` gets one of its own (a clone of the migrated template, about 25 ms) and may do with it
what it likes; `empty_database` has no tables at all. Each worker of pytest-xdist is a session with a
cluster of its own.
"""

from __future__ import annotations

import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from ledger import embedded
from ledger.embedded import DatabaseUrls
from migrations.migrate import migrate
from tests.check_ledger import check_ledger

TEMPLATE = "migrated_template"
NUMBERS = count(1)
MEMORY = Path("/dev/shm")
MEMORY_FREE_MIN = 4 * 1024**3
"""Bytes that must be free there. A clone is some 300 files: made on a disk they take ten times as long, measured."""


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The seed of a random test: LEDGER_TEST_SEED, else one by chance. A failure tells it, so that it can be played
    again; `make test` sets it, so that it asks everybody the same."""
    seed = int(os.environ.get("LEDGER_TEST_SEED") or random.SystemRandom().randrange(10**6))
    request.node.add_report_section("call", "seed", f"LEDGER_TEST_SEED={seed}")
    return seed


@contextmanager
def temporary_home() -> Iterator[Path]:
    """A folder that the embedded server's user can reach, as pytest's own cannot be when root runs it."""
    home = Path(tempfile.mkdtemp(prefix="ledger-test-", dir=_memory()))
    home.chmod(0o711)
    try:
        yield home
    finally:
        embedded.wait_until_stopped(home)
        shutil.rmtree(home)


def _memory() -> Path | None:
    """A folder in memory, where the machine has one with room; None: the usual place, or where TMPDIR says."""
    if "TMPDIR" in os.environ or not os.access(MEMORY, os.W_OK | os.X_OK):
        return None
    return MEMORY if shutil.disk_usage(MEMORY).free >= MEMORY_FREE_MIN else None


@pytest.fixture(scope="session")
def cluster() -> Iterator[DatabaseUrls]:
    """The session's cluster, not durable, stopped and deleted at the end."""
    with temporary_home() as home, embedded.database(home, durable=False) as urls:
        yield urls


@pytest.fixture(scope="session")
def administrator(cluster: DatabaseUrls) -> Iterator[psycopg.Connection]:
    """The owner's connection that makes and drops databases."""
    with psycopg.connect(named(cluster, "postgres").owner_url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="session")
def template(cluster: DatabaseUrls, administrator: psycopg.Connection) -> str:
    """The name of a database with the newest schema and no rows."""
    administrator.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(TEMPLATE)))
    migrate(named(cluster, TEMPLATE).owner_url)
    return TEMPLATE


@pytest.fixture
def database(cluster: DatabaseUrls, administrator: psycopg.Connection, template: str) -> Iterator[DatabaseUrls]:
    """A migrated database of the test's own: `.owner_url` and `.service_url`."""
    with cloned(cluster, administrator, template) as urls:
        yield urls
        check_ledger(urls.owner_url)


@pytest.fixture
def empty_database(cluster: DatabaseUrls, administrator: psycopg.Connection) -> Iterator[DatabaseUrls]:
    """A database of the test's own without any tables."""
    with cloned(cluster, administrator, "template1") as urls:
        yield urls


@contextmanager
def cloned(cluster: DatabaseUrls, administrator: psycopg.Connection, template: str) -> Iterator[DatabaseUrls]:
    """A copy of `template`, dropped in the end even if somebody is still connected."""
    name = f"test_{next(NUMBERS)}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy")
    administrator.execute(create.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield named(cluster, name)
    finally:
        administrator.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def named(urls: DatabaseUrls, database: str) -> DatabaseUrls:
    """The same server, another database."""
    return DatabaseUrls(*(url.replace("@/ledger?", f"@/{database}?") for url in (urls.owner_url, urls.service_url)))
