"""`ledger erase`, `ledger erasures`, `ledger hold`, `ledger retention`: what is erased, and what must be kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from cli.output import form_options, open_output, shown_instant, write_facts, write_json, write_ndjson, write_table
from cli.session import Session, open_session
from ledger.errors import InputError


def user_option(command: Any) -> Any:
    """Adds --user as `user_name`."""
    return click.option("--user", "user_name", metavar="NAME", help="Who does it (default: the system's user name).")(
        command
    )


def reason_option(command: Any) -> Any:
    """Adds --reason, which is needed."""
    return click.option("--reason", required=True, metavar="TEXT", help="Why; it stays in the log.")(command)


@click.command()
@click.argument("object_type", required=False)
@click.argument("record_id", required=False)
@click.option("--fields", metavar="NAME,...", help="Only the values of these fields (default: all of the record).")
@click.option("--reason", metavar="TEXT", help="Why. It stays in the log: do not repeat what is erased.")
@user_option
@click.option("--replay", type=click.Path(exists=True, dir_okay=False, path_type=Path), metavar="FILE",
              help="Carry out the erasures of an erasure list that this database lacks.")  # fmt: skip
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON document.")
@click.pass_context
def erase(
    ctx: click.Context,
    /,
    object_type: str | None,
    record_id: str | None,
    fields: str | None,
    reason: str | None,
    user_name: str | None,
    replay: Path | None,
    yes: bool,
    as_json: bool,
) -> None:
    """Erase what the ledger knows of a record, or the values of some of its fields, for good.

    Events, views and reports lose it; the log keeps who erased what and why, and every proof still holds. The target
    system itself is not touched. A legal hold refuses.
    """
    if replay is not None:
        if object_type or record_id or fields or reason:
            raise click.UsageError("--replay stands alone: the list says what and why.")
        _replay(ctx, replay, yes=yes, as_json=as_json)
        return
    if not object_type or not record_id or not reason:
        raise click.UsageError("Give OBJECT_TYPE, RECORD_ID and --reason; or --replay FILE.")
    names = None if fields is None else [name for name in fields.split(",") if name]
    with open_session(ctx) as session, open_output(None) as stream:
        erasing = session.services.erasure(session.account_id)
        if not yes:
            found = erasing.preview(object_type, record_id, names)
            others = ", ".join(each for _, each in found.records if each != record_id)
            also = f", also known as {others}" if others else ""
            what = "everything" if names is None else ", ".join(names)
            where = f"{object_type} {record_id}{also}, in {len(found.rests):,} events"
            click.confirm(f"Erase {what} of {where}? It cannot come back.", abort=True, err=True)
        done = erasing.erase(object_type, record_id, fields=names, reason=reason, user=user_of(user_name))
        if as_json:
            write_json(stream, done.as_dict())
        else:
            write_facts(stream, [("Run ID", done.run_id), ("Events", done.events), ("Position", done.position)])
        if session.settings.erasure_list is None:
            session.remark("No LEDGER_ERASURE_LIST is set: a backup restored later would bring the data back.")


def _replay(ctx: click.Context, path: Path, *, yes: bool, as_json: bool) -> None:
    from ledger.erasure.listing import ErasureList

    listed = ErasureList(path).read()
    with open_session(ctx) as session, open_output(None) as stream:
        if not yes:
            click.confirm(f"Carry out those of {len(listed):,} erasures that are missing?", abort=True, err=True)
        done = session.services.repeat_erasures(listed)
        if as_json:
            write_json(stream, {"listed": len(listed), "repeated": [each.as_dict() for each in done]})
        else:
            write_facts(stream, [("Listed", len(listed)), ("Carried out", len(done))])


@click.command()
@form_options
@click.pass_context
def erasures(ctx: click.Context, /, form: str | None, output: Path | None) -> None:
    """List all erasures: what, when, who and why. --ndjson -o FILE is an erasure list for `ledger erase --replay`."""
    with open_session(ctx) as session, open_output(output) as stream:
        account_id = session.account_id
        found = session.services.erasure(account_id).erasures()
        documents = [{"account_id": account_id, **each.as_dict()} for each in found]
        if form == "ndjson":
            write_ndjson(stream, documents)
        elif form == "json":
            write_json(stream, documents)
        else:
            columns = ("Erased", "Run ID", "Type", "Record ID", "Fields", "User", "Reason")
            rows = [
                [shown_instant(each.erased_at), each.run_id, each.object_type, each.record_id,
                 "all" if each.fields is None else ", ".join(each.fields), each.user, each.reason]
                for each in found
            ]  # fmt: skip
            write_table(stream, columns, rows)


@click.group()
def hold() -> None:
    """Place and lift legal holds: what is held is never erased, on request or by age."""


@hold.command("add")
@click.argument("object_type")
@click.argument("record_id", required=False)
@reason_option
@user_option
@click.pass_context
def add_hold(
    ctx: click.Context, /, object_type: str, record_id: str | None, reason: str, user_name: str | None
) -> None:
    """Hold a record, or without RECORD_ID all records of a type."""
    with open_session(ctx) as session:
        keeping = session.services.keeping(session.account_id)
        placed = keeping.place_hold(object_type, record_id, reason=reason, user=user_of(user_name))
        session.remark(f"Held: {_named(object_type, record_id)}." if placed else "It was held already.")


@hold.command("remove")
@click.argument("object_type")
@click.argument("record_id", required=False)
@reason_option
@user_option
@click.pass_context
def remove_hold(
    ctx: click.Context, /, object_type: str, record_id: str | None, reason: str, user_name: str | None
) -> None:
    """Lift a hold."""
    with open_session(ctx) as session:
        keeping = session.services.keeping(session.account_id)
        keeping.lift_hold(object_type, record_id, reason=reason, user=user_of(user_name))
        session.remark(f"Not held any more: {_named(object_type, record_id)}.")


@hold.command("list")
@form_options
@click.pass_context
def list_holds(ctx: click.Context, /, form: str | None, output: Path | None) -> None:
    """List the holds in force."""
    with open_session(ctx) as session:
        _write_rules(session, "holds", ("object_type", "record_id", "user", "placed_at", "reason"), form, output)


@click.group()
def retention() -> None:
    """Say how long changes keep their before-states, and apply it."""


@retention.command("set")
@click.argument("object_type")
@click.option("--keep", "keep_days", type=int, required=True, metavar="DAYS", help="Days since it was recorded.")
@click.option("--whole", is_flag=True, help="Older changes lose all that they hold, not the before-state alone.")
@reason_option
@user_option
@click.pass_context
def set_retention(
    ctx: click.Context, /, object_type: str, keep_days: int, whole: bool, reason: str, user_name: str | None
) -> None:
    """Erase the before-states of a type's changes by age. The runs concerned can then not be undone any more."""
    with open_session(ctx) as session:
        session.services.keeping(session.account_id).set_retention(
            object_type, keep_days, what="whole" if whole else "before", reason=reason, user=user_of(user_name)
        )
        session.remark("Set. It is applied every day by the service, and now by `ledger retention apply`.")


@retention.command("remove")
@click.argument("object_type")
@reason_option
@user_option
@click.pass_context
def remove_retention(ctx: click.Context, /, object_type: str, reason: str, user_name: str | None) -> None:
    """End a policy. What it erased stays erased."""
    with open_session(ctx) as session:
        keeping = session.services.keeping(session.account_id)
        keeping.lift_retention(object_type, reason=reason, user=user_of(user_name))
        session.remark(f"No policy for {object_type} any more.")


@retention.command("list")
@form_options
@click.pass_context
def list_retention(ctx: click.Context, /, form: str | None, output: Path | None) -> None:
    """List the policies in force, and up to which position each was applied."""
    columns = ("object_type", "keep_days", "what", "applied_upto", "user", "set_at", "reason")
    with open_session(ctx) as session:
        _write_rules(session, "retention", columns, form, output)


@retention.command("apply")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON document.")
@click.pass_context
def apply_retention(ctx: click.Context, /, as_json: bool) -> None:
    """Apply all policies to what is old enough by now. Again is harmless."""
    with open_session(ctx) as session, open_output(None) as stream:
        done = [each.as_dict() for each in session.services.retention(session.account_id).apply()]
        if as_json:
            write_json(stream, {"applied": done})
        else:
            rows = [[each["object_type"], each["erased"], each["upto"], each["stopped"]] for each in done]
            write_table(stream, ("Type", "Events erased", "Up to position", "Stopped"), rows)


def user_of(name: str | None) -> str:
    """Who is at the keyboard, if nobody else is named."""
    import getpass

    if name is not None and not name.strip():
        raise InputError("--user is empty. Name who does it, or leave it out.")
    try:
        return name or getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _write_rules(session: Session, kind: str, columns: tuple[str, ...], form: str | None, output: Path | None) -> None:
    from ledger.erasure.keeping import shown_rules

    rules = list(shown_rules(session.services.keeping(session.account_id).load())[kind])
    with open_output(output) as stream:
        if form == "ndjson":
            write_ndjson(stream, rules)
        elif form == "json":
            write_json(stream, rules)
        else:
            titles = [column.replace("_", " ").capitalize() for column in columns]
            write_table(stream, titles, [[each[column] for column in columns] for each in rules])


def _named(object_type: str, record_id: str | None) -> str:
    return f"all records of {object_type}" if record_id is None else f"{object_type} {record_id}"
