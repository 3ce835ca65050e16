"""Addresses of pages: this one with other parameters, and where a form leads back to."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from flask import request

from ledger.errors import InputError, Problem

POSITION_DIGITS_MAX = 18


def href(path: str, parameters: Mapping[str, str | None]) -> str:
    """A path with its parameters, those without a value left out."""
    given = {name: value for name, value in parameters.items() if value}
    return path + ("?" + urlencode(given) if given else "")


def here(**changed: str | None) -> str:
    """This page with other parameters; None removes one."""
    return href(request.path, {**request.args.to_dict(), **changed})


def own_path(target: str) -> str:
    """A path of this site, `/` for anything that would lead elsewhere."""
    is_own = target.startswith("/") and not target.startswith(("//", "/\\")) and target.isprintable()
    return target if is_own else "/"


def position(name: str) -> int | None:
    """A position among the parameters. Raises InputError."""
    text = request.args.get(name, "")
    if not text:
        return None
    if not text.isascii() or not text.isdecimal() or len(text) > POSITION_DIGITS_MAX:
        problem = Problem("Not a position.", parameter=name, found=repr(text[:40]), expected="a whole number")
        raise InputError(f"{name} is not a position: found {text[:40]!r}.", problems=(problem,))
    return int(text)
