"""The Python client for producers: runs, changes and recipes from a program to a ledger.

    client = Client("https://ledger.example.com", token)
    with client.run(template="Format phones", app="HubSpot", object_type="contact", user="Ann") as run:
        run.updated("15", before={"phone": "555 0100"}, after={"phone": "+1 555 0100"})
        target.stamp("15", run.stamp_run_id)

Changes are sent in batches, and sent again with the same offset after every failure that may pass, so each is recorded
exactly once. Leaving the `with` block finishes the run; an exception that leaves it fails the run with its text, after
what was recorded until then was sent.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from ledger.errors import BadLine, Conflict, InputError, LedgerError
from ledger.ids import check_run_id, make_run_id
from ledger.sending.channel import Channel
from ledger.sending.http import GIVE_UP_AFTER_S, HttpChannel
from ledger.sending.keeping import KeepingCalls
from ledger.sending.lines import Fields, change_line, encode_members
from ledger.sending.undos import Undos
from ledger.wire.changes import BATCH_BYTES_MAX, BATCH_LINES_MAX

Named = str | Mapping[str, str | None]
"""A name alone, or the members that `POST /v1/runs` takes there: {"name": "HubSpot", "account": "4711"}."""


class Producer:
    """Starts runs over a channel. Not for use by several threads at once: give each its own."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def run(self, *, run_id: str | None = None, **facts: Any) -> ProducerRun:
        """Starts a run. `facts` are the members of `POST /v1/runs`: app, module, object_type, mode, trigger, target,
        template, user, recipe, recipe_run_id, started_at, message, details.

        app, template, user and recipe take a name alone or a mapping. To go on with a run that was interrupted, start
        it again with the same Run ID and facts, and give the same changes from the first on: those that the ledger has
        are passed over. Raises RunExists when the Run ID is taken by other facts, and InputError for bad ones.
        """
        run_id = make_run_id() if run_id is None else check_run_id(run_id)
        members = {name: _named(name, value) for name, value in facts.items() if value is not None}
        body = encode_members({"run_id": run_id, **members}, what=f"Run {run_id}")
        started = self._channel.start_run(body)
        return ProducerRun(
            self._channel,
            started.run_id,
            stamp_run_id=started.stamp_run_id,
            accepted=started.accepted,
            has_object_type="object_type" in members,
        )

    def recipe(self, recipe: Named, *, run_id: str | None = None, **facts: Any) -> ProducerRecipe:
        """Starts a recipe: a run whose children are the runs of its templates. `facts` as in `run`."""
        return ProducerRecipe(self, self.run(run_id=run_id, kind="recipe", recipe=recipe, **facts), recipe)

    def close(self) -> None:
        self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


class Client(Producer):
    """Starts runs in a ledger at a URL, entered with an API token of a producer; with an operator's, `undos` takes them
    back; with an administrator's, `keeping` erases and says what must be kept."""

    def __init__(self, url: str, token: str, *, give_up_after_s: float = GIVE_UP_AFTER_S) -> None:
        channel = HttpChannel(url, token, give_up_after_s=give_up_after_s)
        super().__init__(channel)
        self.undos = Undos(channel)
        self.keeping = KeepingCalls(channel)


class ProducerRun:
    """A run that is being recorded. `run_id` names it; `stamp_run_id` is to be written on each record."""

    def __init__(
        self, channel: Channel, run_id: str, *, stamp_run_id: str, accepted: int, has_object_type: bool
    ) -> None:
        self.run_id = run_id
        self.stamp_run_id = stamp_run_id
        self.accepted = accepted
        """How many changes the ledger has surely recorded."""
        self.given = 0
        """How many changes the program has given."""
        self.summary: Mapping[str, Any] | None = None
        """The run's facts as the ledger told them when it ended."""
        self._channel = channel
        self._has_object_type = has_object_type
        self._lines: list[bytes] = []
        self._size = 0

    def created(self, record_id: str, *, after: Fields, **more: Any) -> None:
        """The record was created; `after` holds all fields known. `more`: object_type, message, label, link, details,
        occurred_at (an RFC 3339 text or a datetime with its offset)."""
        self.change("create", record_id, after=after, **more)

    def updated(self, record_id: str, *, before: Fields | None, after: Fields, **more: Any) -> None:
        """Fields were changed: those affected, as they were and as they are. `before=None`: not known."""
        self.change("update", record_id, before=before, after=after, **more)

    def deleted(self, record_id: str, *, before: Fields | None, **more: Any) -> None:
        """The record was deleted; `before` holds all fields known, None if none is."""
        self.change("delete", record_id, before=before, **more)

    def unmodified(self, record_id: str, **more: Any) -> None:
        """The run looked at the record and left it as it was."""
        self.change("none", record_id, **more)

    def failed(self, record_id: str | None, message: str, *, action: str = "update", **more: Any) -> None:
        """The target refused the change; `message` says why. `before` and `after`: what was attempted."""
        self.change(action, record_id, result="failed", message=message, **more)

    def change(self, action: str, record_id: str | None, **members: Any) -> None:
        """Any change: the members of a line of `POST /v1/runs/{run_id}/changes`.

        Raises BadLine at once for a change that the ledger would refuse; it is not recorded, those before are.
        """
        number = self.given + 1
        for name in ("before", "after", "details"):
            if members.get(name) is not None and not isinstance(members[name], Mapping):
                raise InputError(
                    f"Change {number}: {name} is {type(members[name]).__name__}, expected a mapping of fields."
                )
        line = change_line(
            number, {"action": action, "record_id": record_id, **members}, has_object_type=self._has_object_type
        )
        if self._lines and (len(self._lines) == BATCH_LINES_MAX or self._size + len(line) + 1 > BATCH_BYTES_MAX):
            self.flush()
        self.given = number
        if number <= self.accepted:
            return  # given and accepted before the interruption
        self._lines.append(line)
        self._size += len(line) + 1

    def flush(self) -> None:
        """Sends what was given until now; on return it is recorded."""
        if not self._lines:
            return
        first = self.given - len(self._lines)
        accepted = self._send(first)
        if accepted != self.given:
            raise Conflict(
                f"Run {self.run_id} has {accepted} changes after {self.given} were sent. "
                "Is another program recording the same run? Record it from one place.",
                run_id=self.run_id,
                accepted=accepted,
            )
        self.accepted = accepted
        self._lines, self._size = [], 0

    def finish(self) -> Mapping[str, Any]:
        """Sends the rest and ends the run. Returns its facts: Run ID, tally, duration, links."""
        self.flush()
        self.summary = self._channel.finish_run(self.run_id)
        return self.summary

    def fail(self, code: str, message: str) -> Mapping[str, Any]:
        """Sends the rest and ends the run with a system error. Returns its facts."""
        self.flush()
        self.summary = self._channel.fail_run(self.run_id, code, message)
        return self.summary

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.summary is not None:
            return  # ended inside the block
        if exception is None:
            self.finish()
            return
        try:
            self.fail(*_system_error(exception))
        except LedgerError as error:
            exception.add_note(f"Run {self.run_id} could not be ended in the ledger: {error.message}")

    def _send(self, first: int) -> int:
        try:
            return self._channel.send_changes(self.run_id, first, b"\n".join(self._lines) + b"\n")
        except BadLine as error:
            numbers = [problem.line for problem in error.problems if problem.line]
            if numbers:
                error.add_note(f"It is change {first + numbers[0]} of run {self.run_id}.")
            raise


class ProducerRecipe:
    """A recipe that is being run; `run` starts the run of one of its templates."""

    def __init__(self, producer: Producer, own: ProducerRun, recipe: Named) -> None:
        self._producer = producer
        self._own = own
        self._recipe = recipe
        self.run_id = own.run_id

    def run(self, *, run_id: str | None = None, **facts: Any) -> ProducerRun:
        """Starts a child run; `facts` as in Producer.run."""
        return self._producer.run(run_id=run_id, recipe=self._recipe, recipe_run_id=self.run_id, **facts)

    def finish(self) -> Mapping[str, Any]:
        return self._own.finish()

    def fail(self, code: str, message: str) -> Mapping[str, Any]:
        return self._own.fail(code, message)

    def __enter__(self) -> Self:
        self._own.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exception: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._own.__exit__(kind, exception, trace)


def _named(name: str, value: Any) -> Any:
    return {"name": value} if name in ("app", "template", "user", "recipe") and isinstance(value, str) else value


def _system_error(exception: BaseException) -> tuple[str, str]:
    """Code and text of an exception, as a run's system error."""
    if isinstance(exception, KeyboardInterrupt):
        return "interrupted", "The producer was interrupted."
    code = exception.code if isinstance(exception, LedgerError) else type(exception).__name__
    return code, str(exception) or type(exception).__name__
