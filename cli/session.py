"""What a command works with: settings, the database behind them, the services on it, the account."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from types import TracebackType
from typing import TYPE_CHECKING, Self
from uuid import UUID

import click

from ledger.settings import Settings, read_settings

if TYPE_CHECKING:
    from bootstrap import Services
    from ledger.access import Account

FOLLOW_LIMIT_S = 30.0
"""How long a reader on a shared database waits for whoever follows the log there."""
DEFAULT_ACCOUNT = "default"


class Session:
    """Opened once by each command that needs the database; a context manager.

    On the embedded database it starts the server, migrates, and makes the account `default` the first time.
    """

    def __init__(self, settings: Settings, *, quiet: bool = False, flush_each_commit: bool = True) -> None:
        self.settings = settings
        self.quiet = quiet
        self._flush_each_commit = flush_each_commit
        self._stack = ExitStack()
        self.services: Services

    @property
    def is_embedded(self) -> bool:
        return self.settings.database_url is None

    @property
    def account_id(self) -> UUID:
        """The chosen account's id. Raises NotFound where there is no such account."""
        return self.account.account_id

    @property
    def account(self) -> Account:
        """The chosen account. Raises NotFound."""
        return self.services.accounts().find(self.settings.account)

    def remark(self, text: str) -> None:
        """A line for people, on stderr."""
        if not self.quiet:
            click.echo(text, err=True)

    def caught_up(self) -> UUID:
        """The account's id once its views show everything recorded until now.

        On the embedded database this process moves them on itself; on a shared one it waits for who follows the log.
        Raises NotCaughtUp.
        """
        account_id = self.account_id
        if self.is_embedded:
            self.services.project_once(account_id)
        else:
            head = self.services.accounts().find(self.settings.account).head
            self.services.wait_for(account_id, head, FOLLOW_LIMIT_S)
        return account_id

    def __enter__(self) -> Self:
        import bootstrap

        try:
            url = self.settings.database_url or self._start_embedded()
            self.services = bootstrap.connect(
                url,
                pool_size_max=self.settings.pool_size_max,
                flush_each_commit=self._flush_each_commit,
                erasure_list=self.settings.erasure_list,
            )
            self._stack.callback(self.services.close)
            if self.is_embedded and self.settings.account == DEFAULT_ACCOUNT:
                self.services.accounts().ensure(DEFAULT_ACCOUNT)
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def _start_embedded(self) -> str:
        from ledger import embedded
        from migrations.migrate import migrate

        urls = self._stack.enter_context(embedded.database(self.settings.home))
        migrate(urls.owner_url, say=self.remark)
        return urls.service_url


def settings_of(ctx: click.Context, **flags: object) -> Settings:
    """The settings in force for a command. Raises InputError."""
    chosen = ctx.find_root().obj
    return read_settings({"account": chosen["account"], "home": chosen["home"], **flags})


def open_session(
    ctx: click.Context, *, settings: Mapping[str, object] | None = None, flush_each_commit: bool = True
) -> Session:
    """The command's session, not yet entered. `settings`: more flags, by their field's name."""
    chosen, quiet = settings_of(ctx, **(settings or {})), ctx.find_root().obj["quiet"]
    return Session(chosen, quiet=quiet, flush_each_commit=flush_each_commit)
