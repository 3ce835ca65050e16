"""Every `ledger …` line in the README and in docs/cli.md is one that the command understands."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from cli.main import COMMANDS, main

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```\n(.*?)^```", re.DOTALL | re.MULTILINE)


def _examples() -> Iterator[str]:
    for name in ("README.md", "docs/cli.md", "docs/operations.md"):
        for block in BLOCK.findall((ROOT / name).read_text()):
            for line in block.splitlines():
                line = line.removeprefix(".venv/bin/")
                if line.startswith("ledger "):
                    yield line


@pytest.mark.parametrize("line", sorted(set(_examples())))
def test_example_is_understood(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("facts.json").touch()
    Path("edited.csv").touch()
    Path("edited.xlsx").touch()
    words = shlex.split(line.partition(" < ")[0], comments=True)[1:]
    command: click.Command = main
    context = main.make_context("ledger", words)
    contexts = [context]
    while isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        name, found, rest = command.resolve_command(context, rest)
        assert name is not None
        assert found is not None
        command = found
        context = command.make_context(name, list(rest), parent=context)
        contexts.append(context)
    for each in reversed(contexts):
        each.close()


def test_every_command_is_in_the_docs() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    assert [name for name in COMMANDS if f"ledger {name}" not in text and f" {name} " not in text] == []
