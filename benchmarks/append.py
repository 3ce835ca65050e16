"""How many changes a second are acknowledged, beside a bare COPY (the limit) and the stock recorder.

One producer, 100,000 changes of about 200 bytes, batches of 5,000, random record ids: through ledger.service, and
through HTTP to a `ledger serve` process. Each round measures all four in turn; the ratios are medians over the rounds.
The bare COPY goes into an emptied table with the columns and indexes of `events`, so each round has a database of its
own, whose log is empty too: COPY slows down as its indexes grow. How that goes on is what benchmarks/growth.py asks.

`stock` hands ready-made stored events to the stock recorder. `library` does with the stock library what the service
does with ours: a line is parsed, becomes a domain event, goes through the library's mapper and JSON transcoder.
`limit_to_stock` tells what the service could reach at most beside `stock`, were parsing and checking free.
"""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import psycopg
from eventsourcing.domain import DomainEvent
from eventsourcing.persistence import DatetimeAsISO, EventStore, JSONTranscoder, Mapper, StoredEvent
from eventsourcing.postgres import PostgresApplicationRecorder, PostgresDatastore
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from benchmarks.setting import (
    CopyLimit,
    blocks_of,
    change_lines,
    conclude,
    fresh_database,
    middle,
    new_account,
    seconds,
    services_on,
)
from bootstrap import Services
from demo.server import free_port, wait_until_ready
from ledger.domain.operation import Operation
from ledger.embedded import DatabaseUrls

CHANGES = 100_000
ROUNDS = 5
STOCK_CHANGES, STOCK_BATCH = 20_000, 1_000
GOALS = {"service": ">= 0.5", "http": ">= 0.35", "service_to_stock": ">= 5"}


def main() -> None:
    body = change_lines(CHANGES)
    print(f"{CHANGES:,} changes, {len(body) / CHANGES:.0f} bytes each, {ROUNDS} rounds", flush=True)
    with fresh_database() as urls:
        with a_round(urls, "first") as (first_urls, services, account, port, token):  # not counted
            by_service(services, account, body)
            by_http(port, token, body)
            limit, stock = CopyLimit(first_urls.owner_url, account), stock_recorder(first_urls)
        transcoder = JSONTranscoder()
        transcoder.register(DatetimeAsISO())
        library = EventStore[UUID](Mapper(transcoder), stock)
        limit.measure()
        rounds: dict[str, list[float]] = {name: [] for name in ("limit", "service", "http", "stock", "library")}
        for number in range(ROUNDS):
            with a_round(urls, f"round_{number}") as (_, services, account, port, token):
                rounds["limit"].append(limit.measure())
                rounds["service"].append(by_service(services, account, body))
                rounds["http"].append(by_http(port, token, body))
                rounds["stock"].append(by_stock(stock, body))
                rounds["library"].append(by_library(library, body))
            print("  ".join(f"{name} {rates[-1]:,.0f}/s" for name, rates in rounds.items()), flush=True)
        limit.close()
        stock.datastore.close()
    ratios = {
        "service": quotient(rounds["service"], rounds["limit"]),
        "http": quotient(rounds["http"], rounds["limit"]),
        "service_to_stock": quotient(rounds["service"], rounds["stock"]),
        "service_to_library": quotient(rounds["service"], rounds["library"]),
        "limit_to_stock": quotient(rounds["limit"], rounds["stock"]),
    }
    conclude("append", ratios, GOALS, rates={name: round(middle(rates)) for name, rates in rounds.items()})


def quotient(ones: list[float], others: list[float]) -> float:
    """The median of one over the other, round by round."""
    return middle([one / other for one, other in zip(ones, others, strict=True)])


class Round(NamedTuple):
    """What one round works on: an empty log, through the service and through a server's port."""

    urls: DatabaseUrls
    services: Services
    account: UUID
    port: int
    token: str


@contextmanager
def a_round(urls: DatabaseUrls, name: str) -> Iterator[Round]:
    """A copy of the migrated database, with nothing in it, served."""
    with psycopg.connect(urls.owner_url.replace("@/ledger?", "@/postgres?"), autocommit=True) as administrator:
        administrator.execute(sql.SQL("CREATE DATABASE {} TEMPLATE ledger").format(sql.Identifier(name)))
    own = DatabaseUrls(*(url.replace("@/ledger?", f"@/{name}?") for url in (urls.owner_url, urls.service_url)))
    with services_on(own) as services, serving(own) as port:
        account = new_account(services, "append")
        yield Round(own, services, account, port, services.tokens(account).make("producer", "benchmark")[0])


def by_service(services: Services, account: UUID, body: bytes) -> float:
    ledger = services.ledger(account)
    run = ledger.start_run(Operation(object_type="contact")).run
    took = seconds(lambda: ledger.record_changes(run.run_id, blocks_of(body), offset=0))
    assert ledger.finish_run(run.run_id).run.accepted == CHANGES
    return CHANGES / took


def by_http(port: int, token: str, body: bytes) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    run_id = f"http-{uuid4().hex[:12]}"
    start = f'{{"run_id":"{run_id}","object_type":"contact"}}'

    def post(path: str, content: bytes, kind: str) -> bytes:
        connection.request("POST", path, content, headers | {"Content-Type": kind})
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status < 300, text
        return text

    post("/v1/runs", start.encode(), "application/json")
    changes = f"/v1/runs/{run_id}/changes?offset=0"
    took = seconds(lambda: post(changes, body, "application/x-ndjson"))
    assert f'"processed":{CHANGES}'.encode() in post(f"/v1/runs/{run_id}/finish", b"{}", "application/json").replace(
        b" ", b""
    )
    connection.close()
    return CHANGES / took


def stock_recorder(urls: DatabaseUrls) -> PostgresApplicationRecorder:
    """eventsourcing's own recorder, with its own table, in the same database."""
    parts = conninfo_to_dict(urls.owner_url)
    datastore = PostgresDatastore(
        dbname=str(parts["dbname"]), host=str(parts["host"]), port=str(parts.get("port", "5432")),
        user=str(parts["user"]), password="",
    )  # fmt: skip
    recorder = PostgresApplicationRecorder(datastore, events_table_name="stock_events")
    recorder.create_table()
    return recorder


def by_stock(recorder: PostgresApplicationRecorder, body: bytes) -> float:
    lines = body.split(b"\n")[:STOCK_CHANGES]
    events = [StoredEvent(uuid4(), 1, "record-updated", line) for line in lines]

    def insert() -> None:
        for start in range(0, len(events), STOCK_BATCH):
            recorder.insert_events(events[start : start + STOCK_BATCH])

    return len(events) / seconds(insert)


@dataclass(frozen=True)
class LineRecorded(DomainEvent):
    """A change as a domain event of the stock library."""

    TOPIC = "line-recorded"
    run_id: str
    change: dict[str, Any]


def by_library(store: EventStore[UUID], body: bytes) -> float:
    lines = body.split(b"\n")[:STOCK_CHANGES]
    now = datetime.now(UTC)

    def put() -> None:
        for start in range(0, len(lines), STOCK_BATCH):
            store.put(
                [LineRecorded(uuid4(), 1, now, "run", json.loads(line)) for line in lines[start : start + STOCK_BATCH]]
            )

    return len(lines) / seconds(put)


@contextmanager
def serving(urls: DatabaseUrls) -> Iterator[int]:
    """`ledger serve` as a process of its own, without the projections: they have a benchmark of their own."""
    port = free_port()
    environment = os.environ | {"LEDGER_DATABASE_URL": urls.service_url, "LEDGER_LOG_LEVEL": "warning"}
    command = [sys.executable, "-m", "cli.main", "serve", "--port", str(port), "--no-follow"]
    process = subprocess.Popen(command, env=environment)
    try:
        wait_until_ready(f"http://127.0.0.1:{port}", process)
        yield urlsplit(f"http://127.0.0.1:{port}").port or port
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
