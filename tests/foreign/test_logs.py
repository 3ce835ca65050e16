"""Trees, tiles, checkpoints and proofs are to others what they are to us, at the sizes where a tree changes shape."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from ledger.integrity.note import SigningKey
from tests.foreign.log_folder import LogFolder
from tests.foreign.questions import Answers, Questions, broken_questions, good_questions, our_answers
from tests.foreign.verifiers import ask_aics, ask_go, ask_sigstore, build_go, needs_aics, needs_go, needs_sigstore

SIZES = [0, 1, 2, 255, 256, 257, 65_535, 65_536, 65_537]
MILLION = 1_000_000
NAME = "ledger.example/log/made-up"
SEED = int(os.environ.get("LEDGER_TEST_SEED", "20261128"))


class Asked(NamedTuple):
    """A log, questions about it with their file, and what we answer."""

    log: LogFolder
    good: Questions
    broken: Questions
    file: Path
    expected: Answers


def _ask_about(folder: Path, sizes: list[int]) -> Asked:
    print(f"LEDGER_TEST_SEED={SEED}")
    chance = random.Random(SEED)
    key = SigningKey(NAME, chance.randbytes(32))
    log = LogFolder(folder / "log", key, sizes, chance)
    good = good_questions(log, sizes, chance)
    broken = broken_questions(good, key, chance)
    all_of_them = Questions(good.key, good.inclusion + broken.inclusion, good.consistency + broken.consistency)
    asked = all_of_them.ask(*((log.folder, log.note(size)) for size in sizes))
    file = folder / "questions.json"
    file.write_text(asked, "utf-8")
    return Asked(log, good, broken, file, our_answers(asked) | {"logs": [True] * len(sizes)})


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    return _ask_about(tmp_path_factory.mktemp("logs"), SIZES)


@pytest.fixture(scope="module")
def go_driver(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_go(tmp_path_factory.mktemp("go"))


def test_our_own_answers_tell_good_from_broken(asked: Asked) -> None:
    for kind, good in (("inclusion", asked.good.inclusion), ("consistency", asked.good.consistency)):
        answers = asked.expected[kind]
        broken = answers[len(good) :]
        assert all(answers[: len(good)])
        assert broken.count(False) > 0.9 * len(broken) > 100, kind


@needs_aics
def test_aics_tlog_agrees(asked: Asked) -> None:
    assert ask_aics(asked.file) == asked.expected


@needs_sigstore
def test_sigstore_agrees(asked: Asked) -> None:
    assert ask_sigstore(asked.file) == {"inclusion": asked.expected["inclusion"]}


@pytest.mark.long
@needs_go
def test_go_agrees(asked: Asked, go_driver: Path) -> None:
    assert ask_go(go_driver, asked.file) == asked.expected


@pytest.mark.long
@needs_aics
def test_aics_tlog_agrees_about_a_million_entries(million: Asked) -> None:
    assert ask_aics(million.file) == million.expected


@pytest.mark.long
@needs_sigstore
def test_sigstore_agrees_about_a_million_entries(million: Asked) -> None:
    assert ask_sigstore(million.file) == {"inclusion": million.expected["inclusion"]}


@pytest.mark.long
@needs_go
def test_go_agrees_about_a_million_entries(million: Asked, go_driver: Path) -> None:
    assert ask_go(go_driver, million.file) == million.expected


@needs_aics
def test_aics_tlog_refuses_altered_logs(altered: Altered) -> None:
    narrow = {"tile/0/002.p/88 longer", "tile/1/000.p/2 longer"}  # it looks at the hashes that the tree has, no further
    assert altered.accepted(ask_aics(altered.file)) == {"as it was"} | narrow


@pytest.mark.long
@needs_go
def test_go_refuses_altered_logs(altered: Altered, go_driver: Path) -> None:
    assert altered.accepted(ask_go(go_driver, altered.file)) == {"as it was"}


@pytest.fixture(scope="module")
def million(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    return _ask_about(tmp_path_factory.mktemp("million"), [257, 65_537, MILLION - 1, MILLION])


class Altered(NamedTuple):
    """Questions about copies of one log, each altered in one way."""

    file: Path
    ways: list[str]

    def accepted(self, answers: Answers) -> set[str]:
        return {way for way, is_accepted in zip(self.ways, answers["logs"], strict=True) if is_accepted}


FILES = ["tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/001", "tile/entries/002.p/88"]
ALTERATIONS: dict[str, Callable[[Path], object]] = {
    "shorter": lambda file: file.write_bytes(file.read_bytes()[:-1]),
    "longer": lambda file: file.write_bytes(file.read_bytes() + bytes(32)),
    "other": lambda file: file.write_bytes(file.read_bytes()[:-1] + bytes([file.read_bytes()[-1] ^ 1])),
    "missing": Path.unlink,
}


@pytest.fixture(scope="module")
def altered(tmp_path_factory: pytest.TempPathFactory) -> Altered:
    """A log of 600 entries as it was, then with each of its kinds of files altered in each way."""
    folder = tmp_path_factory.mktemp("altered")
    chance = random.Random(SEED)
    log = LogFolder(folder / "log", SigningKey(NAME, chance.randbytes(32)), [600], chance)
    ways = {"as it was": log.folder}
    for file in FILES:
        for way, alter in ALTERATIONS.items():
            copy = folder / str(len(ways))
            shutil.copytree(log.folder, copy)
            alter(copy / file)
            ways[f"{file} {way}"] = copy
    questions = folder / "questions.json"
    questions.write_text(
        Questions(log.key.key, [], []).ask(*((each, log.note(600)) for each in ways.values())), "utf-8"
    )
    return Altered(questions, list(ways))
