"""Any text as one segment of a path: `a/b`, `..`, `100%`, percent-encoded by the sender and taken apart once.

WSGI decodes the whole path before it is split, so an encoded slash would become a border. For the API the path is
therefore taken as it was sent, split, and each segment decoded by its converter.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import quote, unquote_to_bytes, urlsplit

from werkzeug.routing import BaseConverter, ValidationError

PREFIX = "/v1/"


class TextConverter(BaseConverter):
    """One segment, decoded. One that is not UTF-8 matches no path."""

    regex = "[^/]+"
    part_isolating = True

    def to_python(self, value: str) -> str:
        try:
            return unquote_to_bytes(value).decode()
        except UnicodeDecodeError:
            raise ValidationError from None

    def to_url(self, value: Any) -> str:
        return quote(quote(str(value), safe=""), safe="")


class RawPaths:
    """WSGI middleware: PATH_INFO of the API as it was sent, still encoded."""

    def __init__(self, application: Callable[..., Iterable[bytes]]) -> None:
        self._application = application

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        path = environ.get("PATH_INFO", "")
        if path.startswith(PREFIX):
            sent = environ.get("REQUEST_URI") or environ.get("RAW_URI") or quote(path.encode("latin-1"))
            raw = (urlsplit(sent).path if "://" in sent.partition("?")[0] else sent.partition("?")[0]).partition("#")[0]
            prefix = environ.get("SCRIPT_NAME", "")
            if prefix and raw.startswith(prefix):
                raw = raw[len(prefix) :]
            if raw.startswith(PREFIX):
                environ["PATH_INFO"] = raw
        return self._application(environ, start_response)
