"""Who is told of which runs: the rules of an account, and which of them a run that ended matches."""

from __future__ import annotations

import base64
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, get_args
from urllib.parse import urlsplit
from uuid import UUID, uuid5

from ledger.addresses import check_address
from ledger.domain.operation import Operation
from ledger.domain.run import Status
from ledger.domain.tally import Tally
from ledger.errors import InputError, NotFound, Problem
from ledger.jobs.queue import Connection, NewJob
from ledger.notifications.signing import SECRET_PREFIX
from ledger.store.database import Database

Channel = Literal["email", "webhook"]
Occasion = Literal["all", "failed", "zero_succeeded"]
OCCASIONS: tuple[Occasion, ...] = get_args(Occasion)
RECIPIENTS_MAX = 50
RULES_MAX = 200
"""Of one account."""
URL_CHARACTERS_MAX = 2_048
NAME_CHARACTERS_MAX = 255
HISTORY_AGE = timedelta(days=1)
"""A run that ended so long before the rule was made is history being imported: nobody is told."""
SECRET_BYTES = 32

_JOB_NAMESPACE = UUID("0f0e6f0e-2f5c-5f0e-8a63-6a1f6f0d2b7c")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Whom to tell (recipients of an e-mail, or a webhook's address) of which runs."""

    rule_id: str
    channel: Channel
    occasion: Occasion = "all"
    template: str | None = None
    """The template's name or id; None: any."""
    user: str | None = None
    """The user's name, e-mail address or id; None: anybody."""
    recipients: tuple[str, ...] = ()
    url: str | None = None
    since_position: int = 0
    created_by: str
    created_at: datetime
    disabled_why: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """JSON values; never the secret."""
        return {
            "rule_id": self.rule_id,
            "channel": self.channel,
            "occasion": self.occasion,
            "template": self.template,
            "user": self.user,
            "recipients": list(self.recipients),
            "url": self.url,
            "created_by": self.created_by,
            "created_at": self.created_at.isoformat(),
            "disabled_why": self.disabled_why,
        }


@dataclass(frozen=True, slots=True)
class EndedRun:
    """A run that ended, as the events of its beginning and its end tell."""

    run_id: str
    operation: Operation
    status: Status
    finished_at: datetime
    position: int
    """Of the event that ended it."""


def may_match(rule: Rule, run: EndedRun) -> bool:
    """Whether the rule speaks of this run, as far as can be told without its tally. Previews change nothing: never."""
    what = run.operation
    return (
        rule.disabled_why is None
        and what.mode == "update"
        and run.position > rule.since_position
        and run.finished_at > rule.created_at - HISTORY_AGE
        and (rule.template is None or (what.template is not None and rule.template in _names(what.template)))
        and (rule.user is None or (what.user is not None and rule.user in (*_names(what.user), what.user.email)))
    )


def matches_outcome(occasion: Occasion, status: Status, tally: Tally) -> bool:
    """Whether how the run ended is what the rule waits for. A system error is a failure, and no success either."""
    if occasion == "failed":
        return status == "failed" or tally.failed > 0
    return occasion == "all" or tally.succeeded == 0


def jobs_of(rule: Rule, run: EndedRun) -> Iterator[NewJob]:
    """A job for each recipient, so that each is sent to, tried again and recorded alone; or one for the webhook."""
    for recipient in rule.recipients or (None,):
        payload = {
            "rule_id": rule.rule_id,
            "run_id": run.run_id,
            "position": run.position,
            "recipient": recipient or rule.url,
        }
        job_id = uuid5(_JOB_NAMESPACE, f"{rule.rule_id}/{run.run_id}/{recipient or ''}")
        yield NewJob(job_id, rule.channel, run.run_id, payload)


class Rules:
    """The rules of one account."""

    def __init__(self, database: Database, account_id: UUID) -> None:
        self._database = database
        self._account_id = account_id

    def add_email(
        self,
        recipients: tuple[str, ...],
        *,
        occasion: str = "all",
        template: str | None = None,
        user: str | None = None,
        created_by: str,
    ) -> Rule:
        """A rule that sends reports. Raises InputError."""
        if not 1 <= len(recipients) <= RECIPIENTS_MAX:
            raise _bad("/recipients", "Wrong number.", str(len(recipients)), f"1 to {RECIPIENTS_MAX} addresses")
        addresses = tuple(dict.fromkeys(check_address(each, "/recipients") for each in recipients))
        return self._add("email", occasion, template, user, created_by, recipients=addresses)

    def add_webhook(
        self,
        url: str,
        *,
        occasion: str = "all",
        template: str | None = None,
        user: str | None = None,
        created_by: str,
    ) -> tuple[Rule, str]:
        """A rule that posts events, and the secret of its signatures, to be shown this once. Raises InputError."""
        key = secrets.token_bytes(SECRET_BYTES)
        rule = self._add("webhook", occasion, template, user, created_by, url=check_url(url), secret=key)
        return rule, SECRET_PREFIX + base64.b64encode(key).decode()

    def list(self) -> list[Rule]:
        """The oldest first, disabled ones too."""
        with self._database.transaction(self._account_id) as connection:
            return read_rules(connection, self._account_id)

    def find(self, rule_id: str) -> Rule | None:
        """The rule, None where there is none (any more)."""
        return next((rule for rule in self.list() if rule.rule_id == rule_id), None)

    def get(self, rule_id: str) -> Rule:
        """Raises NotFound."""
        rule = self.find(rule_id)
        if rule is None:
            raise NotFound(f"There is no notification rule {rule_id[:80]!r}. List them with `ledger notify list`.")
        return rule

    def secret_of(self, rule_id: str) -> bytes:
        """The key of a webhook's signatures."""
        with self._database.transaction(self._account_id) as connection:
            row = connection.execute(_SECRET, {"account_id": self._account_id, "rule_id": rule_id}).fetchone()
        assert row is not None, "only for a webhook's rule that was found"
        return bytes(row[0])

    def remove(self, rule_id: str) -> Rule:
        """The rule that was there. Its jobs that wait send nothing any more. Raises NotFound."""
        removed = self.get(rule_id)
        with self._database.transaction(self._account_id) as connection:
            connection.execute(_REMOVE, {"account_id": self._account_id, "rule_id": rule_id})
        return removed

    def disable(self, rule_id: str, why: str) -> None:
        """Keeps the rule, out of force."""
        with self._database.transaction(self._account_id) as connection:
            connection.execute(_DISABLE, {"account_id": self._account_id, "rule_id": rule_id, "why": why})

    def _add(
        self,
        channel: Channel,
        occasion: str,
        template: str | None,
        user: str | None,
        created_by: str,
        *,
        recipients: tuple[str, ...] = (),
        url: str | None = None,
        secret: bytes | None = None,
    ) -> Rule:
        if occasion not in OCCASIONS:
            raise _bad("/occasion", "Unknown occasion.", repr(occasion[:40]), ", ".join(OCCASIONS))
        _check_name("/template", template)
        _check_name("/user", user)
        values = {
            "account_id": self._account_id, "rule_id": secrets.token_hex(6), "channel": channel, "occasion": occasion,
            "template": template, "user": user, "created_by": created_by, "recipients": [*recipients], "url": url,
            "secret": secret,
        }  # fmt: skip
        with self._database.transaction(self._account_id) as connection:
            number = connection.execute(_COUNT, values).fetchone()
            if number is not None and number[0] >= RULES_MAX:
                raise _bad("", "Too many rules.", str(number[0]), f"at most {RULES_MAX} in an account; remove some")
            row = connection.execute(_INSERT, values).fetchone()
        if row is None:
            raise NotFound("There is no such account. Make it with `ledger account add NAME`.")
        return _rule(row)


def read_rules(connection: Connection, account_id: UUID) -> list[Rule]:
    """All rules of the account, in the caller's transaction."""
    return [_rule(row) for row in connection.execute(_LIST, {"account_id": account_id})]


def check_url(text: str) -> str:
    """The webhook's address itself. Raises InputError."""
    expected = "https://host/path (http:// is taken where LEDGER_WEBHOOK_PRIVATE allows it), without user or fragment"
    try:
        parts = urlsplit(text)
        usable = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        raise _bad("/url", "Not an address.", repr(text[:80]), expected) from None
    plain = text.isascii() and text.isprintable() and " " not in text and len(text) <= URL_CHARACTERS_MAX
    if not usable or not plain or parts.username is not None or "#" in text:
        raise _bad("/url", "Not an address.", repr(text[:80]), expected)
    return text


def _names(thing: Any) -> tuple[str | None, str | None]:
    return thing.name, thing.id


def _check_name(pointer: str, text: str | None) -> None:
    if text is not None and (not 1 <= len(text) <= NAME_CHARACTERS_MAX or "\0" in text):
        raise _bad(pointer, "Not a name.", repr(text[:80]), f"1 to {NAME_CHARACTERS_MAX} characters without NUL")


def _bad(pointer: str, detail: str, found: str, expected: str) -> InputError:
    problem = Problem(detail, pointer=pointer, found=found, expected=expected)
    return InputError(f"{detail} Found {found}, expected {expected}.", problems=(problem,))


def _rule(row: Any) -> Rule:
    (rule_id, channel, occasion, template, user, recipients, url, since, created_by, created_at, why) = row
    return Rule(
        rule_id=rule_id, channel=channel, occasion=occasion, template=template, user=user,
        recipients=tuple(recipients), url=url, since_position=since, created_by=created_by, created_at=created_at,
        disabled_why=why,
    )  # fmt: skip


_COLUMNS = """
    rule_id, channel, occasion, template, user_shown, recipients, url, since_position, created_by, created_at,
    disabled_why
"""
_COUNT = "SELECT count(*) FROM notification_rules WHERE account_id = %(account_id)s"
_INSERT = f"""
    INSERT INTO notification_rules (account_id, rule_id, channel, occasion, template, user_shown, recipients, url,
        secret, created_by, since_position)
    SELECT account_id, %(rule_id)s, %(channel)s, %(occasion)s, %(template)s, %(user)s, %(recipients)s::text[], %(url)s,
        %(secret)s, %(created_by)s, head FROM accounts WHERE account_id = %(account_id)s
    RETURNING {_COLUMNS}
"""  # noqa: S608 - our own constant
_LIST = f"""
    SELECT {_COLUMNS} FROM notification_rules WHERE account_id = %(account_id)s ORDER BY created_at, rule_id
"""  # noqa: S608 - our own constant
_SECRET = "SELECT secret FROM notification_rules WHERE account_id = %(account_id)s AND rule_id = %(rule_id)s"  # noqa: S105
_REMOVE = "DELETE FROM notification_rules WHERE account_id = %(account_id)s AND rule_id = %(rule_id)s"
_DISABLE = """
    UPDATE notification_rules SET disabled_why = %(why)s WHERE account_id = %(account_id)s AND rule_id = %(rule_id)s
"""
