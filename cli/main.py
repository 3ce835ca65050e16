"""The command's root: which commands there are, and what an error ends with. A command is imported when it is run."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import click

from cli.errors import EXIT_INTERRUPTED, EXIT_USAGE, report
from ledger.errors import LedgerError

COMMANDS: dict[str, tuple[str, str]] = {
    "migrate": ("cli.migrating:migrate", "Bring the database to the newest schema."),
    "serve": ("cli.serving:serve", "Serve the API, the page and the projections."),
    "account": ("cli.access:account", "Add and list accounts."),
    "user": ("cli.users:user", "Say who may sign in with OpenID Connect."),
    "token": ("cli.access:token", "Make, list and revoke API tokens."),
    "import": ("cli.importing:import_runs", "Record whole runs from a file."),
    "run": ("cli.recording:run", "Record a run step by step: start, changes, finish, fail."),
    "runs": ("cli.tracker:runs", "List runs: the Activity Tracker."),
    "show": ("cli.tracker:show", "Show one run."),
    "report": ("cli.reports:report", "Write a run's before/after report."),
    "changes": ("cli.changes:changes", "Search changes across runs, or list those of one."),
    "history": ("cli.records:history", "List every change of a record."),
    "blame": ("cli.records:blame", "Tell which run wrote each field of a record."),
    "state": ("cli.records:state", "Show a record, now or in the past."),
    "states": ("cli.records:states", "Print all records of a type, now or in the past."),
    "undo": ("cli.undo:undo", "Take back what runs changed."),
    "restore": ("cli.undo:restore", "Put records back to a moment."),
    "target": ("cli.targets:target", "Add target systems; capture what is changed in them."),
    "schema": ("cli.schemas:schema", "Declare constraints of the ledger's own records."),
    "conformance": ("cli.conformance:conformance", "Play undo scenarios against a target."),
    "notify": ("cli.notify:notify", "Send reports by e-mail and events to webhooks."),
    "work": ("cli.jobs:work", "Do the background work: e-mails and webhooks."),
    "jobs": ("cli.jobs:jobs", "Look at the background work; try dead jobs again."),
    "export": ("cli.analytics:export", "Export the log: Parquet, OCSF."),
    "query": ("cli.analytics:query", "Query an export with SQL."),
    "erase": ("cli.erasing:erase", "Erase a record's data for good."),
    "erasures": ("cli.erasing:erasures", "List what was erased, by whom and why."),
    "hold": ("cli.erasing:hold", "Place and lift legal holds."),
    "retention": ("cli.erasing:retention", "Erase before-states by age."),
    "project": ("cli.projecting:project", "Follow the log and fill the views."),
    "rebuild": ("cli.projecting:rebuild", "Fill a view anew beside the live one, then swap."),
    "seal": ("cli.sealing:seal", "Add new events to the signed log."),
    "log": ("cli.sealing:log", "The signed log: keys, checkpoint, files."),
    "verify": ("cli.verifying:verify", "Recompute the log and compare it with what was signed."),
    "proof": ("cli.sealing:proof", "Write the evidence of a run, to be checked offline."),
    "lag": ("cli.projecting:lag", "Show how far the views are behind the log."),
}
"""Name to where the command is, and what `ledger --help` says of it."""


class LazyGroup(click.Group):
    """A group that imports a command when it is run, and turns every error into a message and an exit code."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,  # noqa: ARG002 - it is always `ledger`
        **extra: Any,
    ) -> Any:
        """Ends the process: 0, or the exit code of the error (cli.errors)."""
        extra["standalone_mode"] = False
        try:
            code = super().main(args, "ledger", **extra)
        except click.UsageError as error:
            error.show()
            sys.exit(EXIT_USAGE)
        except click.ClickException as error:
            error.show()
            sys.exit(error.exit_code)
        except (KeyboardInterrupt, click.Abort):
            click.echo("Interrupted.", err=True)
            sys.exit(EXIT_INTERRUPTED)
        except LedgerError as error:
            sys.exit(report(error))
        sys.exit(code if isinstance(code, int) else 0)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="audit-ledger", message="%(prog)s %(version)s")
@click.option("--account", metavar="NAME", help="Work in this account (default: default).")
@click.option("--home", metavar="FOLDER", help="Folder of the embedded database.")
@click.option("--quiet", "-q", is_flag=True, help="No progress and no remarks on stderr.")
@click.pass_context
def main(ctx: click.Context, account: str | None, home: str | None, quiet: bool) -> None:
    """The audit ledger: records what bulk tools change, and tells it again.

    Without LEDGER_DATABASE_URL it works on a database of its own in LEDGER_HOME and starts and stops it by itself.
    Settings: options, then LEDGER_* variables, then ./ledger.toml, then ~/.config/ledger/ledger.toml.
    """
    ctx.obj = {"account": account, "home": home, "quiet": quiet}


if __name__ == "__main__":
    main()
