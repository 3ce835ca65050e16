"""What an auditor is given, an export and an evidence bundle, is checked with others' programs alone."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from base64 import b64encode
from pathlib import Path
from typing import NamedTuple
from zipfile import ZipFile

import pytest

from ledger.embedded import DatabaseUrls
from ledger.integrity.keys import write_keys
from ledger.integrity.note import format_vkey
from ledger.integrity.sealing import AccountSealer
from tests.command import ROOT, Command
from tests.examples import a_change, a_ledger, record
from tests.foreign.verifiers import ask_aics, ask_go, ask_sigstore, build_go, needs_aics, needs_go, needs_sigstore
from tests.sealed import ACCOUNT, new_signing


class Given(NamedTuple):
    """What the auditor has: yesterday's checkpoint, today's export and bundle, unpacked, and the key."""

    yesterday: Path
    export: Path
    bundle: Path
    vkey: str
    positions: list[int]


@pytest.fixture
def given(database: DatabaseUrls, tmp_path: Path) -> Given:
    signing = new_signing(tmp_path)
    write_keys(tmp_path / "log.key", signing.keys)
    command = Command(urls=database, LEDGER_LOG_KEY_FILE=tmp_path / "log.key")
    with a_ledger(database.service_url) as ledger:
        sealer = AccountSealer(ledger.store.recorder.database, ACCOUNT, "default", signing)
        record(ledger, "r-1", [a_change(number) for number in range(300)])
        sealer.seal()
        command("log", "checkpoint", "-o", tmp_path / "yesterday")
        record(ledger, "r-2", [a_change(number) for number in range(10)])
        record(ledger, "r-3", [a_change(number) for number in range(250)])
        sealer.seal()
    command("log", "export", tmp_path / "export")
    command("project", "--once")
    command("proof", "r-2", "-o", tmp_path / "bundle.zip")
    with ZipFile(tmp_path / "bundle.zip") as bundle:
        bundle.extractall(tmp_path / "bundle")
    positions = sorted(int(folder.name) for folder in (tmp_path / "bundle/events").iterdir())
    assert len(positions) == 13
    vkey = format_vkey(signing.keys.signer("default").key)
    return Given(tmp_path / "yesterday", tmp_path / "export", tmp_path / "bundle", vkey, positions)


def questions_about(given: Given, folder: Path) -> Path:
    """Every event of the bundle, as it is and with another entry; the export."""
    inclusion = []
    for position in given.positions:
        event = given.bundle / "events" / str(position)
        entry, proof = (event / "entry").read_bytes(), (event / "proof.tlog-proof").read_text("utf-8")
        for content in (entry, entry.replace(b'"position":', b'"position":1')):
            inclusion.append({"entry": b64encode(content).decode(), "proof": proof})
    checkpoint = (given.bundle / "checkpoint").read_text("utf-8")
    logs = [{"folder": str(given.export), "checkpoint": checkpoint}]
    file = folder / "questions.json"
    file.write_text(json.dumps({"vkey": given.vkey, "inclusion": inclusion, "consistency": [], "logs": logs}), "utf-8")
    return file


ANSWERS = [True, False] * 13


@needs_aics
def test_bundle_and_export_hold_for_aics_tlog(given: Given, tmp_path: Path) -> None:
    answers = ask_aics(questions_about(given, tmp_path))
    assert (answers["inclusion"], answers["logs"]) == (ANSWERS, [True])


@needs_sigstore
def test_bundle_holds_for_sigstore(given: Given, tmp_path: Path) -> None:
    assert ask_sigstore(questions_about(given, tmp_path))["inclusion"] == ANSWERS


@pytest.mark.long
@needs_go
def test_bundle_and_export_hold_for_go(given: Given, tmp_path: Path) -> None:
    (tmp_path / "go").mkdir()
    answers = ask_go(build_go(tmp_path / "go"), questions_about(given, tmp_path))
    assert (answers["inclusion"], answers["logs"]) == (ANSWERS, [True])


@needs_aics
def test_commands_in_the_documentation_prove_and_refuse(given: Given, tmp_path: Path) -> None:
    """As they stand there, with the export in the place of the address."""
    text = (ROOT / "docs/integrity.md").read_text("utf-8")
    commands = re.findall(r"^aics-tlog (verify-.*)$", text, flags=re.MULTILINE)
    assert len(commands) == 3
    (tmp_path / "log.vkey").write_text(given.vkey + "\n", "utf-8")
    entry = given.bundle / "events" / str(given.positions[4]) / "entry"
    (tmp_path / "entry").write_bytes(entry.read_bytes())
    assert [run(command, given, tmp_path) for command in commands] == [0, 0, 0]
    (tmp_path / "entry").write_bytes(entry.read_bytes() + b" ")
    tile = given.export / "tile/0/000"
    tile.write_bytes(bytes(32) + tile.read_bytes()[32:])
    assert 0 not in [run(command, given, tmp_path) for command in commands[1:]]


def run(command: str, given: Given, folder: Path) -> int:
    written = command.replace("https://ledger.example.com/v1/logs/default", str(given.export))
    arguments = shlex.split(written.replace("INDEX", str(given.positions[4] - 1)))
    return subprocess.run([sys.executable, "-m", "aics_tlog", *arguments], cwd=folder, capture_output=True).returncode
