"""Query parameters: what each endpoint takes, for OpenAPI and for reading them."""

from __future__ import annotations

from typing import Any

from marshmallow import fields

from ledger.wire.fields import INTEGER_MAX, Choice, Instant, RunId, Text, refuse
from ledger.wire.runs import StrictSchema
from projections.run_changes.view import PAGE_LIMIT_MAX
from projections.tracker.query_text import TEXT_CHARACTERS_MAX
from projections.tracker.view import PAGE_SIZE_MAX, SORTS, UNDO_STATES


class WholeNumber(fields.Field[int]):
    """Decimal digits."""

    def __init__(self, number_min: int = 0, number_max: int = INTEGER_MAX, **kwargs: Any) -> None:
        described = {"type": "integer", "minimum": number_min, "maximum": number_max}
        super().__init__(metadata=described | kwargs.pop("metadata", {}), **kwargs)
        self.number_min, self.number_max = number_min, number_max

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> int:  # noqa: ARG002
        expected = f"a whole number from {self.number_min} to {self.number_max}"
        if not value.isascii() or not value.isdecimal() or len(value) > 19:
            refuse("Not a whole number.", value, expected)
        if not self.number_min <= int(value) <= self.number_max:
            refuse("Out of range.", value, expected)
        return int(value)


class Flag(fields.Field[bool]):
    """true or false, as text."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(metadata={"type": "boolean"} | kwargs.pop("metadata", {}), **kwargs)

    def _deserialize(self, value: Any, attr: str | None, data: Any, **kwargs: Any) -> bool:  # noqa: ARG002
        if value not in ("true", "false"):
            refuse("Not a truth value.", value, "true or false")
        return bool(value == "true")


class Words(Text):
    """Text to look for."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(length_min=0, length_max=kwargs.pop("length_max", 16_384), **kwargs)


class ReadQuery(StrictSchema):
    """What every read takes."""

    wait_for_position = WholeNumber(metadata={"description": "Wait until the views have reached this position."})


class RunsQuery(ReadQuery):
    """Filters and order of the tracker; read by projections.tracker.query_text, described here."""

    text = Words(length_max=TEXT_CHARACTERS_MAX)
    object_type = Words(length_max=TEXT_CHARACTERS_MAX)
    template = Words(length_max=TEXT_CHARACTERS_MAX)
    module = Words(length_max=TEXT_CHARACTERS_MAX)
    app = Words(length_max=TEXT_CHARACTERS_MAX)
    user = Words(length_max=TEXT_CHARACTERS_MAX)
    recipe_run_id = Words(length_max=TEXT_CHARACTERS_MAX)
    mode = Choice("update", "preview", "all")
    kind = Choice("run", "recipe")
    trigger = Choice("manual", "automated")
    status = Choice("running", "finished", "failed")
    has_failures = Flag()
    zero_succeeded = Flag()
    undo_state = Choice(*UNDO_STATES)
    from_ = fields.String(data_key="from", metadata={"description": "A day (UTC) or an RFC 3339 instant, included."})
    to = fields.String(metadata={"description": "A day (UTC, included) or an RFC 3339 instant (not included)."})
    sort = Choice(*SORTS)
    order = Choice("asc", "desc")
    page_size = WholeNumber(1, PAGE_SIZE_MAX)
    cursor = Words(length_max=TEXT_CHARACTERS_MAX)


class PageQuery(ReadQuery):
    cursor = WholeNumber(metadata={"description": "next_cursor of the page before."})
    limit = WholeNumber(1, PAGE_LIMIT_MAX)


class RunChangesQuery(PageQuery):
    result = Choice("succeeded", "failed")
    action = Words(length_max=64)
    object_type = Words()
    record_id = Words()
    field = Words(metadata={"description": "A field that the change names in before or after."})
    text = Words(metadata={"description": "Anywhere in the message, in any case."})


class ChangesQuery(RunChangesQuery):
    """The search across runs."""

    value = Words(metadata={"description": "The old or the new value."})
    old_value = Words()
    new_value = Words()
    user = Words()
    template = Words()
    run_id = RunId()
    from_at = Instant(data_key="from")
    to_at = Instant(data_key="to")
    preview = Flag()


class MomentQuery(ReadQuery):
    """As of when; at most one of them."""

    at = Instant(metadata={"description": "With what had happened by this instant."})
    as_of = Instant(metadata={"description": "The same as `at`."})
    recorded_at = Instant(metadata={"description": "With what the ledger knew at this instant."})
    position = WholeNumber(1, metadata={"description": "With all events up to this position."})
    after_run = RunId()
    before_run = RunId()


class RecordPart(StrictSchema):
    """A record named by parameters instead of the path, for ids that paths cannot carry, such as `..`."""

    object_type = Words(required=True)
    record_id = Words(required=True)


class RecordQuery(MomentQuery, RecordPart):
    pass


class HistoryQuery(PageQuery, RecordPart):
    pass


class ReportQuery(StrictSchema):
    dialect = Choice("spreadsheet", "exact", metadata={"description": "For CSV: exact is for programs."})
    preview = Flag(metadata={"description": "Report a preview too."})
    wait_for_position = WholeNumber()


class ActivityQuery(ReadQuery):
    from_day = fields.String(data_key="from", required=True, metadata={"format": "date"})
    to_day = fields.String(data_key="to", required=True, metadata={"format": "date"})
    user = Words()
    template = Words()
    with_previews = Flag()


class RecordingQuery(StrictSchema):
    offset = WholeNumber(metadata={"description": "How many changes of the run were sent before this body."})
