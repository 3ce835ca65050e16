"""The `ledger` command in tests: in this process (click's runner), or as a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from click.testing import CliRunner

from cli.main import main
from ledger.embedded import DatabaseUrls

ROOT = Path(__file__).parents[1]


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    stdout: bytes
    stderr: str

    @property
    def lines(self) -> list[Any]:
        """The NDJSON on stdout; numbers as floats where they have a point."""
        return [json.loads(line) for line in self.stdout.splitlines()]

    @property
    def document(self) -> Any:
        return json.loads(self.stdout)


class Command:
    """`ledger` on one database: an embedded home, or the URLs of a shared one. `settings`: LEDGER_* variables."""

    def __init__(self, *, home: Path | None = None, urls: DatabaseUrls | None = None, **settings: object) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("LEDGER_", "COLUMNS"))}
        chosen = {"LEDGER_HOME": str(home)} if home else {}
        if urls:
            chosen |= {"LEDGER_DATABASE_URL": urls.service_url, "LEDGER_OWNER_URL": urls.owner_url}
        chosen |= {name: str(value) for name, value in settings.items()}
        self.environment: Mapping[str, str] = kept | chosen | {"XDG_CONFIG_HOME": "/nonexistent"}

    def __call__(self, *arguments: object, stdin: bytes = b"", code: int | None = 0) -> Ended:
        """Runs the command here. Fails unless it ends with `code` (None: with any)."""
        runner = CliRunner(env=dict.fromkeys(os.environ) | dict(self.environment))
        result = runner.invoke(main, [str(argument) for argument in arguments], input=stdin)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        ended = Ended(result.exit_code, result.stdout_bytes, result.stderr)
        assert code is None or ended.code == code, f"{arguments} ended with {ended.code}: {ended.stderr}"
        return ended

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[bytes]:
        """Runs the command as a process of its own."""
        return subprocess.Popen(self._program(arguments), env=dict(self.environment), cwd=ROOT, **options)

    def process(self, *arguments: object, stdin: bytes = b"") -> Ended:
        """Runs the command as a process of its own and waits for its end."""
        done = subprocess.run(
            self._program(arguments),
            env=dict(self.environment),
            cwd=ROOT,
            input=stdin,
            capture_output=True,
            check=False,
        )
        return Ended(done.returncode, done.stdout, done.stderr.decode())

    @staticmethod
    def _program(arguments: Sequence[object]) -> list[str]:
        return [sys.executable, "-m", "cli.main", *map(str, arguments)]
