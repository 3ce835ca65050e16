"""Programs of others that verify logs, each behind a small driver of ours, and whether they are installed here."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.foreign.questions import Answers

HERE = Path(__file__).parent
NODE_MODULES = Path(sys.prefix) / "foreign" / "node_modules"
GO = importlib.util.find_spec("go")
GO_ROOT = Path(GO.origin).parent if GO and GO.origin else None
GO_PACKAGES = "src/cmd/vendor/golang.org/x/mod/sumdb"

needs_aics = pytest.mark.skipif(
    importlib.util.find_spec("aics_tlog") is None, reason="aics-tlog is not installed: see `make foreign`"
)
needs_sigstore = pytest.mark.skipif(
    not (NODE_MODULES / "@sigstore").is_dir() or shutil.which("node") is None,
    reason="@sigstore/verify is not installed: see `make foreign` (it needs node and npm)",
)
needs_go = pytest.mark.skipif(
    GO_ROOT is None or not (GO_ROOT / GO_PACKAGES).is_dir(), reason="Go is not installed: see `make foreign-go`"
)


def ask_aics(questions: Path) -> Answers:
    return _answers([sys.executable, str(HERE / "verify_log.py"), str(questions)])


def ask_sigstore(questions: Path) -> Answers:
    driver = [str(shutil.which("node")), str(HERE / "verify_log.cjs"), str(questions)]
    return _answers(driver, NODE_PATH=str(NODE_MODULES))


def build_go(folder: Path) -> Path:
    """The driver, built in this folder with what the toolchain holds; nothing is fetched."""
    assert GO_ROOT is not None
    for package in ("note", "tlog"):
        shutil.copytree(GO_ROOT / GO_PACKAGES / package, folder / package)
    shutil.copy(HERE / "verify_log.go", folder)
    (folder / "go.mod").write_text("module foreign\n\ngo 1.25\n", "utf-8")
    built = folder / "verify_log"
    environment = {"GOROOT": str(GO_ROOT), "GOPROXY": "off", "GOTOOLCHAIN": "local", "GOFLAGS": "", "CGO_ENABLED": "0"}
    _run(
        [str(GO_ROOT / "bin" / "go"), "build", "-o", str(built), "."],
        folder,
        GOCACHE=str(folder / "cache"),
        **environment,
    )
    return built


def ask_go(built: Path, questions: Path) -> Answers:
    return _answers([str(built), str(questions)])


def _answers(arguments: list[str], **environment: str) -> Answers:
    answers: Answers = json.loads(_run(arguments, HERE, **environment))
    return answers


def _run(arguments: list[str], folder: Path, **environment: str) -> str:
    done = subprocess.run(arguments, cwd=folder, env=os.environ | environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{arguments[0]} ended with {done.returncode}:\n{done.stderr[-2000:]}"
    return done.stdout
