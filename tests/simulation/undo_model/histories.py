"""Random histories, as scenario documents without expectations (docs/conformance.md).

A history is a list of beats. What a beat comes to depends on its own random numbers and on what the model's target and
ledger hold when its turn comes, so beats can be left out and what is left is a history still: that is how failing ones
are made small. The target keeps its constraints: a change that would break one does not happen.
"""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import Any, NamedTuple

from tests.simulation.undo_model.model import Answer, Model
from tests.simulation.undo_model.target import Fields, Key, Target

POLICIES = ["skip", "skip", "skip_record", "abort", "force", "cascade"]
KINDS = {"run": 40, "external": 20, "undo": 32, "schema": 5, "erase": 4}
IDS = ["1", "2", "3"]
FIELDS = {
    "company": ["name", "city", "parent", "modified"],
    "contact": ["name", "email", "city", "company", "seen", "modified"],
    "deal": ["stage", "size", "owner"],
}
VALUES: dict[str, list[Any]] = {
    "name": ["a", "b", "c", "d"],
    "email": ["x@a", "y@a", "z@a", "", None],
    "city": ["a", "b", "c", "", None],
    "parent": [*IDS, None, None],
    "company": [*IDS, None],
    "owner": [*IDS, None],
    "seen": ["2026-01-01T10:00:00Z", "2026-01-01T11:00:00+01:00", "2026-01-01T11:00:00Z", None, None],
    "modified": [1, 2, 3],
    "stage": ["won", "lost", None],
    "size": [1, "1", 2, [1, None], {"a": 1}, {"a": None}, {}, None],
}
SCHEMA: dict[str, dict[str, Any]] = {
    "company": {
        "references": {"parent": "company"},
        "unique": [["name"]],
        "required": ["name"],
        "system_fields": ["modified"],
    },
    "contact": {
        "references": {"company": "company"},
        "unique": [["email"], ["name", "city"]],
        "required": ["name"],
        "field_types": {"seen": "datetime"},
        "system_fields": ["modified"],
    },
    "deal": {"references": {"owner": "contact"}},
}


class Beat(NamedTuple):
    """One step to be; `size` limits how many changes a run or an edit has."""

    seed: str
    size: int


def beats(seed: int) -> list[Beat]:
    chance = Random(seed)
    return [Beat(f"{seed}-{number}", chance.randint(1, 7)) for number in range(chance.randint(3, 14))]


class History:
    """A history played on the model: the scenario, and the model's answers to its undos, resumed ones included.

    on_tables: only what PostgreSQL tables can express: no merges, no misbehaviour.
    """

    def __init__(self, seed: int, beats: list[Beat], *, on_tables: bool = False) -> None:
        self._on_tables = on_tables
        chance = Random(f"{seed}-world")
        self.scenario: dict[str, Any] = {
            "id": f"history-{seed}", "title": f"Random history {seed}",
            "schema": _schema(chance, on_tables=on_tables), "initial": [], "steps": [],
        }  # fmt: skip
        self._initial(chance)
        self.model = Model(self.scenario)
        self.answers: list[Answer] = []
        self._undo_ids: list[str] = []
        for number, beat in enumerate(beats):
            self._play(number, beat)
        self.scenario["final"] = self.model.target.listing()

    def _initial(self, chance: Random) -> None:
        target = Target([], self.scenario["schema"])
        for _ in range(chance.randint(0, 9)):
            object_type = chance.choice(list(FIELDS))
            key = (object_type, chance.choice(IDS))
            if key not in target.records:
                change = {
                    "op": "create",
                    "object_type": key[0],
                    "id": key[1],
                    "fields": _fields(key[0], chance, target),
                }
                _try(change, target)
        self.scenario["initial"] = target.listing()

    def _play(self, number: int, beat: Beat) -> None:
        chance = Random(beat.seed)
        (kind,) = chance.choices(list(KINDS), list(KINDS.values()))
        step = getattr(self, f"_{kind}")(number, chance, beat.size)
        if step is None:
            return
        self.scenario["steps"].append(step)
        answer = self.model.play(step)
        if answer is not None:
            self.answers.append(answer)
            if answer.reason is None and not step.get("dry_run"):
                self._undo_ids.append(step["undo_id"])
                if "crash_after" in step.get("target", {}):
                    self.scenario["steps"].append({"step": "resume", "undo_id": step["undo_id"]})
                    self.answers.append(answer)

    # What happens.

    def _run(self, number: int, chance: Random, size: int) -> dict[str, Any]:
        step: dict[str, Any] = {"step": "run", "run_id": f"R{number}", "changes": []}
        if chance.random() < 0.2:
            step["recipe_run_id"] = f"recipe-{chance.randrange(2)}"
        if chance.random() < 0.04:
            step["mode"] = "preview"
        if chance.random() < 0.02:
            step["before_states_expired"] = True
        target = self.model.target.copied()
        for _ in range(size):
            change = _change(target, chance)
            if change is None:
                continue
            self._unmerge(change)
            result = chance.choices(["succeeded", "failed", "unmodified"], [90, 5, 5])[0]
            if result != "succeeded" or _try(change, target):
                step["changes"].append({**change, "result": result})
        return step

    def _external(self, _: int, chance: Random, size: int) -> dict[str, Any] | None:
        target = self.model.target.copied()
        changes = []
        for _ in range(min(size, 3)):
            change = self._merge(target, chance) if chance.random() < 0.06 else _edit(_change(target, chance))
            if change is not None and _try(change, target):
                changes.append(change)
        return {"step": "external", "changes": changes} if changes else None

    def _unmerge(self, change: dict[str, Any]) -> None:
        if self._on_tables or (change["object_type"], change.get("merged_into")) in self._written():
            change.pop("merged_into", None)

    def _merge(self, target: Target, chance: Random) -> dict[str, Any] | None:
        """Into a record that no run has written: an undo that takes the winner away meets the loser before or after."""
        written = self._written()
        losers = [key for key in sorted(target.records) if _other(key, target, chance, written)]
        if not losers or self._on_tables:
            return None
        loser = chance.choice(losers)
        winner = _other(loser, target, chance, written)
        return winner and {"op": "merge", "object_type": loser[0], "loser": loser[1], "winner": winner[1]}

    def _written(self) -> set[Key]:
        return {(change["object_type"], change["id"]) for run in self.model.runs for change in run.changes}

    def _schema(self, _: int, chance: Random, size: int) -> dict[str, Any] | None:
        object_type = chance.choice(list(FIELDS))
        rules = self.model.target.rules(object_type)
        states = [fields for key, fields in self.model.target.records.items() if key[0] == object_type]
        names = sorted({name for fields in states for name in fields})
        if chance.random() < 0.3 and names:
            return {"step": "schema", "object_type": object_type, "drop_field": chance.choice(names)}
        plain = [name for name in names if name not in rules.references and name not in rules.system]
        held = [name for name in plain if all(name in fields for fields in states)]
        return {"step": "schema", "object_type": object_type, "require_field": chance.choice(held)} if held else None

    def _erase(self, _: int, chance: Random, size: int) -> dict[str, Any] | None:
        if not self.model.target.records:
            return None
        key = chance.choice(sorted(self.model.target.records))
        rules = self.model.target.rules(key[0])
        names = [name for name in FIELDS[key[0]] if name not in rules.required]
        fields = chance.sample(names, min(len(names), chance.randint(1, 2)))
        return {"step": "erase", "object_type": key[0], "id": key[1], "fields": fields}

    def _undo(self, number: int, chance: Random, size: int) -> dict[str, Any] | None:
        run_ids = [run.run_id for run in self.model.runs if not run.undoes] + self._undo_ids
        run_ids += sorted({run.recipe_run_id for run in self.model.runs if run.recipe_run_id})
        if chance.random() < 0.01:
            run_ids.append("nobody")
        if not run_ids:
            return None
        count = chance.choices([1, 2, 3], [70, 20, 10])[0]
        runs = chance.sample(run_ids, min(count, len(run_ids)))
        step: dict[str, Any] = {"step": "undo", "undo_id": f"U{number}", "runs": runs}
        step["policy"] = chance.choice(POLICIES)
        if chance.random() < 0.15:
            step["fields"] = chance.sample(sorted(VALUES), 2)
        if chance.random() < 0.1:
            keys = [(chance.choice(list(FIELDS)), chance.choice(IDS)) for _ in range(3)]
            step["records"] = [list(key) for key in keys if key not in self.model.target.moved]
        if chance.random() < 0.1:
            step["object_types"] = chance.sample(list(FIELDS), 2)
        if chance.random() < 0.2:
            step["dry_run"] = True
        if not (self._on_tables or step.get("dry_run")) and (faults := self._faults(number, chance)):
            step["target"] = faults
        return step

    def _faults(self, number: int, chance: Random) -> dict[str, Any]:
        """How the target misbehaves during an undo. It refuses only what no constraint speaks of: what a refusal keeps
        from being written besides is not for the rules to say."""
        faults: dict[str, Any] = {}
        if chance.random() < 0.25:
            faults["new_ids"] = self._new_ids(number, chance)
        if chance.random() < 0.15:
            faults |= {"crash_after": chance.randrange(4), "lost_response": chance.random() < 0.5}
        if chance.random() < 0.1:
            faults["rate_limit"] = chance.randint(1, 3)
        deals = sorted(key[1] for key in self._written() | self.model.target.records.keys() if key[0] == "deal")
        if chance.random() < 0.4 and deals and "deal" not in self.scenario["schema"]:
            faults["reject"] = [["deal", chance.choice(deals), "no"]]
        return faults

    def _new_ids(self, number: int, chance: Random) -> dict[str, str]:
        gone = sorted(self._written() - self.model.target.records.keys())
        return {"/".join(key): f"{key[1]}.{number}" for key in gone if chance.random() < 0.6}


def _schema(chance: Random, *, on_tables: bool) -> dict[str, Any]:
    """Some of the constraints. Tables have the same system fields everywhere."""
    schema: dict[str, Any] = {}
    for object_type, each in SCHEMA.items():
        kept = {name: value for name, value in each.items() if chance.random() < 0.7}
        if on_tables:
            kept.pop("system_fields", None)
        if kept:
            schema[object_type] = kept
    return schema


def _change(target: Target, chance: Random) -> dict[str, Any] | None:
    """A change of a run that fits what the target holds."""
    object_type = chance.choice(list(FIELDS))
    ids = sorted({*IDS, *(key[1] for key in target.records if key[0] == object_type)})
    key = (object_type, chance.choice(ids))
    if key in target.moved:
        return None
    change: dict[str, Any] = {"op": "update", "object_type": key[0], "id": key[1]}
    now = target.records.get(key)
    if now is None:
        return {**change, "op": "create", "before": None, "after": _fields(object_type, chance, target)}
    if chance.random() < 0.2:
        change |= {"op": "delete", "before": dict(now) if chance.random() < 0.95 else None, "after": None}
        if chance.random() < 0.05 and (winner := _other(key, target, chance)):
            change["merged_into"] = winner[1]
        return change
    names = chance.sample(FIELDS[object_type], chance.randint(1, 3))
    after = {name: value for name, value in _fields(object_type, chance, target).items() if name in names}
    before = {name: now.get(name) for name in after}
    return {**change, "before": before if chance.random() < 0.95 else None, "after": after} if after else None


def _edit(change: dict[str, Any] | None) -> dict[str, Any] | None:
    """A run's change as one from outside."""
    if change is None:
        return None
    edit = {name: change[name] for name in ("op", "object_type", "id")}
    if change["op"] == "create":
        edit["fields"] = change["after"]
    if change["op"] == "update":
        edit["set"] = change["after"]
    return edit


def _other(key: Key, target: Target, chance: Random, unless: Collection[Key] = ()) -> Key | None:
    others = sorted(other for other in target.records if other[0] == key[0] and other != key and other not in unless)
    return chance.choice(others) if others else None


def _fields(object_type: str, chance: Random, target: Target) -> Fields:
    """A value for each field that there is; nobody refers to a record by an id that it no longer has."""
    rules = target.rules(object_type)
    fields = {name: chance.choice(VALUES[name]) for name in FIELDS[object_type] if name not in rules.dropped}
    return {
        name: None if name in rules.references and (rules.references[name], value) in target.moved else value
        for name, value in fields.items()
    }


def _try(change: dict[str, Any], target: Target) -> bool:
    """Do a change unless it breaks a constraint."""
    trial = target.copied()
    trial.change(change)
    if trial.violations():
        return False
    target.change(change)
    return True
