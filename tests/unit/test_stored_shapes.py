"""Every stored shape ever: a kept sample is read as the event that it was, whatever the code looks like by now.

A sample is never edited. A new version of a shape gets a sample of its own beside it.
"""

from __future__ import annotations

import dataclasses
import json
from datetime import datetime
from pathlib import Path
from typing import Any, Literal
from uuid import UUID

import pytest
from msgspec import Raw, Struct

from ledger.domain.record import RecordEvent
from ledger.errors import IntegrityFailed
from ledger.store.mapper import LedgerEvent, to_event, to_new_event
from ledger.store.rows import EventRow
from ledger.store.shapes import SHAPES
from ledger.store.upcasts import Members, read_old_shape

SAMPLES = sorted((Path(__file__).parent / "samples").glob("*.json"))


def row_of(sample: dict[str, Any]) -> EventRow:
    columns = sample["columns"]
    return EventRow(
        columns["position"],
        UUID(columns["originator_id"]),
        columns["originator_version"],
        sample["topic"],
        columns["run_id"],
        columns["sequence"],
        datetime.fromisoformat(columns["occurred_at"]),
        datetime.fromisoformat(columns["recorded_at"]),
        sample["payload"].encode(),
    )


def facts_of(event: LedgerEvent) -> dict[str, Any]:
    """The event's members as JSON tells them."""
    members = event._asdict() if isinstance(event, RecordEvent) else vars(event)
    plain = {name: _plain(value) for name, value in members.items()}
    told: dict[str, Any] = json.loads(json.dumps(plain, default=_told))
    return told | {"type": type(event).__qualname__}


def _plain(value: Any) -> Any:
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def _told(value: Any) -> str:
    if isinstance(value, datetime):
        return value.isoformat()
    return value.decode() if isinstance(value, bytes) else str(value)


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_kept_sample_is_read_as_it_was(path: Path) -> None:
    sample = json.loads(path.read_text())
    facts = facts_of(to_event(row_of(sample)))
    came_later = {name for name in facts.keys() - sample["event"].keys() if facts[name] in (None, [])}
    assert {name: value for name, value in facts.items() if name not in came_later} == sample["event"]


@pytest.mark.parametrize("path", SAMPLES, ids=lambda path: path.stem)
def test_a_sample_of_the_present_version_is_stored_again_as_it_is(path: Path) -> None:
    sample = json.loads(path.read_text())
    if json.loads(sample["payload"]).get("v", 1) == SHAPES[sample["topic"]].VERSION:
        assert to_new_event(to_event(row_of(sample))).payload.decode() == sample["payload"]


def test_every_topic_and_version_has_a_sample() -> None:
    samples = [json.loads(path.read_text()) for path in SAMPLES]
    kept = {(sample["topic"], json.loads(sample["payload"]).get("v", 1)) for sample in samples}
    needed = {(topic, version) for topic, shape in SHAPES.items() for version in range(1, shape.VERSION + 1)}
    assert kept == needed


class GreetingShape(Struct, forbid_unknown_fields=True):
    """A shape in its third version, made for this test: `v` comes first, as in every shape but a first version."""

    VERSION = 3
    v: Literal[3]
    greeting: str
    language: str


def split_greeting(members: Members) -> Members:
    return {"greeting": members["text"], "lang": Raw(b'"en"')}


def spell_out_language(members: Members) -> Members:
    return {"greeting": members["greeting"], "language": members["lang"]}


UPCASTS = {("greeted", 1): split_greeting, ("greeted", 2): spell_out_language}


@pytest.mark.parametrize(
    "payload",
    [b'{"text":"hello"}', b'{"v":2,"greeting":"hello","lang":"en"}', b'{"v":3,"greeting":"hello","language":"en"}'],
)
def test_old_versions_are_brought_up_step_by_step(payload: bytes) -> None:
    shape = read_old_shape("greeted", payload, shapes={"greeted": GreetingShape}, upcasts=UPCASTS)
    assert shape == GreetingShape(3, "hello", "en")  # type: ignore[comparison-overlap]


def test_an_unknown_topic_is_refused() -> None:
    with pytest.raises(IntegrityFailed, match=r"unknown topic 'record-teleported'.*newer ledger"):
        read_old_shape("record-teleported", b"{}")


def test_a_newer_version_is_refused() -> None:
    with pytest.raises(IntegrityFailed, match="shape version 2; this ledger knows 1"):
        read_old_shape("run-finished", b'{"v":2,"finished_at":"2026-11-23T10:00:00Z"}')


@pytest.mark.parametrize("topic", sorted(SHAPES))
@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[]", b"null", b"\xff", b'{"v":"x"}', b'{"v":0}', b'{"stranger":1}', b'{"offset":"many"}']
)
def test_a_damaged_payload_is_refused(topic: str, payload: bytes) -> None:
    with pytest.raises(IntegrityFailed, match=f"payload of a {topic} event"):
        read_old_shape(topic, payload)


def test_an_erased_payload_is_told_apart_from_damage() -> None:
    sample = json.loads(SAMPLES[0].read_text())
    with pytest.raises(IntegrityFailed, match="position 7 was erased"):
        to_event(row_of(sample)._replace(position=7, payload=None))
