"""The pages' own files: an address that changes with the content, kept by browsers for a year, compressed once."""

from __future__ import annotations

import gzip
from functools import cache
from hashlib import sha256
from pathlib import Path

from flask import Flask, Response, request, url_for

FOLDER = Path(__file__).parent / "static"
KEPT = "public, max-age=31536000, immutable"
COMPRESSED_FROM_BYTES = 512
_COMPRESSIBLE = ("text/", "image/svg+xml")
_OF_PAGES = ("pages", "docs", "problems")


def add_assets(app: Flask) -> None:
    """Gives templates `asset`, and answers their headers and compression."""
    app.jinja_env.globals["asset"] = asset
    app.after_request(_keep_asset)
    app.after_request(_compress)


def asset(name: str) -> str:
    """The address of a file in the static folder, with its fingerprint."""
    return url_for("static", filename=name, v=fingerprint(name))


@cache
def fingerprint(name: str) -> str:
    return sha256((FOLDER / name).read_bytes()).hexdigest()[:16]


@cache
def _compressed(name: str) -> bytes:
    return gzip.compress((FOLDER / name).read_bytes(), 9, mtime=0)


def _keep_asset(response: Response) -> Response:
    if request.endpoint == "static" and response.status_code == 200:
        name = (request.view_args or {})["filename"]
        is_this = request.args.get("v") == fingerprint(name)
        response.headers["Cache-Control"] = KEPT if is_this else "no-cache"
    return response


def _compress(response: Response) -> Response:
    """Whole answers only: what is streamed stays a stream."""
    is_asset = request.endpoint == "static"
    if (
        not (is_asset or request.blueprint in _OF_PAGES)
        or response.status_code != 200
        or "Content-Encoding" in response.headers
        or not (response.mimetype or "").startswith(_COMPRESSIBLE)
        or (response.is_streamed and not is_asset)
    ):
        return response
    response.vary.add("Accept-Encoding")
    if request.accept_encodings["gzip"] <= 0:
        return response
    if is_asset:
        response.direct_passthrough = False
        response.close()
        response.set_data(_compressed((request.view_args or {})["filename"]))
    elif len(response.get_data()) >= COMPRESSED_FROM_BYTES:
        response.set_data(gzip.compress(response.get_data(), 5, mtime=0))
    else:
        return response
    response.headers["Content-Encoding"] = "gzip"
    return response
