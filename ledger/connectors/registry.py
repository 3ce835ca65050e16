"""The targets of an account: names to connectors."""

from __future__ import annotations

import re
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from ledger.connectors.ledger_target import LedgerTarget, StatesOf
from ledger.connectors.port import Connector
from ledger.connectors.postgres.target import open_postgres, shown_dsn
from ledger.connectors.schemas import DeclaredSchemas
from ledger.errors import Conflict, InputError, NotFound, Problem
from ledger.store.database import Database

LEDGER = "ledger"
"""The built-in target."""
KINDS = ("postgres",)
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class Target(NamedTuple):
    """A target as it was added."""

    name: str
    kind: str
    settings: dict[str, Any]

    def as_dict(self) -> dict[str, Any]:
        """The target as it can be shown: without secrets."""
        return {
            "name": self.name,
            "kind": self.kind,
            "dsn": shown_dsn(self.settings),
            "tables": self.settings["tables"],
            "system_fields": list(self.settings.get("system_fields") or ()),
            "run_id_column": self.settings.get("run_id_column"),
        }


class Targets:
    """The targets of one account."""

    def __init__(self, database: Database, account_id: UUID, states_of: StatesOf) -> None:
        self._database = database
        self._account_id = account_id
        self._states_of = states_of
        self.schemas = DeclaredSchemas(database, account_id)

    def add(self, target: Target) -> None:
        """Raises Conflict where the name is taken, InputError for an unknown kind."""
        if not _NAME.fullmatch(target.name):
            expected = "up to 63 of lower-case letters, digits, - and _, beginning with a letter or digit"
            problem = Problem("Not a name of a target.", found=repr(target.name[:80]), expected=expected)
            raise InputError(f"{target.name[:80]!r} is no name of a target. Expected {expected}.", problems=(problem,))
        if target.kind not in KINDS or target.name == LEDGER:
            problem = Problem("Not a target.", found=f"{target.kind} {target.name}", expected=" or ".join(KINDS))
            raise InputError(
                f"A target is of kind {' or '.join(KINDS)}, and {LEDGER!r} is built in.", problems=(problem,)
            )
        with self._database.transaction(self._account_id) as connection:
            added = connection.execute(
                "INSERT INTO targets (account_id, name, kind, settings)"
                " VALUES (ledger_current_account(), %s, %s, %s) ON CONFLICT DO NOTHING",
                (target.name, target.kind, msgspec.json.encode(target.settings)),
            ).rowcount
        if not added:
            raise Conflict(f"There is a target {target.name} already. Remove it first.")

    def remove(self, name: str) -> None:
        """Raises NotFound."""
        with self._database.transaction(self._account_id) as connection:
            if not connection.execute("DELETE FROM targets WHERE name = %s", (name,)).rowcount:
                raise NotFound(f"There is no target {name}.")

    def list(self) -> list[Target]:
        """All targets but the built-in one, by name."""
        with self._database.transaction(self._account_id) as connection:
            rows = connection.execute("SELECT name, kind, settings FROM targets ORDER BY name").fetchall()
        return [Target(name, kind, msgspec.json.decode(bytes(settings))) for name, kind, settings in rows]

    def get(self, name: str) -> Target:
        """Raises NotFound."""
        for target in self.list():
            if target.name == name:
                return target
        raise NotFound(
            f"There is no target {name} in this account. Add it with `ledger target add {name} postgres …`, "
            f"or name another: `{LEDGER}` puts the ledger's own records back and writes to no other system."
        )

    def connector(self, name: str | None) -> Connector:
        """The connector of a target; None: the built-in one. Raises NotFound."""
        if name is None or name == LEDGER:
            return LedgerTarget(self._database, self._account_id, self.schemas.all(), self._states_of)
        target = self.get(name)
        return open_postgres(target.settings)
