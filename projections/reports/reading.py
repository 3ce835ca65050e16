"""Reports of runs: which there are, and where their bytes come from."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Literal, get_args
from uuid import UUID

from ledger.domain.run import Run
from ledger.errors import InputError, NoReport, Problem
from ledger.store.database import Database
from ledger.store.event_store import AccountStore
from projections.families import Families
from projections.reports.ahead import read_ahead
from projections.reports.cells import EXACT, SPREADSHEET, TEXT_CELLS
from projections.reports.csv_file import write_csv_in_one_pass
from projections.reports.edited import EditedReport, read_edited
from projections.reports.ndjson_file import write_ndjson
from projections.reports.postgres import Payloads, RunReader
from projections.reports.rows import find_columns, make_rows
from projections.reports.xlsx_file import check_columns, write_xlsx

Format = Literal["csv", "xlsx", "ndjson"]
Dialect = Literal["spreadsheet", "exact"]
MEDIA_TYPES: dict[str, str] = {
    "csv": "text/csv; charset=utf-8",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "ndjson": "application/x-ndjson",
}


@dataclass(frozen=True, slots=True)
class Report:
    """A report about to be read: everything that can be refused has been refused.

    `blocks` holds its bytes in blocks of about 64 kB; close it (`blocks.close()`) when you stop early.
    """

    run_id: str
    title: str
    file_name: str
    """Carries the Run ID, made of characters that every file system takes."""
    media_type: str
    blocks: Iterator[bytes]


class Reports:
    """The reports of one account's runs."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._store = AccountStore(database, account_id)
        self._families = Families(database, account_id)
        self._reader = RunReader(database, account_id)

    def open(
        self,
        run_id: str,
        format: Format = "csv",  # noqa: A002
        *,
        dialect: Dialect = "spreadsheet",
        include_preview: bool = False,
    ) -> Report:
        """The report of a run; of a recipe: of all its children, in order. `dialect` matters for CSV only.

        Raises NotFound (no such run), NoReport (a preview not asked for; a system error before any change), InputError
        (unknown format or dialect; XLSX with too many columns) and NotCaughtUp, all before the first block.
        """
        _check_choice("format", format, get_args(Format))
        _check_choice("dialect", dialect, get_args(Dialect))
        run = self._store.load_run(run_id)
        run_ids = self._runs_of(run, include_preview)
        title = f"Run {run_id}"
        return Report(
            run_id, title, _file_name(run_id, format), MEDIA_TYPES[format], self._blocks(run, run_ids, format, dialect)
        )

    def read_edited(self, run_id: str, data: bytes) -> EditedReport:
        """What an edited report of this run (or recipe) selects, and where its cells differ from the ledger.

        Raises NotFound, NoReport, NotCaughtUp; InputError for what is no report of the run, TooLarge.
        """
        return read_edited(data, run_id, self._payloads(self._runs_of(self._store.load_run(run_id), False)))

    def _runs_of(self, run: Run, include_preview: bool) -> list[str]:
        """The runs whose changes the report holds. Raises NoReport."""
        if run.operation.mode == "preview" and not include_preview:
            raise NoReport(
                f"Run {run.run_id} is a preview, which changed nothing. Ask for its report with include_preview.",
                run_id=run.run_id,
            )
        family = [run]
        if run.operation.kind == "recipe":
            children = [self._store.load_run(child) for child in self._families.children(run.run_id)]
            family += [child for child in children if include_preview or child.operation.mode != "preview"]
        if not any(member.accepted for member in family):
            _check_can_be_empty(run)
        return [member.run_id for member in family if member.operation.kind != "recipe"]

    def _blocks(self, run: Run, run_ids: list[str], form: Format, dialect: Dialect) -> Iterator[bytes]:
        if form == "ndjson":
            return write_ndjson(chain.from_iterable(map(self._reader.rows, run_ids)))
        with_run_id = run.operation.kind == "recipe"
        if form == "xlsx":
            columns = find_columns(self._payloads(run_ids), with_run_id=with_run_id)
            check_columns(columns)
            return write_xlsx(columns, make_rows(self._payloads(run_ids), columns, TEXT_CELLS), f"Run {run.run_id}")
        cells = EXACT if dialect == "exact" else SPREADSHEET
        return write_csv_in_one_pass(lambda: self._payloads(run_ids), cells, with_run_id=with_run_id)

    def _payloads(self, run_ids: list[str]) -> Iterator[Payloads]:
        return read_ahead(chain.from_iterable(map(self._reader.payloads, run_ids)))


def _check_can_be_empty(run: Run) -> None:
    if run.status == "failed":
        why = f": {run.error.code}" if run.error else ""
        raise NoReport(
            f"Run {run.run_id} died of a system error{why} before any change was recorded. "
            "Look at the run itself for the error.",
            run_id=run.run_id,
        )
    if run.status == "running":
        raise NoReport(f"Run {run.run_id} has no changes yet. Ask again when it has finished.", run_id=run.run_id)


def _check_choice(name: str, found: str, known: tuple[str, ...]) -> None:
    if found not in known:
        expected = ", ".join(known)
        raise InputError(
            f"There is no report {name} {found!r}. Choose one of {expected}.",
            problems=(Problem(f"Unknown {name}.", parameter=name, found=repr(found), expected=expected),),
        )


def _file_name(run_id: str, form: str) -> str:
    """The colon is the one character of Run IDs that some file systems refuse."""
    return f"report-{re.sub(r'[^A-Za-z0-9._~-]', '_', run_id)}.{form}"
