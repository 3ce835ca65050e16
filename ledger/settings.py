"""Typed settings, read once at the start: flags, then `LEDGER_*`, then `ledger.toml` here, then the user's file.

Every problem of every source is reported at once. Nothing here opens a database.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple
from urllib.parse import urlsplit

from ledger.errors import InputError, Problem

ENVIRONMENT_PREFIX = "LEDGER_"
FILE_NAME = "ledger.toml"
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("text", "json")
ACCOUNT_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What an operator can choose. Secrets are left out of `repr`."""

    home: Path
    """The folder of the embedded database and its log; not used with a database_url."""
    database_url: str | None = field(default=None, repr=False)
    """The service's login, a member of role ledger_service; None: the embedded database in `home`."""
    owner_url: str | None = field(default=None, repr=False)
    """Who migrates; where none is given, database_url."""
    account: str = "default"
    host: str = "127.0.0.1"
    port: int = 8321
    pool_size_max: int = 10
    """Connections to the database that one process holds at most."""
    log_key: str | None = field(default=None, repr=False)
    """The key that signs the logs, as text; or a file with it. The embedded database has `log.key` in `home`."""
    log_key_file: Path | None = None
    log_heads: Path | None = None
    """The folder that remembers the last heads signed; where none is given, beside the key."""
    witness_policy: Path | None = None
    """A file that names witnesses and how many must cosign (c2sp.org/tlog-policy)."""
    anchor_folder: Path | None = None
    """Where checkpoints are kept as files, best on another machine."""
    public_logs: tuple[str, ...] = ()
    """Accounts whose signed log anybody may read: checkpoints, hashes and entries, no payloads."""
    log_level: str = "info"
    log_format: str = "text"
    erasure_list: Path | None = None
    """The file that each erasure is written to as well, kept apart from the database's backups; None: there is none."""
    url: str = "http://127.0.0.1:8321"
    """Where the client finds the service."""
    token: str | None = field(default=None, repr=False)
    """The client's API token."""
    base_url: str | None = None
    """Where people find the service's pages: for links in notifications and for signing in."""
    smtp_host: str | None = None
    smtp_port: int | None = None
    """None: the usual one for smtp_security."""
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    smtp_user: str | None = None
    smtp_password: str | None = field(default=None, repr=False)
    smtp_from: str | None = None
    mail_report_bytes_max: int = 5_000_000
    """A larger report is not attached."""
    mails_per_minute: int = 60
    """Of one account."""
    oidc_issuer: str | None = None
    """The OpenID provider that people sign in with; needs oidc_client_id and base_url."""
    oidc_client_id: str | None = None
    oidc_client_secret: str | None = field(default=None, repr=False)
    oidc_email: Literal["verified", "any"] = "verified"
    """Whether an e-mail address counts only if the provider says that it is verified."""
    webhook_private: Literal["refuse", "allow"] = "refuse"
    """Whether webhooks may go to private addresses and over plain http."""


class Entry(NamedTuple):
    """One value and where it was found, in the words of whoever must mend it."""

    name: str
    value: object
    source: str


def read_settings(
    flags: Mapping[str, object] | None = None,
    *,
    environment: Mapping[str, str] = os.environ,
    folder: Path | None = None,
) -> Settings:
    """The settings in force. `flags` are by field name, None where not given; `ledger.toml` is sought in `folder`.

    Raises InputError with a problem for each bad or unknown entry, wherever it stands.
    """
    problems: list[Problem] = []
    values: dict[str, Any] = {"home": default_home(environment)}
    for entry in _entries(flags or {}, environment, folder or Path.cwd(), problems):  # the weakest source first
        try:
            values[entry.name] = _READERS[entry.name](entry.value)
        except ValueError as error:
            shown = "a secret" if entry.name in SECRETS else repr(entry.value)
            problems.append(
                Problem(
                    f"The setting {entry.source} is not valid.",
                    parameter=entry.source,
                    found=shown,
                    expected=str(error),
                )
            )
    needed = ("oidc_client_id", "base_url") if "oidc_issuer" in values else ()
    missing = [ENVIRONMENT_PREFIX + name.upper() for name in needed if name not in values]
    problems += [
        Problem(f"LEDGER_OIDC_ISSUER needs {variable} too.", parameter=variable, found="nothing")
        for variable in missing
    ]
    if problems:
        listed = " ".join(_sentence(problem) for problem in problems)
        raise InputError(f"The settings are not valid. {listed}", problems=tuple(problems))
    values["owner_url"] = values.get("owner_url") or values.get("database_url")
    for name in FROM_FILES:
        from_file = values.pop(f"{name}_file", None)
        values[name] = values.get(name) or from_file
    return Settings(**values)


def default_home(environment: Mapping[str, str] = os.environ) -> Path:
    """The user's data folder (XDG Base Directory Specification); for root, the system's."""
    if os.geteuid() == 0:
        return Path("/var/lib/ledger")
    return _user_folder(environment, "XDG_DATA_HOME", ".local/share") / "ledger"


def user_file(environment: Mapping[str, str] = os.environ) -> Path:
    """The user's own settings file, the weakest source."""
    return _user_folder(environment, "XDG_CONFIG_HOME", ".config") / "ledger" / FILE_NAME


def _user_folder(environment: Mapping[str, str], variable: str, default: str) -> Path:
    chosen = Path(environment.get(variable, ""))
    if chosen.is_absolute():  # the specification: ignore relative paths
        return chosen
    return Path(environment.get("HOME") or Path.home()) / default


def _entries(
    flags: Mapping[str, object], environment: Mapping[str, str], folder: Path, problems: list[Problem]
) -> Iterator[Entry]:
    for path in (user_file(environment), folder / FILE_NAME):
        yield from _file_entries(path, problems)
    for name in _READERS:
        variable = ENVIRONMENT_PREFIX + name.upper()
        if environment.get(variable):
            yield Entry(name, environment[variable], variable)
    for name, value in flags.items():
        if value is not None:
            yield Entry(name, value, "--" + name.replace("_", "-"))


def _file_entries(path: Path, problems: list[Problem]) -> Iterator[Entry]:
    try:
        found = tomllib.loads(path.read_bytes().decode())
    except (FileNotFoundError, NotADirectoryError):
        return
    except (OSError, ValueError) as error:  # unreadable, no UTF-8 or no TOML
        problems.append(Problem(f"The file {path} cannot be read: {error}.", parameter=str(path)))
        return
    for name, value in found.items():
        if name in _READERS:
            yield Entry(name, value, f"{name} in {path}")
        else:
            known = ", ".join(_READERS)
            problems.append(
                Problem(f"The file {path} has an unknown setting.", parameter=str(path), found=name, expected=known)
            )


def _sentence(problem: Problem) -> str:
    found = f" Found {problem.found}." if problem.found else ""
    return problem.detail + found + (f" Expected {problem.expected}." if problem.expected else "")


# Readers: a value of any source, as it is kept. ValueError says what is expected.


def _text(value: object) -> str:
    if not isinstance(value, str) or not value.strip() or "\0" in value:
        raise ValueError("text")
    return value


def _path(value: object) -> Path:
    if not isinstance(value, str | Path) or not str(value).strip() or "\0" in str(value):
        raise ValueError("a path")
    try:
        return Path(value).expanduser().absolute()
    except RuntimeError:
        raise ValueError("a path whose user is known") from None


def _number(value: object, *, at_least: int, at_most: int) -> int:
    text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
    if not re.fullmatch(r"[0-9]{1,9}", text) or not at_least <= int(text) <= at_most:
        raise ValueError(f"a whole number from {at_least} to {at_most}")
    return int(text)


def _choice(value: object, *, of: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value.lower() not in of:
        raise ValueError(f"one of {', '.join(of)}")
    return value.lower()


def _account(value: object) -> str:
    if not isinstance(value, str) or not ACCOUNT_NAME.fullmatch(value):
        raise ValueError("an account's name: up to 63 of a-z, 0-9, _ and -, beginning with a letter or digit")
    return value


def _accounts(value: object) -> tuple[str, ...]:
    items = value if isinstance(value, list) else str(value).split(",") if isinstance(value, str) else [None]
    return tuple(_account(item.strip() if isinstance(item, str) else item) for item in items)


def _database_url(value: object) -> str:
    text = _text(value)
    if not text.startswith(("postgresql://", "postgres://")) and "=" not in text:
        raise ValueError("postgresql://user@host/database, or key=value pairs")
    return text


def _web_url(value: object) -> str:
    text = _text(value)
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError("http://host:port or https://host")
    return text.rstrip("/")


_SENDER = re.compile(r"""[^\s<>@,;"]+@[^\s<>@,;"]+|[^<>@,;"]*<[^\s<>@,;"]+@[^\s<>@,;"]+>""")


def _sender(value: object) -> str:
    """An address, or a name and an address; nothing that could end a header."""
    text = _text(value).strip()
    if "=?" in text or not text.isprintable() or not _SENDER.fullmatch(text):
        raise ValueError("ledger@example.com, or Ledger <ledger@example.com>")
    return text


def _issuer(value: object) -> str:
    """What it is told is believed, so it must be who it is: TLS, but on this machine."""
    text = _web_url(value)
    if urlsplit(text).scheme != "https" and urlsplit(text).hostname not in ("localhost", "127.0.0.1", "::1"):
        raise ValueError("https://host, as the provider calls itself")
    return text


def _file_content(value: object) -> str:
    """A secret that stands in a file of its own."""
    path = _path(value)
    try:
        return _text(path.read_bytes().decode().strip())
    except (OSError, ValueError):
        raise ValueError("the path of a file that can be read and holds the secret") from None


FROM_FILES = ("smtp_password", "oidc_client_secret")
"""Secrets that may stand in a file: the setting with _file behind its name."""

_READERS: dict[str, Callable[[object], object]] = {
    "home": _path,
    "database_url": _database_url,
    "owner_url": _database_url,
    "account": _account,
    "host": _text,
    "port": partial(_number, at_least=0, at_most=65_535),  # 0: any free port
    "pool_size_max": partial(_number, at_least=1, at_most=1_000),
    "log_key": _text,
    "log_key_file": _path,
    "log_heads": _path,
    "witness_policy": _path,
    "anchor_folder": _path,
    "public_logs": lambda value: _accounts(value),
    "log_level": partial(_choice, of=LOG_LEVELS),
    "log_format": partial(_choice, of=LOG_FORMATS),
    "erasure_list": _path,
    "url": _web_url,
    "token": _text,
    "base_url": _web_url,
    "smtp_host": _text,
    "smtp_port": partial(_number, at_least=1, at_most=65_535),
    "smtp_security": partial(_choice, of=("starttls", "tls", "none")),
    "smtp_user": _text,
    "smtp_password": _text,
    "smtp_password_file": _file_content,
    "smtp_from": _sender,
    "mail_report_bytes_max": partial(_number, at_least=0, at_most=100_000_000),
    "mails_per_minute": partial(_number, at_least=1, at_most=1_000_000),
    "oidc_issuer": _issuer,
    "oidc_client_id": _text,
    "oidc_client_secret": _text,
    "oidc_client_secret_file": _file_content,
    "oidc_email": partial(_choice, of=("verified", "any")),
    "webhook_private": partial(_choice, of=("refuse", "allow")),
}

SECRETS = frozenset(field.name for field in fields(Settings) if not field.repr)
