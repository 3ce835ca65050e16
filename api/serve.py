"""`ledger serve`: API, pages, projections and jobs in one process, ended cleanly by SIGTERM or SIGINT."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import Any

import structlog
from flask import Flask
from waitress import wasyncore
from waitress.channel import HTTPChannel
from waitress.server import create_server

import bootstrap
from api.app import create_app
from api.logs import configure_logs
from bootstrap import Services
from ledger.errors import Conflict
from ledger.integrity.sealing import Sealer
from ledger.integrity.signed_heads import open_signing
from ledger.settings import Settings

BODY_BYTES_MAX = 2**62
"""waitress' own limit is 1 GiB; NDJSON may be of any length."""
DRAIN_WITHIN_S = 60.0
"""How long running requests may take to end after SIGTERM."""
LOOK_S = 0.5
_log = structlog.get_logger("api.serve")


def serve(
    services: Services,
    settings: Settings,
    *,
    follow: bool = True,
    work: bool = True,
    seal: bool = True,
    verify: bool = True,
    on_ready: Callable[[str], None] = lambda _: None,
) -> None:
    """Serves until SIGTERM or SIGINT: then no new connection, what runs is finished, the follower's batch and the
    worker's jobs too.

    `on_ready` is told the URL once connections are accepted. Raises IntegrityFailed where the database is not as the
    signing key last signed it.
    """
    configure_logs(settings.log_level, settings.log_format)
    sealer = _sealer(services, settings) if seal else None
    beside_sealing = services.beside_sealing(settings) if sealer else {}
    stopping = Event()
    sockets: dict[int, Any] = {}
    server = _listen(create_app(services, settings), settings, sockets)
    bootstrap.tune_process()
    beside: dict[str, Callable[[Event], None]] = {"follower": services.follower().follow} if follow else {}
    beside |= {"worker": services.worker(settings).work} if work else {}
    beside |= {"sealer": sealer.follow} if sealer else {}
    beside |= beside_sealing
    signing = open_signing(settings) if verify else None
    beside |= {"verifier": services.continuous_verification(signing).follow} if signing else {}
    with _signals(stopping), _beside(stopping, beside):
        address = f"http://{_shown(settings.host)}:{_port(server)}"
        _log.info("serving", url=address, follow=follow, seal=sealer is not None)
        if seal and sealer is None:
            _log.warning("sealing is off: there is no signing key", next="ledger log make-key, LEDGER_LOG_KEY_FILE")
        on_ready(address)
        while not stopping.is_set():
            wasyncore.loop(timeout=LOOK_S, use_poll=True, map=sockets, count=1)
        _drain(server, sockets)
    _log.info("stopped")


def _listen(app: Flask, settings: Settings, sockets: dict[int, Any]) -> Any:
    """Raises Conflict where the address cannot be had."""
    try:
        return create_server(
            app,
            map=sockets,
            host=settings.host,
            port=settings.port,
            threads=max(2, settings.pool_size_max - 2),
            max_request_body_size=BODY_BYTES_MAX,
            ident=None,
        )
    except (OSError, ValueError) as error:
        raise Conflict(
            f"Cannot listen on {settings.host} port {settings.port}: {error}. Choose another with --host and --port."
        ) from error


def _drain(server: Any, sockets: dict[int, Any]) -> None:
    """waitress drops what runs when its loop ends, so it goes on here until no channel has a request.

    A request that has not come in whole is not waited for: nothing of it was recorded.
    """
    server.adj.connection_limit = 0  # accepts nothing more
    deadline = time.monotonic() + DRAIN_WITHIN_S
    while busy := _close_idle(sockets):
        if time.monotonic() > deadline:
            _log.warning("stopped while requests were running", requests=busy)
            break
        wasyncore.loop(timeout=0.05, use_poll=True, map=sockets, count=1)
    server.task_dispatcher.shutdown()
    server.close()


def _close_idle(sockets: dict[int, Any]) -> int:
    """Closes the connections that have no request; how many have one."""
    channels = [one for one in list(sockets.values()) if isinstance(one, HTTPChannel)]
    busy = [one for one in channels if one.requests or one.total_outbufs_len]
    for channel in channels:
        if channel not in busy:
            channel.handle_close()
    return len(busy)


def _sealer(services: Services, settings: Settings) -> Sealer | None:
    """What seals the logs; None without a signing key. Raises IntegrityFailed: see Sealer.check."""
    signing = open_signing(settings, make=True)
    if signing is None:
        return None
    sealer = services.sealer(signing)
    sealer.check()
    return sealer


@contextmanager
def _beside(stopping: Event, loops: dict[str, Callable[[Event], None]]) -> Iterator[None]:
    """What goes on beside the server, each in a thread of its own, until `stopping` is set."""
    threads = [Thread(target=loop, args=(stopping,), name=name) for name, loop in loops.items()]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stopping.set()
        for thread in threads:
            thread.join()


@contextmanager
def _signals(stopping: Event) -> Iterator[None]:
    def stop(number: int, _: object) -> None:
        _log.info("stopping", signal=signal.Signals(number).name)
        stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _shown(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _port(server: Any) -> int:
    listening = getattr(server, "effective_listen", None)
    return int(listening[0][1] if listening else server.effective_port)
