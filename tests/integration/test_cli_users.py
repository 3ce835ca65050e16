"""`ledger user`."""

from __future__ import annotations

import pytest

from ledger.embedded import DatabaseUrls
from tests.command import Command


@pytest.fixture
def ledger(database: DatabaseUrls) -> Command:
    command = Command(urls=database)
    command("account", "add", "default")
    command("account", "add", "sales")
    return command


def test_users_are_added_listed_and_removed_account_by_account(ledger: Command) -> None:
    ledger("user", "add", "Ann@Example.com", "--role", "operator", "--name", "Ann")
    ledger("--account", "sales", "user", "add", "bo@example.com", "--role", "auditor")
    (row,) = ledger("user", "list", "--json").document
    assert (row["email"], row["role"], row["name"], row["last_signed_in_at"]) == (
        "ann@example.com", "operator", "Ann", None
    )  # fmt: skip
    assert b"bo@example.com" in ledger("--account", "sales", "user", "list").stdout
    ledger("user", "remove", "ANN@example.com")
    assert ledger("user", "list", "--json").document == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("user", "add", "nobody", "--role", "auditor"), 2),
        (("user", "add", "a@b.example"), 2),
        (("user", "add", "a@b.example", "--role", "king"), 2),
        (("user", "add", "a@b.example", "--role", "auditor", "--name", "x\n"), 2),
        (("user", "add", "known@example.com", "--role", "auditor"), 4),
        (("user", "remove", "none@example.com"), 3),
        (("--account", "nobody", "user", "list"), 3),
    ],
)
def test_error_ends_with_its_exit_code(ledger: Command, arguments: tuple[str, ...], code: int) -> None:
    ledger("user", "add", "known@example.com", "--role", "auditor")
    ended = ledger(*arguments, code=code)
    assert ended.stdout == b""
    assert ended.stderr
