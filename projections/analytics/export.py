"""The log as Parquet files: DIR/events, DIR/changes and DIR/runs, each partitioned by account, sorted by position.

A file of events or changes holds one segment of positions under a name of its own, so an export that goes on writes the
last segment again and adds new ones, and a segment in which something was erased is written again too. Each file
appears whole or not at all. `DIR/_ledger/ACCOUNT.json` tells how far the export is; it is written last: whatever
is killed when, the next export finds what it has to write.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import msgspec

from ledger.errors import Conflict, InputError
from ledger.json_text import encode
from ledger.store.database import Database
from projections.analytics.duck import connected, write_parquet
from projections.analytics.postgres import ExportReader
from projections.analytics.tables import TABLES, change_row, event_row, run_row

SEGMENT_POSITIONS = 250_000
FORMAT = 1


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export did: the position it reaches, the files it wrote."""

    upto: int
    files: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        return {"upto": self.upto, "files": list(self.files)}


class State(msgspec.Struct, frozen=True):
    """How far an account's export is. `erased_upto`: the newest erasing event that the files know of."""

    format: int
    account_id: UUID
    segment_positions: int
    upto: int = 0
    erased_upto: int = 0


class ParquetExport:
    """The export of one account into a folder."""

    def __init__(
        self,
        database: Database,
        account_id: UUID,
        account: str,
        *,
        segment_positions: int = SEGMENT_POSITIONS,
        on_segment: Callable[[int, int], None] = lambda _upto, _last: None,
    ) -> None:
        self._reader = ExportReader(database, account_id)
        self._account_id, self._account = account_id, account
        self._size = segment_positions
        self._on_segment = on_segment

    def export(self, folder: Path) -> Exported:
        """Writes what is new or was erased since the last export into this folder.

        The account's views must be caught up. Raises InputError without DuckDB or for a folder that cannot be written,
        Conflict for one that holds the export of another log.
        """
        try:
            folder.mkdir(parents=True, exist_ok=True)
            with connected() as duck, TemporaryDirectory(prefix=".writing-", dir=folder) as work:
                return self._export(folder, duck, Path(work))
        except OSError as error:
            raise InputError(f"{folder} cannot be written: {error}.") from error

    def _export(self, folder: Path, duck: Any, work: Path) -> Exported:
        state = self._read_state(folder)
        last, runs = self._reader.runs()
        segments, erased_upto = self._reader.erased_segments(self._size, state.erased_upto)
        if last < state.upto:
            raise Conflict(
                f"The export in {folder} reaches position {state.upto} of account {self._account}, whose log has "
                f"{last}: the database was put back. Export into a fresh folder."
            )
        old = {number for number in segments if number * self._size < state.upto}
        new = range(state.upto // self._size, -(-last // self._size)) if last > state.upto else range(0)
        files: list[str] = []
        for number in sorted({*old, *new}):
            files += self._write_segment(folder, duck, work, number, last)
        files.append(self._write(folder, duck, work, "runs", "runs", map(run_row, runs)))
        self._write_state(folder, work, State(FORMAT, self._account_id, self._size, last, erased_upto))
        return Exported(last, tuple(files))

    def _write_segment(self, folder: Path, duck: Any, work: Path, number: int, last: int) -> Iterator[str]:
        first, end = number * self._size, min((number + 1) * self._size, last)
        events, changes = work / "events.ndjson", work / "changes.ndjson"
        with events.open("wb") as event_lines, changes.open("wb") as change_lines:
            for row, erased in self._reader.events(first, end):
                event_lines.write(encode(event_row(row, erased=erased)) + b"\n")
                change = change_row(row, erased=erased)
                if change is not None:
                    change_lines.write(encode(change) + b"\n")
        for table, lines in (("events", events), ("changes", changes)):
            yield self._place(folder, duck, work, table, f"{table}-{number:06}", lines)
            lines.unlink()
        self._on_segment(end, last)

    def _write(self, folder: Path, duck: Any, work: Path, table: str, name: str, rows: Iterable[dict[str, Any]]) -> str:
        lines = work / f"{table}.ndjson"
        with lines.open("wb") as file:
            file.writelines(encode(row) + b"\n" for row in rows)
        return self._place(folder, duck, work, table, name, lines)

    def _place(self, folder: Path, duck: Any, work: Path, table: str, name: str, lines: Path) -> str:
        """The lines as a Parquet file, which takes the place of the one before in one step."""
        fresh = work / f"{name}.parquet"
        order = "started_at, run_id" if table == "runs" else "position"
        write_parquet(duck, lines, TABLES[table], order, fresh)
        path = folder / table / f"account={self._account}" / fresh.name
        path.parent.mkdir(parents=True, exist_ok=True)
        _sync(fresh)
        fresh.replace(path)
        return str(path.relative_to(folder))

    def _state_path(self, folder: Path) -> Path:
        return folder / "_ledger" / f"{self._account}.json"

    def _read_state(self, folder: Path) -> State:
        fresh = State(FORMAT, self._account_id, self._size)
        try:
            found = msgspec.json.decode(self._state_path(folder).read_bytes(), type=State)
        except FileNotFoundError:
            return fresh
        except msgspec.MsgspecError as error:
            raise Conflict(
                f"{self._state_path(folder)} is not an export's: {error}. Export into a fresh folder."
            ) from error
        if (found.format, found.account_id, found.segment_positions) != (FORMAT, self._account_id, self._size):
            raise Conflict(f"{folder} holds an export of another log or form. Export into a fresh folder.")
        return found

    def _write_state(self, folder: Path, work: Path, state: State) -> None:
        fresh, path = work / "state.json", self._state_path(folder)
        fresh.write_bytes(encode(state) + b"\n")
        path.parent.mkdir(parents=True, exist_ok=True)
        _sync(fresh)
        fresh.replace(path)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
