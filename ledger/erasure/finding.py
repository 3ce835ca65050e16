"""Which events tell of a record, wherever in the log they stand: its own stream and those of the ids that it had or
got, previews and failures, intents of undos, and the runs that touched it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from ledger.domain.record import RecordErased
from ledger.erasure.port import Views
from ledger.erasure.rest import NO_TEXTS, Texts, rest_of_intent, rest_of_record, rest_of_run, texts_of
from ledger.ids import record_stream_id
from ledger.json_text import encode, split_fields
from ledger.store.mapper import decode_record, decode_shape, is_record_topic
from ledger.store.recorder import Recorder
from ledger.store.rows import EventRow
from ledger.store.shapes import RecordShape, RunStartedShape, Shape, UndoBegunShape, UndoEndedShape, UndoIntendedShape
from ledger.store.streams import Streams
from ledger.undo.gathering import recreated_as
from ledger.undo.intents import StoredStep

RecordKey = tuple[str, str]


@dataclass(slots=True)
class Found:
    """What an erasure will take: `rests` is what it leaves, by position."""

    records: list[RecordKey]
    """The record, under all the ids that it had."""
    streams: dict[UUID, int]
    """Their streams, and the position of the newest event in each."""
    rests: dict[int, bytes] = field(default_factory=dict)
    run_ids: list[str] = field(default_factory=list)
    """Runs whose own events lose something."""
    head: int = 0
    """The newest event that was looked at."""
    texts: Texts = NO_TEXTS
    is_known: bool = False
    """Whether any event tells of the record."""
    under_way: dict[str, str] = field(default_factory=dict)
    """Undos under way of runs that touched it: Run ID to the undo's."""

    def is_meant(self, step: StoredStep) -> bool:
        """Whether a step of an undo is one of the record."""
        return any((step.object_type, each) in self.records for each in (step.record_id, step.old_id))


class Finding:
    """Looks through the log of one account."""

    def __init__(self, recorder: Recorder, views: Views) -> None:
        self._recorder, self._views = recorder, views
        self._account_id = recorder.account_id
        self._log = Streams(recorder.database, recorder.account_id)

    def find(
        self, object_type: str, record_id: str, fields: frozenset[str] | None, *, before: int | None = None
    ) -> Found:
        """All events that tell of the record and hold something that the erasure takes. `before`: only those before
        this position."""
        head = self._recorder.max_notification_id() or 0
        self._views.catch_up()
        rows = self._record_rows(object_type, record_id)
        found = Found([], {}, head=head)
        shapes: dict[int, RecordShape] = {}
        for key, own in rows.items():
            found.records.append(key)
            found.streams[record_stream_id(self._account_id, *key)] = own[-1].position if own else 0
            shapes |= _shapes(own)
        labels = {shape.label for shape in shapes.values() if shape.label}
        for key in rows:
            others = self._views.mentions(*key, labels)
            shapes |= _shapes(self._log.at([position for position in others if position not in shapes]))
        found.is_known = bool(shapes) or any(rows.values())
        texts = {text for shape in shapes.values() for text in texts_of(shape, fields)}
        found.texts = Texts.of(texts)
        for position, shape in shapes.items():
            rest = rest_of_record(shape, fields)
            if rest is not None:
                found.rests[position] = encode(rest)
        touched = {row.run_id for own in rows.values() for row in own}
        touched |= {row.run_id for row in self._log.at(shapes)}
        self._take_runs(found, touched, fields)
        if before is not None:
            found.rests = {position: rest for position, rest in found.rests.items() if position < before}
        return found

    def is_told_of(self, records: Collection[RecordKey], rows: Sequence[EventRow]) -> bool:
        """Whether any of these events tells of one of the records."""
        return any((shape.object_type, shape.record_id) in records for shape in _shapes(rows).values())

    def _record_rows(self, object_type: str, record_id: str) -> dict[RecordKey, list[EventRow]]:
        """The streams of the record under all its ids, forwards and backwards along the links that undos left."""
        rows: dict[RecordKey, list[EventRow]] = {}
        wanted = [(object_type, record_id)]
        while wanted:
            key = wanted.pop()
            if key in rows:
                continue
            own = rows[key] = self._recorder.read_stream(record_stream_id(self._account_id, *key))
            wanted += [(key[0], other) for other in _other_ids(own)]
        return rows

    def _take_runs(self, found: Found, run_ids: Collection[str], fields: frozenset[str] | None) -> None:
        """The runs that touched the record, their undos and their recipes."""
        seen: set[str] = set()
        wanted = set(run_ids)
        while wanted:
            seen |= wanted
            nearby: set[str] = set()
            for row in self._log.run_events(wanted):
                shape = decode_shape(row.topic, row.payload or b"")
                if isinstance(shape, UndoBegunShape):
                    nearby.add(shape.undo_run_id)
                    found.under_way[row.run_id] = shape.undo_run_id
                elif isinstance(shape, UndoEndedShape):
                    found.under_way.pop(row.run_id, None)
                elif isinstance(shape, RunStartedShape) and shape.operation.recipe_run_id:
                    nearby.add(shape.operation.recipe_run_id)
                self._take_run_event(found, row, shape, fields)
            wanted = nearby - seen

    def _take_run_event(self, found: Found, row: EventRow, shape: Shape, fields: frozenset[str] | None) -> None:
        if isinstance(shape, UndoIntendedShape):
            rest: Shape | None = rest_of_intent(shape, found.is_meant, fields)
        else:
            rest = rest_of_run(shape, found.texts)
        if rest is not None:
            found.rests[row.position] = encode(rest)
            found.run_ids.append(row.run_id)


def _shapes(rows: Iterable[EventRow]) -> dict[int, RecordShape]:
    """The record events among the rows, by position; those that tell of erasures left out."""
    found: dict[int, RecordShape] = {}
    for row in rows:
        if is_record_topic(row.topic) and row.topic != RecordErased.TOPIC and row.payload is not None:
            shape = decode_shape(row.topic, row.payload)
            assert isinstance(shape, RecordShape)
            found[row.position] = shape
    return found


def _other_ids(rows: Iterable[EventRow]) -> Iterable[str]:
    """The ids under which undos created the record again, and those under which it was before."""
    for row in rows:
        if not is_record_topic(row.topic) or row.payload is None:
            continue
        event = decode_record(row)
        new_id = recreated_as(event)
        if new_id is not None:
            yield new_id
        if event.details is not None and b'"old_id"' in event.details:
            old_id = split_fields(split_fields(event.details).get("undo")).get("old_id")
            if old_id is not None:
                yield old_id.decode().strip('"')
