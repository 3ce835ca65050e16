"""What the projections' tests share: a history to project, and the rows that came of it, whole."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg

import bootstrap
from ledger.domain.operation import App, Operation, Saved, User
from ledger.service import AccountLedger
from ledger.undo.refusals import UndoRefused
from ledger.undo.request import UndoRequest
from projections.runner import project_once
from tests.examples import ndjson

TABLES = ("tracker", "tracker_types", "tracker_values", "run_changes", "change_blocks", "records", "activity_daily")
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def project(ledger: AccountLedger, **options: Any) -> int:
    return project_once(ledger.store.recorder.database, ledger.account_id, **options)


def rows_of(owner_url: str, account_id: UUID, *, generations: dict[str, int] | None = None) -> dict[str, list[str]]:
    """Every row of every table as text, sorted, without its generation; all generations, or those given by table."""
    found = {}
    with psycopg.connect(owner_url) as connection:
        for table in TABLES:
            query = (
                f"SELECT (to_jsonb(t) - 'generation')::text FROM {table} t"
                " WHERE account_id = %s AND (%s::int IS NULL OR generation = %s)"
            )
            generation = (generations or {}).get(table)
            parameters = (account_id, generation, generation)
            found[table] = sorted(row[0] for row in connection.execute(query, parameters))
    return found


def record_history(ledger: AccountLedger, *, runs: int = 40, seed: int = 1, with_undos: bool = False) -> None:
    """Runs of every kind with changes of every kind: previews, recipes with children, failures, running ones; today,
    some of them are undone."""
    source = random.Random(seed)
    recipes: list[str] = []
    for number in range(runs):
        recipe = source.choice(recipes) if recipes and source.random() < 0.3 else None
        kind = "recipe" if recipe is None and source.random() < 0.15 else "run"
        operation = Operation(
            kind=kind,  # type: ignore[arg-type]
            mode="preview" if source.random() < 0.2 and kind == "run" else "update",
            trigger=source.choice(("manual", "automated")),
            app=source.choice((None, App("HubSpot", "1"), App("Salesforce"))),
            module=source.choice((None, "format", "merge")),
            object_type=source.choice(("contact", "company", "Déal")),
            template=source.choice((None, Saved(name="Tidy Phones"), Saved(name="tidy names"), Saved(id="t-9"))),
            user=source.choice((None, User(name="Ann"), User(email="bo@example.com"))),
            recipe=Saved(name="Weekly") if kind == "recipe" else None,
            recipe_run_id=recipe,
        )
        started_at = BEGAN + timedelta(hours=source.randrange(200))
        run_id = f"{source.choice('ab')}{number:03}"
        ledger.start_run(operation, run_id=run_id, started_at=started_at)
        if kind == "recipe":
            recipes.append(run_id)
        else:
            for _ in range(source.randrange(3)):
                ledger.record_changes(run_id, [_some_changes(source)])
        _end(ledger, source, run_id, started_at)
    if with_undos:
        _undo_some(ledger, source)


def _undo_some(ledger: AccountLedger, source: random.Random) -> None:
    """Runs and recipes are undone, some undos undone again, some left as they are begun."""
    undos = bootstrap.Services(ledger.store.recorder.database).undo(ledger.account_id)
    ended = [run_id for run_id in _run_ids(ledger) if ledger.store.load_run(run_id).status != "running"]
    for run_id in source.sample(ended, min(8, len(ended))):
        try:
            undo_id, _ = undos.begin(UndoRequest((run_id,)))
        except UndoRefused:
            continue
        if source.random() < 0.8:
            undos.carry_on(undo_id)
            if source.random() < 0.3:
                undos.undo(UndoRequest((undo_id,)))


def _run_ids(ledger: AccountLedger) -> list[str]:
    events = ledger.store.recorder.read_after(0, limit=100_000)
    return [event.run_id for event in events if event.topic == "run-started"]


def _some_changes(source: random.Random) -> bytes:
    lines: list[dict[str, Any]] = []
    for _ in range(source.randrange(1, 12)):
        record_id, number = str(source.randrange(30)), source.randrange(100)
        lines.append(
            source.choice(
                (
                    {"action": "create", "record_id": record_id, "after": {"name": number}, "label": f"label {number}"},
                    {"action": "update", "record_id": record_id, "before": {"a": 1, "b": 2}, "after": {"a": number}},
                    {"action": "delete", "record_id": record_id, "before": {"name": "x"}},
                    {"action": "none", "record_id": record_id, "object_type": "ticket"},
                    {"action": "merge", "record_id": record_id, "after": {"weird \0 name": None}},
                    {"action": "update", "result": "failed", "message": "refused", "after": {"a": 1}},
                )
            )
        )
    return ndjson(lines)


def _end(ledger: AccountLedger, source: random.Random, run_id: str, started_at: datetime) -> None:
    finished_at = started_at + timedelta(seconds=source.randrange(5_000))
    ending = source.random()
    if ending < 0.7:
        ledger.finish_run(run_id, finished_at=finished_at)
    elif ending < 0.85:
        ledger.fail_run(run_id, "quota", "The quota is used up.", finished_at=finished_at)
