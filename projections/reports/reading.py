"""Reports of runs: which there are, and where their bytes come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from ledger.store.database import Database

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
        self._database = database
        self._account_id = account_id

    def open(
        self,
        run_id: str,
        format: Format = "csv",  # noqa: A002
        *,
        dialect: Dialect = "spreadsheet",
        include_preview: bool = False,
    ) -> Report:
        """The report of a run; of a recipe: of all its children, in order. `dialect` matters for CSV only.

        Raises NotFound (no such run), NoReport (a preview not asked for; a system error before any change) and
        InputError (unknown format or dialect), all before the first block.
        """
        raise NotImplementedError  # filled in by the commit after this one
