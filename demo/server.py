"""The demo's own ledger: `ledger serve` on an embedded database in a folder of the demo's."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

START_WITHIN_S = 60.0
ROLES = ("producer", "operator", "auditor", "admin")


class LedgerCommand:
    """The `ledger` command, as a user would type it, on the demo's database."""

    def __init__(self, home: Path) -> None:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LEDGER_")}
        self.environment = kept | {"LEDGER_HOME": str(home), "LEDGER_LOG_LEVEL": "warning"}
        self._program = [sys.executable, "-m", "cli.main"]

    def lines(self, *arguments: str, status: int = 0) -> Iterator[str]:
        """What the command prints, line by line. Raises SystemExit when it ends with another status."""
        with subprocess.Popen(
            [*self._program, *arguments], env=self.environment, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        ) as process:
            assert process.stdout is not None
            yield from process.stdout
        if process.returncode != status:
            raise SystemExit(f"`ledger {' '.join(arguments)}` ended with status {process.returncode}")

    def text(self, *arguments: str, status: int = 0) -> str:
        return "".join(self.lines(*arguments, status=status))

    def make_tokens(self) -> dict[str, str]:
        """One new token of each role."""
        made = {role: self.text("token", "make", role, "--name", f"demo {role}", "--json") for role in ROLES}
        return {role: json.loads(answer)["token"] for role, answer in made.items()}

    @contextmanager
    def serving(self, port: int) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
        """`ledger serve` at a port (0: any free one): its URL and its process, until the block is left."""
        url = f"http://127.0.0.1:{port or free_port()}"
        command = [*self._program, "serve", "--host", "127.0.0.1", "--port", url.rsplit(":", 1)[1]]
        process = subprocess.Popen(command, env=self.environment, start_new_session=True)
        try:
            wait_until_ready(url, process)
            yield url, process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_WITHIN_S
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise SystemExit(f"`ledger serve` ended with status {process.returncode} before it was ready")
        try:
            with urlopen(f"{url}/readyz", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise SystemExit(f"`ledger serve` was not ready within {START_WITHIN_S:g} s")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
