"""The key that signs an installation's logs, and where it is kept: in a file or the environment, never in a database.

One private key signs the logs of all accounts, each under an origin of its own: the key's name, a slash and the
account's name. The key text has one line a key: first the private one that signs, then the public ones that it took
over from.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import dataclass
from pathlib import Path

from ledger.errors import Conflict, InputError, Unavailable
from ledger.integrity.note import (
    ED25519,
    Key,
    SigningKey,
    format_skey,
    format_vkey,
    make_signing_key,
    parse_skey,
    parse_vkey,
    sign_note,
)


@dataclass(frozen=True, slots=True)
class LogKeys:
    """What signs an installation's logs now, and what signed them before."""

    signing: SigningKey
    retired: tuple[Key, ...] = ()

    def origin(self, account: str) -> str:
        """The first line of the account's checkpoints, and the name of its key."""
        return f"{self.signing.name}/{account}"

    def signer(self, account: str) -> SigningKey:
        """The key as it signs the account's log."""
        return SigningKey(self.origin(account), self.signing.seed)

    def trusted(self, account: str) -> list[Key]:
        """The account's public keys, the present one first."""
        retired = [key._replace(name=f"{key.name}/{account}") for key in self.retired]
        return [self.signer(account).key, *retired]


def make_log_keys(name: str | None = None) -> LogKeys:
    """A new key. `name`: best a URL without its scheme that the log can be found under; without one, one of chance."""
    key = make_signing_key(name or f"audit-ledger-{secrets.token_hex(6)}")
    if key.name.startswith("/") or key.name.endswith("/"):
        raise InputError(f"The log's name is {name!r}. Expected no slashes at its ends, as in ledger.example.com/log.")
    return LogKeys(key)


def rotate(keys: LogKeys) -> LogKeys:
    """A new key in the place of the present one, which stays known."""
    return LogKeys(make_signing_key(keys.signing.name), (keys.signing.key, *keys.retired))


def endorse(before: LogKeys, after: LogKeys) -> str:
    """The note by which the old key names the new one, signed by both: who trusts the old one can go on from it."""
    text = f"audit-ledger/key-rotation/v1\n{format_vkey(before.signing.key)}\n{format_vkey(after.signing.key)}\n"
    return sign_note(text, [before.signing, after.signing]).format()


def format_keys(keys: LogKeys) -> str:
    """The key text."""
    return "".join(line + "\n" for line in (format_skey(keys.signing), *map(format_vkey, keys.retired)))


def parse_keys(text: str) -> LogKeys:
    """The inverse of format_keys; empty lines and lines that begin with # are passed over. Raises InputError."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise InputError("The signing key is empty. Make one with `ledger log make-key`.")
    signing, retired = parse_skey(lines[0]), tuple(map(parse_vkey, lines[1:]))
    if signing.algorithm != ED25519:
        raise InputError("The signing key is a witness's. Expected an Ed25519 key, as from `ledger log make-key`.")
    return LogKeys(signing, retired)


def read_keys(path: Path) -> LogKeys:
    """The keys in a file. Raises InputError, Unavailable where it cannot be read."""
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"The signing key in {path} cannot be read: {error}.") from error
    try:
        return parse_keys(text)
    except InputError as error:
        raise InputError(f"{path}: {error.message}") from error


def write_keys(path: Path, keys: LogKeys, *, replace: bool = False) -> None:
    """Writes the key file whole or not at all. Raises Conflict where there is one."""
    try:
        write_durably(path, format_keys(keys).encode(), replace=replace)
    except FileExistsError as error:
        raise Conflict(
            f"There is a signing key in {path} already. `ledger log rotate-key` puts a new one in its place."
        ) from error
    except OSError as error:
        raise Unavailable(f"The signing key cannot be written to {path}: {error}.") from error


def write_durably(path: Path, content: bytes, *, replace: bool = True) -> None:
    """Puts a file there, readable by its owner only: after a crash it is there whole or not at all (with `replace`, the
    one before is), and once this returned, it is there. Raises FileExistsError, OSError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        if replace:
            part.replace(path)
        else:
            path.hardlink_to(part)
    finally:
        part.unlink(missing_ok=True)
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
