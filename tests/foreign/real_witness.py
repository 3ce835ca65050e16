"""A witness that nobody here wrote: aics-witness, as a process of its own."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

from ledger.integrity.note import Key, format_vkey, parse_vkey

NAME = "witness.example/w1"

needs_witness = pytest.mark.skipif(
    importlib.util.find_spec("aics_witness") is None, reason="aics-witness is not installed: see `make foreign`"
)


class RealWitness:
    """Its key, configuration and database are in `folder`; it listens between start and stop, on a free port."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._config = folder / "witness.json"
        self._process: subprocess.Popen[str] | None = None
        self.url = ""
        self.key = parse_vkey(self._run("init", "--name", NAME).strip())

    def add_log(self, key: Key) -> None:
        self._run("add-log", "--origin", key.name, "--vkey", format_vkey(key))

    def evidence(self) -> str:
        """What it kept of the requests that it refused."""
        return self._run("evidence")

    def start(self) -> None:
        arguments = [*self._program("serve"), "--listen", "127.0.0.1:0"]
        self._process = subprocess.Popen(arguments, stderr=subprocess.PIPE, text=True)
        assert self._process.stderr is not None
        self.url = _address_in(self._process.stderr)

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.communicate()
            self._process = None

    def policy(self) -> bytes:
        return f"witness w1 {format_vkey(self.key)} {self.url}\nquorum w1\n".encode()

    def _run(self, *arguments: str) -> str:
        return subprocess.run(self._program(*arguments), check=True, capture_output=True, text=True).stdout

    def _program(self, command: str, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "aics_witness", command, "--config", str(self._config), *arguments]


def _address_in(lines: IO[str]) -> str:
    said = []
    for line in lines:
        said.append(line)
        if found := re.search(r"listening on (http://\S+)", line):
            return found[1]
    raise AssertionError("the witness ended: " + "".join(said))
