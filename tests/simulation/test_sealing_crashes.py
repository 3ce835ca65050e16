"""Sealers that die: at every step in turn, with the step lost or done but its answer lost, and by kill -9 at chance
moments. Whatever was ever signed is over events that are there, and no size has two roots."""

from __future__ import annotations

import random
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import Connection

from ledger.embedded import DatabaseUrls
from ledger.integrity.checkpoint import Checkpoint, parse_checkpoint
from ledger.integrity.keys import write_keys
from ledger.integrity.note import Note, parse_note
from ledger.integrity.sealing import AccountSealer
from ledger.integrity.signed_heads import SignedHeads
from ledger.store.database import Database
from tests.command import Command
from tests.examples import a_change, a_ledger, opened, record
from tests.sealed import ACCOUNT, check_heads, checkpoints, new_signing

STEPS_MAX = 40


class Died(BaseException):
    """Nobody catches it: the process is gone."""


class Fate:
    """Lets so many steps pass; then the process dies, before the next step or after it."""

    def __init__(self, steps: int, *, is_done: bool) -> None:
        self.left = steps
        self.is_done = is_done

    @contextmanager
    def step(self) -> Iterator[None]:
        self.left -= 1
        if self.left == -1 and not self.is_done:
            raise Died
        yield
        if self.left == -1:
            raise Died


class DyingDatabase:
    """A database whose transactions are steps."""

    def __init__(self, database: Database, fate: Fate) -> None:
        self._database = database
        self._fate = fate

    @contextmanager
    def transaction(self, account_id: UUID) -> Iterator[Connection[Any]]:
        """Lost: the commit did not happen. Done: it did, and the answer is lost."""
        with self._fate.step(), self._database.transaction(account_id) as connection:
            yield connection
            if self._fate.left == 0 and not self._fate.is_done:
                self._fate.left = -1
                raise Died


class DyingHeads(SignedHeads):
    """Writing a head is a step. Remembers whatever was signed."""

    def __init__(self, heads: SignedHeads, fate: Fate, signed: list[Checkpoint]) -> None:
        super().__init__(heads.folder, heads.keys)
        self._fate = fate
        self._signed = signed

    def write(self, account_id: UUID, note: Note) -> None:
        self._signed.append(parse_checkpoint(note.text))
        with self._fate.step():
            super().write(account_id, note)


@pytest.mark.parametrize("is_done", [False, True], ids=["lost", "done"])
def test_sealer_that_dies_at_any_step_leaves_one_tree(database: DatabaseUrls, tmp_path: Path, is_done: bool) -> None:
    heads = new_signing(tmp_path)
    signed: list[Checkpoint] = []
    deaths = 0
    with a_ledger(database.service_url) as ledger, opened(database.service_url) as store:
        for steps in range(STEPS_MAX):
            record(ledger, f"r-{steps}", [a_change(number) for number in range(40)])
            fate = Fate(steps, is_done=is_done)
            dying: Any = DyingDatabase(store, fate)
            try:
                AccountSealer(dying, ACCOUNT, "default", DyingHeads(heads, fate, signed)).seal()
            except Died:
                deaths += 1
            if steps % 3 == 0:  # now and then somebody else comes by
                AccountSealer(store, ACCOUNT, "default", DyingHeads(heads, Fate(10**6, is_done=False), signed)).seal()
            if fate.left > 0:
                break
        newest = AccountSealer(store, ACCOUNT, "default", heads).seal()
    assert deaths >= 6
    assert fate.left > 0, "the last one lived"
    found = checkpoints(database.owner_url, heads.keys)
    assert found[-1] == newest
    assert {each.size for each in found} <= {each.size for each in [*signed, newest] if each is not None}
    check_heads(database.owner_url, [*signed, *found])


@pytest.mark.parametrize("kills", [4, pytest.param(100, marks=pytest.mark.long)])
def test_sealers_that_are_killed_leave_one_tree(database: DatabaseUrls, tmp_path: Path, kills: int, seed: int) -> None:
    chance = random.Random(seed)
    heads = new_signing(tmp_path)
    write_keys(tmp_path / "log.key", heads.keys)
    command = Command(urls=database)
    command.environment = {**command.environment, "LEDGER_LOG_KEY_FILE": str(tmp_path / "log.key")}
    seen: list[Checkpoint] = []
    with a_ledger(database.service_url) as ledger, psycopg.connect(database.owner_url, autocommit=True) as connection:
        sealers: list[subprocess.Popen[bytes]] = []
        try:
            for number in range(kills):
                sealers += [command.start("-q", "seal", "--follow") for _ in range(2 - len(sealers))]
                before = _sealed(connection)
                for batch in range(chance.randrange(1, 4)):
                    record(ledger, f"r-{number}-{batch}", [a_change(each) for each in range(chance.randrange(200))])
                if number % 2 == 0:
                    _wait_until_sealed_past(connection, before)
                time.sleep(chance.uniform(0, 0.05))  # the moment of death, by chance
                victim = sealers.pop(chance.randrange(len(sealers)))
                victim.kill()
                victim.wait()
                seen += _heads(tmp_path / "log-heads")
        finally:
            for sealer in sealers:
                sealer.kill()
                sealer.wait()
        newest = AccountSealer(ledger.store.recorder.database, ACCOUNT, "default", heads).seal()
    found = checkpoints(database.owner_url, heads.keys)
    assert found[-1] == newest, f"seed {seed}"
    assert len(found) > kills // 2, f"seed {seed}"
    check_heads(database.owner_url, [*seen, *found])


def _sealed(connection: Connection[Any]) -> int:
    row = connection.execute("SELECT coalesce(max(size), 0) FROM log_checkpoints").fetchone()
    assert row is not None
    return int(row[0])


def _wait_until_sealed_past(connection: Connection[Any], size: int) -> None:
    deadline = time.monotonic() + 60
    while _sealed(connection) <= size:
        assert time.monotonic() < deadline, "nobody seals"
        time.sleep(0.01)


def _heads(folder: Path) -> list[Checkpoint]:
    return [parse_checkpoint(parse_note(path.read_bytes()).text) for path in folder.glob("*.checkpoint")]
