"""What a scenario expects of an undo, against what the undo answered. Lists are compared as sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from msgspec import UNSET

from ledger.conformance.scenario import Expectation, ExpectedItem, ExpectedWrite
from ledger.connectors.port import NO_SCHEMA
from ledger.json_text import canonical
from ledger.undo.comparing import Comparing
from ledger.undo.result import Applied, Item, UndoResult

_SAME = Comparing(NO_SCHEMA, null_is_missing=True)


def differences(
    expect: Expectation,
    result: UndoResult | None,
    refusal: str | None,
    *,
    names: Mapping[str, str],
    writes: Counter[tuple[str, str]] | None,
    order: Sequence[tuple[str, str, str]] | None,
) -> str | None:
    """The first difference in words; None: there is none."""
    status = "rejected" if result is None else result.status
    if expect.status is not UNSET and expect.status != status:
        return f"status: expected {expect.status}, found {status}{f' ({refusal})' if refusal else _why(result)}"
    if result is None:
        wanted = None if expect.reason is UNSET else expect.reason
        return None if wanted in (None, refusal) else f"reason: expected {wanted}, found {refusal}"
    for found in _differences(expect, result, names, writes, order):
        if found is not None:
            return found
    return None


def _differences(
    expect: Expectation,
    result: UndoResult,
    names: Mapping[str, str],
    writes: Counter[tuple[str, str]] | None,
    order: Sequence[tuple[str, str, str]] | None,
) -> Iterable[str | None]:
    if expect.applied is not UNSET:
        yield _writes_differ(expect.applied, result.applied.items)
    for name in ("skipped", "noop", "failed"):
        wanted = getattr(expect, name)
        if wanted is not UNSET:
            yield _items_differ(name, wanted, getattr(result, name).items)
    if expect.cascaded_runs is not UNSET:
        found = {names.get(run_id, run_id) for run_id in result.cascaded_runs}
        if found != set(expect.cascaded_runs):
            yield f"cascaded_runs: expected {sorted(expect.cascaded_runs)}, found {sorted(found)}"
    if expect.applied_count is not UNSET and expect.applied_count != result.applied.count:
        yield f"applied_count: expected {expect.applied_count}, found {result.applied.count}"
    if expect.replayed is not UNSET and expect.replayed != result.replayed:
        yield f"replayed: expected {expect.replayed}, found {result.replayed}"
    if writes is not None:
        yield _counts_differ(expect.target_writes, writes, result)
    if order is not None:
        yield _order_differs(expect.order, order)


def _writes_differ(wanted: Sequence[ExpectedWrite], found: Sequence[Applied]) -> str | None:
    left = list(found)
    for write in wanted:
        match = next((one for one in left if _is_write(write, one)), None)
        if match is None:
            return f"applied: expected {_shown_expected(write)}, found {_shown_writes(left)}"
        left.remove(match)
    return f"applied: unexpected {_shown_writes(left)}" if left else None


def _is_write(wanted: ExpectedWrite, found: Applied) -> bool:
    if (wanted.op, wanted.object_type) != (found.op, found.object_type):
        return False
    if wanted.id not in (found.record_id, found.old_id) or wanted.old_id not in (None, found.old_id):
        return False
    if wanted.fields is None or wanted.op == "delete":
        return True
    fields = {name: canonical(bytes(raw)) for name, raw in wanted.fields.items()}
    return all(_SAME.same(name, fields.get(name), found.fields.get(name)) for name in fields.keys() | found.fields)


def _items_differ(name: str, wanted: Sequence[ExpectedItem], found: Sequence[Item]) -> str | None:
    expected = {(item.object_type, item.id, item.field, item.reason) for item in wanted}
    present = {(item.object_type, item.record_id, item.field, item.reason) for item in found}
    if expected == present:
        return None
    return f"{name}: missing {_shown_items(expected - present)}, unexpected {_shown_items(present - expected)}"


def _counts_differ(wanted: Mapping[str, int], writes: Counter[tuple[str, str]], result: UndoResult) -> str | None:
    new_ids = {(one.object_type, one.record_id): (one.object_type, one.old_id) for one in result.applied.items}
    for name, number in wanted.items():
        object_type, _, record_id = name.partition("/")
        key = object_type, record_id
        old: Any = new_ids.get(key)
        found = writes[key] or (writes[old] if old is not None and old[1] is not None else 0)
        if found != number:
            return f"target_writes of {name}: expected {number}, found {found}"
    return None


def _order_differs(
    wanted: Sequence[tuple[tuple[str, str, str], tuple[str, str, str]]], order: Sequence[tuple[str, str, str]]
) -> str | None:
    places = {write: place for place, write in reversed(list(enumerate(order)))}
    for first, second in wanted:
        if first not in places or second not in places:
            return f"order: {' '.join(first)} or {' '.join(second)} was not written"
        if places[first] > places[second]:
            return f"order: expected {' '.join(first)} before {' '.join(second)}"
    return None


def _why(result: UndoResult | None) -> str:
    if result is None:
        return ""
    items = [item for kind in (result.skipped, result.failed) for item in kind.items][:3]
    return f" ({_shown_items({(i.object_type, i.record_id, i.field, i.reason) for i in items})})" if items else ""


def _shown_items(items: set[tuple[str, str, str | None, str]]) -> str:
    shown = [f"{kind}/{record}{'.' + name if name else ''} {reason}" for kind, record, name, reason in items]
    return "; ".join(sorted(shown)) or "nothing"


def _shown_expected(write: ExpectedWrite) -> str:
    fields = {name: bytes(raw).decode() for name, raw in (write.fields or {}).items()}
    return f"{write.op} {write.object_type}/{write.id} {fields}"


def _shown_writes(writes: Sequence[Applied]) -> str:
    shown = [
        f"{one.op} {one.object_type}/{one.record_id} "
        + str({name: "nothing" if text is None else text.decode() for name, text in one.fields.items()})
        for one in writes
    ]
    return "; ".join(shown) or "nothing"
