"""The document `undo-scenarios/1` as types. Field values stay the JSON text that they were written as."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Raw, Struct, UnsetType

from ledger.domain.record import State
from ledger.errors import InputError, NotFound, Problem
from ledger.json_text import canonical

FORMAT = "undo-scenarios/1"
SCENARIOS = Path(__file__).parent / "scenarios"
"""Those that are shipped with the package."""

Fields = dict[str, Raw]


class Record(Struct):
    object_type: str
    id: str
    fields: Fields = {}


class Change(Struct):
    op: Literal["create", "update", "delete"]
    object_type: str
    id: str
    result: Literal["succeeded", "failed", "unmodified"] = "succeeded"
    before: Fields | None = None
    after: Fields | None = None
    merged_into: str | None = None


class External(Struct):
    op: Literal["create", "update", "delete", "merge"]
    object_type: str
    id: str = ""
    set: Fields = {}
    fields: Fields = {}
    loser: str = ""
    winner: str = ""


class Misbehaviour(Struct):
    new_ids: dict[str, str] = {}
    reject: list[tuple[str, str, str]] = []
    crash_after: int | None = None
    lost_response: bool = False
    rate_limit: int | None = None


class ExpectedWrite(Struct):
    op: str
    object_type: str
    id: str
    fields: Fields | None = None
    old_id: str | None = None


class ExpectedItem(Struct):
    object_type: str
    id: str
    reason: str
    field: str | None = None


class Expectation(Struct):
    status: str | UnsetType = UNSET
    reason: str | UnsetType | None = UNSET
    applied: list[ExpectedWrite] | UnsetType = UNSET
    skipped: list[ExpectedItem] | UnsetType = UNSET
    noop: list[ExpectedItem] | UnsetType = UNSET
    failed: list[ExpectedItem] | UnsetType = UNSET
    cascaded_runs: list[str] | UnsetType = UNSET
    order: list[tuple[tuple[str, str, str], tuple[str, str, str]]] = []
    target_writes: dict[str, int] = {}
    applied_count: int | UnsetType = UNSET
    replayed: bool | UnsetType = UNSET


class RunStep(Struct, tag_field="step", tag="run"):
    run_id: str
    changes: list[Change] = []
    mode: Literal["update", "preview"] = "update"
    recipe_run_id: str | None = None
    before_states_expired: bool = False


class ExternalStep(Struct, tag_field="step", tag="external"):
    changes: list[External]


class SchemaStep(Struct, tag_field="step", tag="schema"):
    object_type: str
    drop_field: str | None = None
    require_field: str | None = None


class EraseStep(Struct, tag_field="step", tag="erase"):
    object_type: str
    id: str
    fields: list[str] | None = None


class UndoStep(Struct, tag_field="step", tag="undo"):
    undo_id: str
    runs: list[str]
    policy: str = "skip"
    fields: list[str] | None = None
    records: list[tuple[str, str]] | None = None
    object_types: list[str] | None = None
    dry_run: bool = False
    idempotency_key: str | None = None
    concurrent_with: str | None = None
    state_after: list[Record] = []
    target: Misbehaviour | None = None
    expect: Expectation = msgspec.field(default_factory=Expectation)


class ResumeStep(Struct, tag_field="step", tag="resume"):
    undo_id: str
    expect: Expectation = msgspec.field(default_factory=Expectation)
    state_after: list[Record] = []


Step = RunStep | ExternalStep | SchemaStep | EraseStep | UndoStep | ResumeStep


class Scenario(Struct):
    id: str
    title: str = ""
    schema: dict[str, dict[str, Any]] = {}
    initial: list[Record] = []
    steps: list[Step] = []
    final: list[Record] | None = None


class Document(Struct):
    format: str
    scenarios: list[Scenario]


def read_scenarios(path: Path) -> list[Scenario]:
    """The scenarios of one document. Raises NotFound, InputError."""
    try:
        text = path.read_bytes()
    except OSError as error:
        raise NotFound(f"The scenario file {path} cannot be read: {error.strerror}.") from error
    try:
        document = msgspec.json.decode(text, type=Document)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        problem = Problem(str(error), expected=f"a document of format {FORMAT}")
        raise InputError(f"{path.name} is not a scenario document: {error}.", problems=(problem,)) from error
    if document.format != FORMAT:
        problem = Problem("Another format.", pointer="/format", found=repr(document.format[:40]), expected=FORMAT)
        raise InputError(f"{path.name} is of format {document.format!r}, not {FORMAT}.", problems=(problem,))
    return document.scenarios


def state_of(fields: Mapping[str, Raw]) -> State:
    """Fields as a state; null fields are left out: in scenarios they are as good as missing."""
    texts = {name: canonical(bytes(raw)) for name, raw in fields.items()}
    return {name: text for name, text in texts.items() if text != b"null"}
