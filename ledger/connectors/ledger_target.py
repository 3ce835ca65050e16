"""The built-in target: the ledger's own fold of its records is the book of record.

An undo writes nothing anywhere else: its outcome events are the write, appended under the condition that no record
concerned has moved. Constraints come from schemas that were declared (ledger.connectors.schemas).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from uuid import UUID

from ledger.connectors.port import NO_SCHEMA, Capabilities, Found, Outcome, TypeSchema, Write
from ledger.domain.record import State, fold
from ledger.ids import record_stream_id
from ledger.json_text import split_fields
from ledger.store.database import Database
from ledger.store.mapper import decode_record
from ledger.store.streams import Streams

StatesOf = Callable[[str], Iterator[tuple[str, State]]]
"""All records of a type now: id and fields."""


class LedgerTarget:
    """The records of one account as its events tell them."""

    def __init__(
        self, database: Database, account_id: UUID, schemas: Mapping[str, TypeSchema], states_of: StatesOf
    ) -> None:
        self.capabilities = Capabilities(null_is_missing=False, reads_events=True)
        self._streams = Streams(database, account_id)
        self._account_id = account_id
        self._schemas = schemas
        self._states_of = states_of

    def object_types(self) -> Sequence[str]:
        return list(self._schemas)

    def describe(self, object_type: str) -> TypeSchema:
        return self._schemas.get(object_type, NO_SCHEMA)

    def read(self, object_type: str, record_ids: Sequence[str]) -> dict[str, Found]:
        streams = {record_stream_id(self._account_id, object_type, record_id): record_id for record_id in record_ids}
        states: dict[UUID, State | None] = {}
        for row in self._streams.after(dict.fromkeys(streams, 0)):
            if row.payload is not None:
                event = decode_record(row)
                before, after = split_fields(event.before), split_fields(event.after)
                states[row.originator_id] = fold(states.get(row.originator_id), event, before, after)
        return {streams[stream]: Found(state) for stream, state in states.items() if state is not None}

    def find(
        self, object_type: str, fields: tuple[str, ...], values: Iterable[tuple[bytes, ...]]
    ) -> list[tuple[str, State]]:
        wanted = set(values)
        return [
            (record_id, state)
            for record_id, state in self._states_of(object_type)
            if tuple(state.get(name, b"null") for name in fields) in wanted
        ]

    def write(self, writes: Sequence[Write], run_id: str) -> list[Outcome]:  # noqa: ARG002 - the port's
        raise AssertionError("the ledger's own records are written by their events alone")

    def find_created(self, write: Write, run_id: str) -> str | None:  # noqa: ARG002 - the port's
        raise AssertionError("the ledger keeps ids")
