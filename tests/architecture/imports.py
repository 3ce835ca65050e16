"""Reads which modules each source file imports, wherever in the file the import stands."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT_FOLDER = Path(__file__).parents[2]
PACKAGES = ("ledger", "projections", "api", "cli", "migrations")
MODULES = ("bootstrap",)


@dataclass(frozen=True, slots=True, order=True)
class Import:
    """That `importer` (a dotted module) imports `imported` (a dotted module or a name in one)."""

    importer: str
    imported: str
    line: int
    is_lazy: bool
    """Inside a function, so it happens only when that is called."""


def source_files() -> Iterator[Path]:
    """The product's Python files: no tests, benchmarks or demo."""
    for package in PACKAGES:
        yield from sorted((ROOT_FOLDER / package).rglob("*.py"))
    yield from (ROOT_FOLDER / f"{module}.py" for module in MODULES)


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT_FOLDER).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def read_imports(path: Path) -> list[Import]:
    """Every import of a file; `from a.b import c` counts as a.b.c, which lies in a.b too."""
    return sorted(_imports_below(ast.parse(path.read_bytes()), module_name(path), is_lazy=False))


def lies_in(module: str, package: str) -> bool:
    """Whether the module is the package or something within it."""
    return module == package or module.startswith(package + ".")


def _imports_below(node: ast.AST, importer: str, *, is_lazy: bool) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        match child:
            case ast.Import():
                for alias in child.names:
                    yield Import(importer, alias.name, child.lineno, is_lazy)
            case ast.ImportFrom(level=0, module=str(module)):
                for alias in child.names:
                    yield Import(importer, f"{module}.{alias.name}", child.lineno, is_lazy)
            case ast.ImportFrom():
                raise AssertionError(f"{importer}:{child.lineno} imports relatively; write the whole name")
            case _:
                is_function = isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
                yield from _imports_below(child, importer, is_lazy=is_lazy or is_function)
