"""The shipped undo scenarios are sound as data: they say what the format allows, and each agrees with itself.

No undo is computed here. A scenario is replayed with what its own expectations say was written; whether these are
what UNDO.md asks for is for the engines under test.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import ledger

FOLDER = Path(ledger.__file__).parent / "conformance" / "scenarios"
Json = dict[str, Any]
Records = dict[tuple[str, str], Json]

STATUSES = {"completed", "partial", "nothing_applied", "nothing_to_do", "aborted", "rejected", "interrupted"}
REFUSALS = {"already_undone", "undo_in_progress", "preview_run", "unknown_run", "before_states_expired"}
POLICIES = {"skip", "skip_record", "abort", "force", "cascade"}
CONFLICTS = {
    *{"modified_since", "record_missing", "record_merged", "already_exists", "record_skipped"},
    *{"missing_reference", "still_referenced", "unique_violation", "required_field_missing"},
}
SKIPPED = CONFLICTS | {"no_before_state", "before_state_erased", "field_missing"}
NOOP = {"already_restored", "already_absent"}
TARGET = {"new_ids", "reject", "crash_after", "lost_response", "rate_limit"}
MEMBERS = {
    "run": ({"run_id", "changes"}, {"mode", "recipe_run_id", "before_states_expired"}),
    "external": ({"changes"}, set()),
    "schema": ({"object_type"}, {"drop_field", "require_field"}),
    "erase": ({"object_type", "id", "fields"}, set()),
    "undo": (
        {"undo_id", "runs", "policy", "expect"},
        {
            *{"fields", "records", "object_types", "dry_run", "idempotency_key", "concurrent_with", "state_after"},
            "target",
        },
    ),
    "resume": ({"undo_id", "expect"}, set()),
}
SCHEMA = {"references", "unique", "required", "field_types", "system_fields"}
EXPECT = {
    *{"status", "reason", "applied", "skipped", "noop", "failed", "cascaded_runs", "order", "target_writes"},
    *{"applied_count", "replayed"},
}


def read(path: Path) -> Json:
    """A document; numbers as ("number", digits), so that 1, 1.0, "1" and true stay four values."""

    def number(digits: str) -> tuple[str, str]:
        return ("number", digits)

    document: Json = json.loads(path.read_text("utf-8"), parse_int=number, parse_float=number)
    return document


DOCUMENTS = {path.stem: read(path) for path in sorted(FOLDER.glob("*.json"))}
SCENARIOS: list[Json] = [scenario for document in DOCUMENTS.values() for scenario in document["scenarios"]]
each = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario["id"])


def steps_of(kind: str) -> Iterator[Json]:
    return (step for scenario in SCENARIOS for step in scenario["steps"] if step["step"] == kind)


def expectations() -> Iterator[Json]:
    return (step["expect"] for kind in ("undo", "resume") for step in steps_of(kind))


def reasons(member: str) -> set[str]:
    return {item["reason"] for expect in expectations() for item in expect.get(member, [])}


def test_documents_name_their_format() -> None:
    assert {document["format"] for document in DOCUMENTS.values()} == {"undo-scenarios/1"}
    assert all(set(document) == {"format", "scenarios"} for document in DOCUMENTS.values())


def test_there_are_many_scenarios_and_no_id_twice() -> None:
    assert len(SCENARIOS) >= 80
    assert [name for name, count in Counter(scenario["id"] for scenario in SCENARIOS).items() if count > 1] == []
    assert len({scenario["title"] for scenario in SCENARIOS}) == len(SCENARIOS)


def test_every_word_of_the_format_occurs() -> None:
    assert {expect["status"] for expect in expectations()} == STATUSES
    assert {expect["reason"] for expect in expectations() if "reason" in expect} == REFUSALS
    assert {step["policy"] for step in steps_of("undo")} == POLICIES
    assert reasons("skipped") == SKIPPED
    assert reasons("noop") == NOOP
    assert any(expect.get("failed") for expect in expectations())
    assert {name for expect in expectations() for name in expect} == EXPECT
    assert {name for step in steps_of("undo") for name in step.get("target", {})} == TARGET
    assert {name for scenario in SCENARIOS for kind in scenario.get("schema", {}).values() for name in kind} == SCHEMA
    for kind, (needed, optional) in MEMBERS.items():
        assert {name for step in steps_of(kind) for name in step} == needed | optional | {"step"}, kind
    changes = [change for step in steps_of("run") for change in step["changes"]]
    assert {change["op"] for change in changes} == {"create", "update", "delete"}
    assert {change["result"] for change in changes} == {"succeeded", "failed", "unmodified"}
    assert any("merged_into" in change for change in changes)
    assert any(change["op"] == "update" and change["before"] is None for change in changes)
    assert {change["op"] for step in steps_of("external") for change in step["changes"]} == {
        *{"create", "update", "delete", "merge"}
    }
    assert any("old_id" in item for expect in expectations() for item in expect.get("applied", []))


@each
def test_scenario_has_the_members_that_the_format_knows(scenario: Json) -> None:
    assert set(scenario) - {"schema"} == {"id", "title", "initial", "steps", "final"}
    for step in scenario["steps"]:
        needed, optional = MEMBERS[step["step"]]
        assert needed | {"step"} <= set(step) <= needed | optional | {"step"}
        assert set(step.get("expect", ())) <= EXPECT


@each
def test_status_agrees_with_what_is_listed(scenario: Json) -> None:
    for step in scenario["steps"]:
        expect = step.get("expect", {"status": "interrupted"})
        status = expect["status"]
        if status == "rejected":
            assert set(expect) <= {"status", "reason", "target_writes"}
            continue
        left = bool(expect.get("skipped") or expect.get("failed"))
        if status in ("completed", "nothing_to_do"):
            assert not left
        if status in ("completed", "partial"):
            assert expect.get("applied", True)
        if status in ("nothing_applied", "nothing_to_do", "aborted"):
            assert expect["applied"] == []
        if status == "partial":
            assert left
        if status == "aborted":
            assert {item["reason"] for item in expect["skipped"]} & CONFLICTS


@each
def test_order_names_writes_that_are_expected(scenario: Json) -> None:
    for step in scenario["steps"]:
        expect = step.get("expect", {})
        written = [[item["op"], item["object_type"], item["id"]] for item in expect.get("applied", [])]
        for first, second in expect.get("order", []):
            assert first in written
            assert second in written
            assert first != second


@each
def test_scenario_replays_to_its_final_records(scenario: Json) -> None:
    target = Replay(scenario)
    for step in scenario["steps"]:
        target.play(step)
        if not target.under_way and "applied" in step.get("expect", {"applied": []}):
            target.check_constraints()
    if all("applied" in step["expect"] for step in scenario["steps"] if step["step"] == "resume"):
        assert target.records == by_key(scenario["final"])
        target.check_constraints()


def by_key(records: list[Json]) -> Records:
    found = {(record["object_type"], record["id"]): without_nulls(record["fields"]) for record in records}
    assert len(found) == len(records)
    return found


def without_nulls(fields: Json) -> Json:
    return {name: value for name, value in fields.items() if value is not None}


def key_of(change: Json) -> tuple[str, str]:
    return change["object_type"], change["id"]


class Replay:
    """The target's records, moved on by the steps and by what the undos say that they wrote."""

    def __init__(self, scenario: Json) -> None:
        self.schema: Json = scenario.get("schema", {})
        self.records = by_key(scenario["initial"])
        self.required = [(kind, name) for kind in self.schema for name in self.schema[kind].get("required", [])]
        self.under_way: set[str] = set()

    def play(self, step: Json) -> None:
        getattr(self, "_" + step["step"])(step)
        for record in step.get("state_after", []):
            assert self.records.get(key_of(record)) == without_nulls(record["fields"])

    def _run(self, step: Json) -> None:
        for change in step["changes"]:
            self._check_before(change)
            if change["result"] == "succeeded" and step.get("mode") != "preview":
                self._change(change, change["after"])
            if change["result"] == "unmodified":
                assert change["before"] == change["after"]

    def _check_before(self, change: Json) -> None:
        found, before = self.records.get(key_of(change)), change["before"]
        if change["op"] == "create":
            assert before is None
            assert found is None or change["result"] != "succeeded"
            return
        assert found is not None
        if before is not None and change["op"] == "delete":
            assert found == without_nulls(before)
        elif before is not None:
            assert {name: found.get(name) for name in before} == before
            assert change["result"] == "unmodified" or change["after"] != before

    def _change(self, change: Json, values: Json | None) -> None:
        if change["op"] == "create":
            assert key_of(change) not in self.records
            self.records[key_of(change)] = without_nulls(values or {})
        elif change["op"] == "update":
            self.records[key_of(change)] = without_nulls(self.records[key_of(change)] | (values or {}))
        else:
            del self.records[key_of(change)]

    def _external(self, step: Json) -> None:
        for change in step["changes"]:
            if change["op"] == "merge":
                assert (change["object_type"], change["winner"]) in self.records
                del self.records[change["object_type"], change["loser"]]
            else:
                self._change(change, change.get("set", change.get("fields")))

    def _schema(self, step: Json) -> None:
        if "require_field" in step:
            self.required.append((step["object_type"], step["require_field"]))
        if "drop_field" in step:
            for (object_type, _), fields in self.records.items():
                if object_type == step["object_type"]:
                    fields.pop(step["drop_field"], None)
            self.required = [each for each in self.required if each != (step["object_type"], step["drop_field"])]
        self.check_constraints()

    def _erase(self, step: Json) -> None:
        for name in step["fields"]:
            self.records.get(key_of(step), {}).pop(name, None)

    def _undo(self, step: Json) -> None:
        expect = step["expect"]
        if step.get("dry_run") or expect.get("replayed") or expect["status"] in ("rejected", "aborted"):
            return
        if expect["status"] == "interrupted":
            self.under_way.add(step["undo_id"])
            self.records |= by_key(step.get("state_after", []))
            return
        for item in expect["applied"]:
            self._check_written(item)
            self._change(item, item.get("fields"))

    def _check_written(self, item: Json) -> None:
        """Nothing is written that the target holds already."""
        if item["op"] == "update":
            fields = self.records[key_of(item)]
            assert all(fields.get(name) != value for name, value in item["fields"].items()), item

    def _resume(self, step: Json) -> None:
        """Some of what was written may be there since before the interruption."""
        self.under_way.remove(step["undo_id"])
        for item in step["expect"].get("applied", []):
            if item["op"] == "delete":
                self.records.pop(key_of(item), None)
            else:
                held = self.records.get(key_of(item), {}) if item["op"] == "update" else {}
                self.records[key_of(item)] = without_nulls(held | item["fields"])

    def check_constraints(self) -> None:
        for (object_type, record_id), fields in self.records.items():
            rules = self.schema.get(object_type, {})
            for name, other in rules.get("references", {}).items():
                assert name not in fields or (other, fields[name]) in self.records, (object_type, record_id, name)
            for names in rules.get("unique", []):
                taken = [f for (kind, _), f in self.records.items() if kind == object_type and agree(f, fields, names)]
                assert len(taken) <= 1, (object_type, record_id, names)
            for kind, name in self.required:
                assert kind != object_type or name in fields, (object_type, record_id, name)


def agree(one: Json, other: Json, names: list[str]) -> bool:
    """Whether both hold the same values, none of them null, in a unique set of fields."""
    return all(name in one and one[name] == other.get(name) for name in names)
