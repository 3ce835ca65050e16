"""The words of undos on pages: policies, reasons, statuses."""

from __future__ import annotations

POLICIES = (
    ("skip", "Leave conflicts alone", "Fields that were changed since stay as they are now; the rest goes back."),
    ("skip_record", "Leave records with a conflict alone", "A record with one conflicting field is not touched."),
    ("abort", "All or nothing", "Any conflict anywhere: nothing is written."),
    ("force", "Overwrite newer values", "What was changed since is lost, from the target, not from the ledger."),
    ("cascade", "Undo later runs too", "Later runs that changed the same records are undone with it, newest first."),
)  # fmt: skip
REASONS = {
    "modified_since": "changed since",
    "already_restored": "is as before already",
    "already_absent": "is gone already",
    "already_exists": "another record has its id",
    "record_missing": "the record is gone",
    "record_merged": "the record was merged into another",
    "record_skipped": "another field of the record is in conflict",
    "no_before_state": "the ledger does not know what was there before",
    "before_state_erased": "what was there before was erased",
    "field_missing": "the target no longer has the field",
    "missing_reference": "it refers to a record that is gone",
    "still_referenced": "other records refer to it",
    "unique_violation": "another record has this value, which must be unique",
    "required_field_missing": "the target needs a value there",
    "not_as_written": "the target holds something else than was written",
}
STATUSES = {
    "completed": ("good", "Everything is written back."),
    "partial": ("warn", "Written back in part: something was left alone or failed."),
    "nothing_applied": ("warn", "Nothing was written back."),
    "nothing_to_do": ("good", "Nothing was left to write back: all is as before."),
    "aborted": ("warn", "Aborted because of a conflict: nothing was written."),
    "interrupted": ("bad", "Interrupted: it can be resumed."),
}
PLAN_STATUSES = {
    "completed": ("good", "All of it can be written back."),
    "partial": ("warn", "A part of it can be written back; the rest is listed below."),
    "nothing_applied": ("warn", "Nothing of it can be written back."),
    "nothing_to_do": ("good", "Nothing is left to do: all is as before already."),
    "aborted": ("warn", "There are conflicts, so with this policy nothing would be written."),
    "interrupted": ("bad", "The target could not be read."),
}


def reason_words(reason: str) -> str:
    return REASONS.get(reason, reason.replace("_", " "))
