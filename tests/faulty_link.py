"""A link to PostgreSQL that breaks at a commit, in both forms: the commit is lost, or done and only its answer lost."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal
from urllib.parse import parse_qs, urlsplit

Fault = Literal["lost", "lost but done"]
APPEND, COMMIT = b"COPY events", b"COMMIT"


class FaultyLink:
    """Passes bytes between psycopg and the server's socket; `break_next` says how the next append's commit ends."""

    def __init__(self, service_url: str) -> None:
        parts = urlsplit(service_url)
        query = parse_qs(parts.query)
        self._server = str(Path(query["host"][0]) / f".s.PGSQL.{query['port'][0]}")
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = (
            f"postgresql://{parts.username}@127.0.0.1:{self._listener.getsockname()[1]}{parts.path}"
            "?sslmode=disable&gssencmode=disable"
        )
        self._fault: Fault | None = None
        self.broken = 0
        """How many commits have been broken so far."""
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def break_next(self, fault: Fault) -> None:
        self._fault = fault

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                thread = threading.Thread(target=self._serve, args=(client,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, client: socket.socket) -> None:
        with client, socket.socket(socket.AF_UNIX) as server:
            server.connect(self._server)
            answers = threading.Thread(target=_pass_on, args=(server, client), daemon=True)
            answers.start()
            appends = False
            with suppress(OSError):
                while data := client.recv(1 << 16):
                    appends = appends or APPEND in data
                    fault = self._fault if appends and COMMIT in data else None
                    appends = appends and COMMIT not in data
                    if fault is not None:
                        self._fault = None
                        self.broken += 1
                        client.shutdown(socket.SHUT_RDWR)
                        if fault == "lost but done":
                            server.sendall(data)
                        break
                    server.sendall(data)
            with suppress(OSError):
                server.shutdown(socket.SHUT_WR)  # the server answers what it has, then ends the session
            answers.join()


def _pass_on(source: socket.socket, destination: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            with suppress(OSError):
                destination.sendall(data)
    with suppress(OSError):
        destination.shutdown(socket.SHUT_RDWR)


@contextmanager
def faulty_link(service_url: str) -> Iterator[FaultyLink]:
    link = FaultyLink(service_url)
    try:
        yield link
    finally:
        link.close()
