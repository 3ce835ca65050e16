"""Whether a change matches what is asked of its texts and values. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from ledger.json_text import plain, split_fields
from projections.run_changes.view import Change, ChangeSearch


def holds_text(message: str | None, text: str | None) -> bool:
    """Whether a message holds a text anywhere, in any case. The view keeps NUL as U+FFFD."""
    return not text or text.replace("\0", "\ufffd").casefold() in (message or "").casefold()


def matches_values(change: Change, search: ChangeSearch) -> bool:
    """Whether the old and the new value are the ones asked for, in the field asked for, else in any one field."""
    if search.value is None and search.old_value is None and search.new_value is None:
        return True
    before, after = split_fields(change.before), split_fields(change.after)
    names = [search.field] if search.field is not None else [*before, *(name for name in after if name not in before)]
    return any(_matches(name, before, after, search) for name in names)


def _matches(name: str, before: Mapping[str, bytes], after: Mapping[str, bytes], search: ChangeSearch) -> bool:
    """Whether one field holds everything asked for. A field that is not there holds not even the empty text."""
    old, new = _shown(before.get(name)), _shown(after.get(name))
    return (
        (search.value is None or search.value in (old, new))
        and (search.old_value is None or search.old_value == old)
        and (search.new_value is None or search.new_value == new)
    )


def _shown(value: bytes | None) -> str | None:
    return None if value is None else plain(value)
