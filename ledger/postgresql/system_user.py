"""Who runs the server: PostgreSQL refuses root, so root hands it to an unprivileged system user."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ledger.errors import Unavailable

NAME = "ledger-postgres"
FALLBACKS = ("postgres", "nobody")
"""Taken when root may not add users, as in some containers."""


@dataclass(frozen=True, slots=True)
class SystemUser:
    """An unprivileged user to start programs as."""

    name: str
    user_id: int
    group_id: int

    def popen_options(self) -> dict[str, Any]:
        """Arguments of `subprocess` that start a program as this user, without root's groups."""
        return {"user": self.user_id, "group": self.group_id, "extra_groups": []}

    def can_run(self, program: Path) -> bool:
        try:
            done = subprocess.run(
                [program, "--version"], capture_output=True, check=False, cwd="/", **self.popen_options()
            )
        except OSError:
            return False
        return done.returncode == 0

    def can_enter(self, folder: Path) -> bool:
        """Whether every parent folder lets this user through."""
        test = ["/bin/sh", "-c", 'cd -- "$1"', "sh", str(folder)]
        return subprocess.run(test, capture_output=True, check=False, cwd="/", **self.popen_options()).returncode == 0


def server_user() -> SystemUser | None:
    """The user to start the server as; None means: as ourselves, who are not root."""
    if os.geteuid() != 0:
        return None
    found = _look_up(NAME) or _create() or next(filter(None, map(_look_up, FALLBACKS)), None)
    if found is None:
        raise Unavailable(
            f"PostgreSQL does not run as root, and no user {NAME} could be made. Run as an ordinary user."
        )
    return found


def _look_up(name: str) -> SystemUser | None:
    try:
        entry = pwd.getpwnam(name)
    except KeyError:
        return None
    return SystemUser(name, entry.pw_uid, entry.pw_gid) if entry.pw_uid != 0 else None


def _create() -> SystemUser | None:
    program = shutil.which("useradd") or shutil.which("useradd", path="/usr/sbin:/sbin")
    if program is None:
        return None
    options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
    subprocess.run([program, *options, "--shell", "/usr/sbin/nologin", NAME], capture_output=True, check=False)
    return _look_up(NAME)  # also when another process has just made it
