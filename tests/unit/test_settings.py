"""ledger/settings: which source wins, what is refused, what is never shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger.errors import InputError
from ledger.settings import SECRETS, Settings, default_home, read_settings, user_file


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """A user without any settings."""
    return {"HOME": str(tmp_path / "user")}


def write_user_file(environment: dict[str, str], text: str) -> None:
    path = user_file(environment)
    path.parent.mkdir(parents=True)
    path.write_text(text)


def test_nothing_is_set_and_the_defaults_hold(tmp_path: Path, environment: dict[str, str]) -> None:
    assert read_settings(environment=environment, folder=tmp_path) == Settings(home=default_home(environment))


def test_stronger_source_wins_over_each_weaker_one(tmp_path: Path, environment: dict[str, str]) -> None:
    write_user_file(environment, 'port = 1\nhost = "user"\naccount = "user"\nlog_level = "error"')
    (tmp_path / "ledger.toml").write_text('port = 2\nhost = "folder"\naccount = "folder"')
    variables = {**environment, "LEDGER_PORT": "3", "LEDGER_HOST": "environment"}
    found = read_settings({"port": 4, "host": None}, environment=variables, folder=tmp_path)
    assert (found.port, found.host, found.account, found.log_level) == (4, "environment", "folder", "error")


def test_owner_url_is_the_database_url_where_none_is_given(tmp_path: Path, environment: dict[str, str]) -> None:
    url = "postgresql://service@db/ledger"
    found = read_settings(environment={**environment, "LEDGER_DATABASE_URL": url}, folder=tmp_path)
    assert (found.database_url, found.owner_url) == (url, url)


def test_all_problems_of_all_sources_are_reported_at_once(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "ledger.toml").write_text('prot = 1\nlog_level = "loud"')
    variables = {**environment, "LEDGER_PORT": "many", "LEDGER_URL": "here"}
    with pytest.raises(InputError) as caught:
        read_settings({"account": "Über"}, environment=variables, folder=tmp_path)
    assert [(problem.parameter, problem.found) for problem in caught.value.problems] == [
        (str(tmp_path / "ledger.toml"), "prot"),
        (f"log_level in {tmp_path / 'ledger.toml'}", "'loud'"),
        ("LEDGER_PORT", "'many'"),
        ("LEDGER_URL", "'here'"),
        ("--account", "'Über'"),
    ]
    assert "LEDGER_PORT" in caught.value.message
    assert "a whole number from 0 to 65535" in caught.value.message


@pytest.mark.parametrize(
    "text", [b"port = ", b"\xff\xfe", b"[port]\nx = 1", b"port = true", b"port = 1.5", b"home = 7"]
)
def test_bad_file_is_an_input_error(tmp_path: Path, environment: dict[str, str], text: bytes) -> None:
    (tmp_path / "ledger.toml").write_bytes(text)
    with pytest.raises(InputError, match=r"ledger\.toml"):
        read_settings(environment=environment, folder=tmp_path)


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "65536"), ("PORT", "-1"), ("PORT", "٣"), ("POOL_SIZE_MAX", "0"), ("ACCOUNT", "a" * 64), ("HOST", " ")],
)
def test_value_out_of_bounds_is_refused(tmp_path: Path, environment: dict[str, str], name: str, value: str) -> None:
    with pytest.raises(InputError, match=f"LEDGER_{name}"):
        read_settings(environment={**environment, f"LEDGER_{name}": value}, folder=tmp_path)


def test_secrets_are_shown_neither_by_repr_nor_by_an_error(tmp_path: Path, environment: dict[str, str]) -> None:
    variables = {**environment, "LEDGER_TOKEN": "ldg_sesame", "LEDGER_DATABASE_URL": "postgresql://a:sesame@h/d"}
    assert "sesame" not in repr(read_settings(environment=variables, folder=tmp_path))
    with pytest.raises(InputError) as caught:
        read_settings(environment={**environment, "LEDGER_OWNER_URL": "sesame"}, folder=tmp_path)
    assert "sesame" not in f"{caught.value} {caught.value.problems}"
    assert sorted(SECRETS) == ["database_url", "log_key", "oidc_client_secret", "owner_url", "smtp_password", "token"]


def test_empty_variable_counts_as_not_set(tmp_path: Path, environment: dict[str, str]) -> None:
    assert read_settings(environment={**environment, "LEDGER_PORT": ""}, folder=tmp_path).port == 8321


def test_home_may_begin_with_a_tilde(tmp_path: Path, environment: dict[str, str]) -> None:
    found = read_settings(environment={**environment, "LEDGER_HOME": "~/ledger"}, folder=tmp_path)
    assert found.home == Path("~/ledger").expanduser()


def test_password_of_the_mail_server_stands_in_a_file(tmp_path: Path) -> None:
    secret = tmp_path / "password"
    secret.write_text("s3cret\n")
    found = read_settings(environment={"LEDGER_SMTP_PASSWORD_FILE": str(secret)}, folder=tmp_path)
    assert found.smtp_password == "s3cret"
    assert "s3cret" not in repr(found)
    with pytest.raises(InputError, match="SMTP_PASSWORD_FILE"):
        read_settings(environment={"LEDGER_SMTP_PASSWORD_FILE": str(tmp_path / "none")}, folder=tmp_path)


@pytest.mark.parametrize("sender", ["nobody", "a@b\r\nBcc: c@d", "x <a@b", "=?utf-8?q?x?= <a@b>", "a@b, c@d"])
def test_sender_that_is_no_address_is_refused(sender: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="SMTP_FROM"):
        read_settings(environment={"LEDGER_SMTP_FROM": sender}, folder=tmp_path)
