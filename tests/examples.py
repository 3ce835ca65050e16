"""Examples for tests: an account's ledger, operations and change lines; each test says only what matters to it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from ledger.domain.operation import App, Operation, Saved, User
from ledger.ids import account_id_of
from ledger.service import AccountLedger
from ledger.store.database import Database

ADD_ACCOUNT = "INSERT INTO accounts (account_id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING"


def an_operation(**facts: Any) -> Operation:
    """A template's update of contacts by Ann."""
    standard: dict[str, Any] = {
        "app": App("HubSpot", "4711"),
        "module": "format",
        "object_type": "contact",
        "template": Saved("t-1", "Tidy phone numbers", "https://app.example/t/1"),
        "user": User("u-1", "Ann Example", "ann@example.com"),
    }
    return Operation(**(standard | facts))


def a_change(number: int = 1, **members: Any) -> dict[str, Any]:
    """An update of contact r-NUMBER."""
    standard = {
        "record_id": f"r-{number}",
        "action": "update",
        "before": {"phone": "202 555 0100"},
        "after": {"phone": f"+1202555{number:04}"},
    }
    return {name: value for name, value in (standard | members).items() if value is not ...}


def changes(first: int, last: int, **members: Any) -> bytes:
    """NDJSON of the changes number `first` to `last`, both included."""
    return ndjson(a_change(number, **members) for number in range(first, last + 1))


def ndjson(lines: Iterable[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(line, separators=(",", ":")).encode() + b"\n" for line in lines)


def add_account(database: Database, name: str = "default") -> UUID:
    """The account's id; the account is there afterwards."""
    account_id = account_id_of(name)
    with database.transaction(account_id) as connection:
        connection.execute(ADD_ACCOUNT, (account_id, name))
    return account_id


@contextmanager
def opened(service_url: str, *, pool_size_max: int = 10) -> Iterator[Database]:
    """The service's database, closed in the end."""
    database = Database(service_url, pool_size_max=pool_size_max).open()
    try:
        yield database
    finally:
        database.close()


@contextmanager
def a_ledger(service_url: str, account: str = "default", *, pool_size_max: int = 10) -> Iterator[AccountLedger]:
    """The use cases of one account, which is made if need be."""
    with opened(service_url, pool_size_max=pool_size_max) as database:
        yield AccountLedger(database, add_account(database, account))


def record(
    ledger: AccountLedger, run_id: str, lines: Iterable[dict[str, Any]], *, finish: bool = True, **facts: Any
) -> int:
    """Records a whole run of these change lines; `facts` go to an_operation. The position of its last event."""
    started = ledger.start_run(an_operation(**facts), run_id=run_id)
    accepted = ledger.record_changes(run_id, [ndjson(lines)])
    ended = ledger.finish_run(run_id) if finish else None
    last = (ended and ended.position) or accepted.position or started.position
    assert last is not None, "a run of this Run ID was there already"
    return last
