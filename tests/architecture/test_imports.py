"""The arrows between the packages, and each third-party package's home: docs/architecture.md as two tables."""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

import pytest

from tests.architecture.imports import (
    MODULES,
    PACKAGES,
    ROOT_FOLDER,
    Import,
    lies_in,
    module_name,
    read_imports,
    source_files,
)

OURS = (*PACKAGES, *MODULES)

ARROWS = {
    "ledger": {"ledger"},
    "projections": {"projections", "ledger"},
    "migrations": {"migrations", "ledger.errors"},
    "bootstrap": {"ledger", "projections", "migrations"},
    "api": {"api", "bootstrap", "ledger", "projections"},
    "cli": {"cli", "bootstrap", "ledger", "projections", "migrations"},
}
"""Which of our packages each of them may import."""

LAZY_ARROWS = {"cli.serving": {"api"}}
"""What may be imported inside a function only: `ledger serve` needs the API, `ledger --help` must not wait for it."""

DOMAIN = {"ledger.domain", "ledger.errors", "eventsourcing.domain"}
"""All that the domain may import besides the standard library."""

HOMES = {
    "click": {r"cli\b"},
    "duckdb": {r"projections\.analytics\.duck$"},
    "eventsourcing": {r"ledger\.(domain|store|service|importing|integrity)\b", r"bootstrap$"},
    "cryptography": {r"ledger\.integrity\b"},
    "authlib": {r"api\.open_id$"},
    "joserfc": {r"api\.open_id$"},
    "requests": {r"api\.open_id$"},
    "flask": {r"api\b"},
    "flask_smorest": {r"api\b"},
    "werkzeug": {r"api\b"},
    "jinja2": {r"api\b"},
    "markupsafe": {r"api\b"},
    "marshmallow": {r"ledger\.wire\b", r"api\b"},
    "apispec": {r"api\b"},
    "webargs": {r"api\b"},
    "msgspec": {r"ledger\b", r"projections\b", r"api\b", r"cli\b"},
    "prometheus_client": {r"api\b"},
    "psycopg": {
        r"ledger\.store\b",
        r"ledger\.integrity\.(entries|guards|tree|cosignatures|states|verifying)$",  # the log's own tables, leaves
        r"ledger\.postgresql\b",
        r"ledger\.connectors\b",
        r"ledger\.conformance\.postgres_world$",  # builds the tables that scenarios are played on
        r"projections\..*\bpostgres$",
        r"projections\.runner$",  # listens for NOTIFY and tells a lost connection from a fault
        r"migrations\b",
        r"bootstrap$",
        r"demo\.bad_run$",  # the application whose table is captured
    },
    "psycopg_pool": {r"ledger\.store\b", r"bootstrap$"},
    "python_calamine": {r"projections\.reports\b"},
    "structlog": {r"api\b", r"cli\b", r"bootstrap$"},
    "waitress": {r"(api|cli)\.serv"},
    "xlsxwriter": {r"projections\.reports\b"},
}
"""Where each third-party package may be imported (patterns of module names); one that is not here, nowhere."""

ALL_IMPORTS = [each for path in source_files() for each in read_imports(path)]


def is_allowed(each: Import, allowed: set[str]) -> bool:
    return any(lies_in(each.imported, package) for package in allowed)


def is_ours(each: Import) -> bool:
    return each.imported.split(".")[0] in OURS


def is_standard(each: Import) -> bool:
    return each.imported.split(".")[0] in sys.stdlib_module_names


def shown(found: list[Import]) -> str:
    return "\n".join(f"{each.importer}:{each.line} imports {each.imported}" for each in found)


@pytest.mark.parametrize("package", OURS)
def test_arrows_between_packages(package: str) -> None:
    wrong = [
        each
        for each in ALL_IMPORTS
        if lies_in(each.importer, package)
        and is_ours(each)
        and not is_allowed(each, ARROWS[package])
        and not (each.is_lazy and is_allowed(each, LAZY_ARROWS.get(each.importer, set())))
    ]
    assert not wrong, f"{package} may import {sorted(ARROWS[package])}:\n{shown(wrong)}"


def test_domain_is_pure() -> None:
    in_domain = [each for each in ALL_IMPORTS if lies_in(each.importer, "ledger.domain")]
    wrong = [each for each in in_domain if not is_standard(each) and not is_allowed(each, DOMAIN)]
    assert not wrong, f"the domain may import {sorted(DOMAIN)}:\n{shown(wrong)}"


def test_third_party_packages_stay_in_their_homes() -> None:
    foreign = [each for each in ALL_IMPORTS if not is_ours(each) and not is_standard(each)]
    wrong = [
        each
        for each in foreign
        if not any(re.match(home, each.importer) for home in HOMES.get(each.imported.split(".")[0], ()))
    ]
    assert not wrong, f"not the home of what they import:\n{shown(wrong)}"


def test_settings_need_the_standard_library_alone() -> None:
    found = {each.imported for each in ALL_IMPORTS if each.importer == "ledger.settings" and not is_standard(each)}
    assert all(lies_in(name, "ledger.errors") for name in found)


@pytest.mark.parametrize("path", [path for path in source_files() if path.name == "__init__.py"], ids=module_name)
def test_package_file_holds_a_docstring_and_nothing_else(path: Path) -> None:
    tree = ast.parse(path.read_bytes())
    assert ast.get_docstring(tree), f"{path.relative_to(ROOT_FOLDER)} has no docstring"
    assert len(tree.body) == 1, f"{path.relative_to(ROOT_FOLDER)} holds more than a docstring"


@pytest.mark.parametrize(
    "folder", sorted({path.parent for path in source_files() if path.parent != ROOT_FOLDER}), ids=lambda each: each.name
)
def test_folder_with_modules_is_a_package(folder: Path) -> None:
    assert (folder / "__init__.py").exists(), f"{folder.relative_to(ROOT_FOLDER)} has no __init__.py"
