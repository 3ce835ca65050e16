"""What stands out in a run, from a bounded look at its changes: a sample tells as much as a million changes would."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple
from uuid import UUID

from ledger.json_text import split_fields
from ledger.store.database import Database
from ledger.store.recorder import Recorder
from projections.run_changes.reading import RunChanges
from projections.run_changes.view import Change, ChangeQuery
from projections.tracking.postgres import live_generation

MESSAGES_LOOKED_AT = 10_000
"""The first changes of a run, whose failure messages are counted."""
MESSAGES_MAX = 5
VALUES_LOOKED_AT = 300
"""The first succeeded changes, whose values are looked at."""
RUNS_MAX = 20
"""Runs of a recipe that are looked at, the first."""
NEWEST_LOOKED_AT = 10_000
"""Positions of the log, the newest."""
FIELDS_MAX = 50
_EMPTY = (b"null", b'""')

_MESSAGES = """
    SELECT message, count(*) FROM account_run_changes
    WHERE generation = %s AND run_id = ANY(%s) AND sequence BETWEEN 1 AND %s AND failed
    GROUP BY message ORDER BY count(*) DESC, message LIMIT %s
"""

_FIELDS = """
    SELECT name, count(*) FROM account_run_changes, unnest(fields) AS name
    WHERE generation = %s AND position > %s AND position <= %s AND NOT preview AND NOT failed
    GROUP BY name ORDER BY count(*) DESC, name LIMIT %s
"""


class Message(NamedTuple):
    """A message of failed records and how many have it, as far as was looked. None: failed without one."""

    text: str | None
    records: int


class FieldSample(NamedTuple):
    """Of the changes looked at: how many name the field, left it empty, took a value from it."""

    name: str
    named: int
    left_empty: int
    lost: int


class Sample(NamedTuple):
    """What was found. `looked_at`: succeeded changes whose values were looked at."""

    messages: tuple[Message, ...]
    fields: tuple[FieldSample, ...]
    looked_at: int


class Sampling:
    """Samples of one account's runs."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database = database
        self._account_id = account_id
        self._changes = RunChanges(database, account_id)

    def sample(self, run_id: str, children: Sequence[str] = ()) -> Sample:
        """Of a run, or of a recipe with these children. Raises NotFound."""
        changes = self._changes.page(ChangeQuery(run_id, result="succeeded", limit=VALUES_LOOKED_AT)).changes
        return Sample(tuple(self._messages([run_id, *children][:RUNS_MAX])), sample_fields(changes), len(changes))

    def newest_fields(self) -> list[tuple[str, int]]:
        """Fields of the account's newest changes and how many of these name each, the most often named first."""
        head = Recorder(self._database, self._account_id).max_notification_id() or 0
        with self._database.transaction(self._account_id) as connection:
            generation = live_generation(connection, self._account_id, "run_changes")
            rows = connection.execute(_FIELDS, (generation, head - NEWEST_LOOKED_AT, head, FIELDS_MAX)).fetchall()
        return [(name, number) for name, number in rows]

    def _messages(self, runs: list[str]) -> list[Message]:
        with self._database.transaction(self._account_id) as connection:
            generation = live_generation(connection, self._account_id, "run_changes")
            parameters = (generation, runs, max(1, MESSAGES_LOOKED_AT // len(runs)), MESSAGES_MAX)
            return [Message._make(row) for row in connection.execute(_MESSAGES, parameters)]


def sample_fields(changes: Sequence[Change]) -> tuple[FieldSample, ...]:
    """Per field of creates and updates, the most often named first. Pure."""
    named: Counter[str] = Counter()
    empty: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    for change in changes:
        if change.action in ("delete", "none"):
            continue
        olds, news = split_fields(change.before), split_fields(change.after)
        for name in olds.keys() | news.keys():
            named[name] += 1
            if news.get(name, b"null") in _EMPTY:
                empty[name] += 1
                lost[name] += olds.get(name, b"null") not in _EMPTY
    return tuple(FieldSample(name, number, empty[name], lost[name]) for name, number in named.most_common())
