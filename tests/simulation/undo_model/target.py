"""The model's target system: what it holds, how its values compare, and what its constraints say of a state.

Plain dicts. A field that is null is left out of a record: in scenarios missing and null are the same.
Two ids can lead elsewhere: `merged` (the id answers with another record) and `moved` (a recreated record got a new id).
"""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import Enum
from typing import Any

Key = tuple[str, str]
"""(object type, record id)."""
Fields = dict[str, Any]


class Lost(Enum):
    """What stands where the ledger holds no value; the value is the reason that an undo gives for it."""

    NEVER_RECORDED = "no_before_state"
    ERASED = "before_state_erased"


@dataclass
class Rules:
    """The schema of one object type."""

    references: dict[str, str] = field(default_factory=dict)
    unique: list[list[str]] = field(default_factory=list)
    required: set[str] = field(default_factory=set)
    datetimes: set[str] = field(default_factory=set)
    system: set[str] = field(default_factory=set)
    dropped: set[str] = field(default_factory=set)

    def drop(self, name: str) -> None:
        """The field is gone, and with it every constraint that names it."""
        self.dropped.add(name)
        self.references.pop(name, None)
        self.required.discard(name)
        self.unique = [names for names in self.unique if name not in names]


class Target:
    """Records by key, and the schema; `initial` and `schema` as in a scenario."""

    def __init__(self, initial: list[dict[str, Any]], schema: dict[str, Any]) -> None:
        self.records: dict[Key, Fields] = {
            (each["object_type"], each["id"]): present(each["fields"]) for each in initial
        }
        self.merged: dict[Key, Key] = {}
        self.moved: dict[Key, Key] = {}
        self._rules = {object_type: _rules(each) for object_type, each in schema.items()}

    def rules(self, object_type: str) -> Rules:
        return self._rules.setdefault(object_type, Rules())

    def resolve(self, key: Key) -> Key:
        """The id that the record has by now: records created again under a new id are followed."""
        while key in self.moved:
            key = self.moved[key]
        return key

    def is_merged(self, key: Key) -> bool:
        """Whether the id answers with another record."""
        winner = key
        while winner in self.merged:
            winner = self.merged[winner]
        return winner != key and winner in self.records

    def comparable(self, object_type: str, name: str, value: Any) -> str | None:
        """A text that is equal for equal values; None for null, missing and lost values."""
        if value is None or isinstance(value, Lost):
            return None
        rules = self.rules(object_type)
        if name in rules.references and isinstance(value, str):
            value = self.resolve((rules.references[name], value))[1]
        if name in rules.datetimes and isinstance(value, str):
            value = instant(value)
        return json.dumps(value, sort_keys=True)

    def same(self, object_type: str, name: str, one: Any, two: Any) -> bool:
        return self.comparable(object_type, name, one) == self.comparable(object_type, name, two)

    def differing(self, object_type: str, one: Fields, two: Fields) -> list[str]:
        """The fields in which two records differ, but for those that are never compared."""
        return [
            name
            for name in sorted({*one, *two})
            if self.is_compared(object_type, name) and not self.same(object_type, name, one.get(name), two.get(name))
        ]

    def is_compared(self, object_type: str, name: str) -> bool:
        """Not a field that the target keeps itself, nor one that it no longer has."""
        rules = self.rules(object_type)
        return name not in rules.system and name not in rules.dropped

    def reference(self, object_type: str, name: str, fields: Fields) -> Key | None:
        """The record that this field points to, whether there or not; None where it is no reference or null."""
        referenced_type = self.rules(object_type).references.get(name)
        value = fields.get(name)
        return None if referenced_type is None or value is None else self.resolve((referenced_type, str(value)))

    def followed(self, object_type: str, name: str, value: Any) -> Any:
        """A value as it is written: a reference points to the id that the record has by now."""
        referenced_type = self.rules(object_type).references.get(name)
        is_reference = referenced_type is not None and isinstance(value, str)
        return self.resolve((referenced_type, value))[1] if is_reference else value  # type: ignore[arg-type]

    def copied(self) -> Target:
        """The same target with records of its own."""
        twin = copy.copy(self)
        twin.records = {key: dict(fields) for key, fields in self.records.items()}
        twin.merged, twin.moved = dict(self.merged), dict(self.moved)
        return twin

    def put(self, key: Key, fields: Fields) -> None:
        """Write fields of a record that is there."""
        self.records[key] = present({**self.records[key], **fields})

    def change(self, change: dict[str, Any]) -> None:
        """Do one change: a run's (`after`), or one from outside (`set`, `fields`, `merge`)."""
        if change["op"] == "merge":
            self._merge((change["object_type"], change["loser"]), (change["object_type"], change["winner"]))
            return
        key = (change["object_type"], change["id"])
        if change["op"] == "delete":
            self.records.pop(key, None)
            if change.get("merged_into"):
                self._merge(key, (change["object_type"], change["merged_into"]))
        elif change["op"] == "create":
            self.merged.pop(key, None)
            self.records[key] = present(change["after"] if "after" in change else change["fields"])
        else:
            written = change["set"] if "set" in change else {**dict.fromkeys(change["before"] or {}), **change["after"]}
            self.records[key] = present({**self.records.get(key, {}), **written})

    def schema_change(self, step: dict[str, Any]) -> None:
        rules = self.rules(step["object_type"])
        if "require_field" in step:
            rules.required.add(step["require_field"])
            return
        rules.drop(step["drop_field"])
        for (object_type, _), fields in self.records.items():
            if object_type == step["object_type"]:
                fields.pop(step["drop_field"], None)

    def listing(self) -> list[dict[str, Any]]:
        """All live records, in the format of `final`."""
        return [
            {"object_type": object_type, "id": record_id, "fields": dict(fields)}
            for (object_type, record_id), fields in sorted(self.records.items())
        ]

    def violations(self) -> list[tuple[str, Key, str]]:
        """(constraint, record, field or fields) for everything that the records as they are now violate."""
        found: list[tuple[str, Key, str]] = []
        holders: dict[tuple[str, str, str], Key] = {}
        for key, fields in sorted(self.records.items()):
            rules = self.rules(key[0])
            found += [("required", key, name) for name in sorted(rules.required) if fields.get(name) is None]
            for name in rules.references:
                referenced = self.reference(key[0], name, fields)
                if referenced and referenced not in self.records:
                    found.append(("references", key, name))
            for names in rules.unique:
                value = self.unique_value(key[0], names, fields)
                if value and holders.setdefault((key[0], "+".join(names), value), key) != key:
                    found.append(("unique", key, "+".join(names)))
        return found

    def unique_value(self, object_type: str, names: list[str], fields: Fields) -> str | None:
        """A text equal for records that clash in these fields; None if one is null, for then nothing clashes."""
        values = [self.comparable(object_type, name, fields.get(name)) for name in names]
        return None if None in values else json.dumps(values)

    def _merge(self, loser: Key, winner: Key) -> None:
        self.records.pop(loser, None)
        self.merged[loser] = winner


def present(fields: Fields) -> Fields:
    """The fields that hold something."""
    return {name: value for name, value in fields.items() if value is not None}


def _rules(schema: dict[str, Any]) -> Rules:
    return Rules(
        references=dict(schema.get("references", {})),
        unique=[list(names) for names in schema.get("unique", [])],
        required=set(schema.get("required", [])),
        datetimes={name for name, kind in schema.get("field_types", {}).items() if kind == "datetime"},
        system=set(schema.get("system_fields", [])),
    )


def instant(text: str) -> str:
    """The same text for the same instant, in whatever time zone it is written; other text as it is."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return text
    return text if moment.tzinfo is None else moment.astimezone(UTC).isoformat()
