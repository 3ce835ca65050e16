"""Which runs may be undone: named runs to the group that is undone together, or a refusal with its reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ledger.domain.run import Run
from ledger.errors import Conflict
from ledger.undo.result import Refusal

FindRun = Callable[[str], Run | None]
ChildrenOf = Callable[[str], Sequence[str]]
"""The Run IDs that name a recipe's as theirs."""


class UndoRefused(Conflict):
    """The undo was refused; nothing was written or recorded."""

    code = "undo_refused"
    title = "The undo was refused"

    def __init__(self, reason: Refusal, message: str, **details: Any) -> None:
        super().__init__(message, reason=reason, **details)
        self.reason = reason


def runs_to_undo(named: Sequence[str], find_run: FindRun, children_of: ChildrenOf) -> list[Run]:
    """The runs whose changes are undone: those named, and the children of named recipes. Raises UndoRefused."""
    group: dict[str, Run] = {}
    recipes: dict[str, list[Run]] = {}
    for run_id in named:
        run = find_run(run_id)
        if run is None:
            raise UndoRefused(
                "unknown_run",
                f"There is no run {run_id} in this account. The tracker lists those there are.",
                run_id=run_id,
            )
        members = _members(run, find_run, children_of)
        if run.operation.kind == "recipe":
            recipes[run_id] = members
        group.update((member.run_id, member) for member in members)
    runs = list(group.values())
    for check in (_refuse_preview, _refuse_running, _refuse_under_way, _refuse_expired):
        for run in runs:
            check(run)
    return _not_undone(runs, recipes, named)


def runs_to_restore(run_ids: Sequence[str], find_run: FindRun) -> list[Run]:
    """The runs of a restoring: undone ones and undos too, since all that happened after a moment goes. Raises
    UndoRefused."""
    runs = [run for run_id in run_ids if (run := find_run(run_id)) is not None]
    for check in (_refuse_running, _refuse_under_way, _refuse_expired):
        for run in runs:
            check(run)
    return runs


def _members(run: Run, find_run: FindRun, children_of: ChildrenOf) -> list[Run]:
    if run.operation.kind != "recipe":
        return [run]
    members: list[Run] = []
    for child_id in children_of(run.run_id):
        child = find_run(child_id)
        if child is not None and child.operation.mode == "update":
            members += _members(child, find_run, children_of)
    return members


def _refuse_preview(run: Run) -> None:
    if run.operation.mode == "preview":
        raise UndoRefused(
            "preview_run", f"Run {run.run_id} was a preview: it wrote nothing, so nothing can be undone.",
            run_id=run.run_id,
        )  # fmt: skip


def _refuse_running(run: Run) -> None:
    if run.status == "running" and not run.undoes:
        raise UndoRefused(
            "run_not_finished", f"Run {run.run_id} is still running. Finish it, or fail it, and undo it then.",
            run_id=run.run_id,
        )  # fmt: skip
    if run.status == "running":
        raise UndoRefused(
            "undo_in_progress", f"Run {run.run_id} is an undo under way. Resume or cancel it first.", run_id=run.run_id
        )


def _refuse_under_way(run: Run) -> None:
    if run.undo_under_way is not None:
        raise UndoRefused(
            "undo_in_progress",
            f"Undo {run.undo_under_way} of run {run.run_id} is under way. Wait for its end, resume it or cancel it.",
            run_id=run.run_id, undo_id=run.undo_under_way,
        )  # fmt: skip


def _refuse_expired(run: Run) -> None:
    if run.before_states_expired:
        raise UndoRefused(
            "before_states_expired",
            f"The before-states of run {run.run_id} were purged by the retention policy; it cannot be undone any more.",
            run_id=run.run_id,
        )


def _not_undone(runs: Sequence[Run], recipes: dict[str, list[Run]], named: Sequence[str]) -> list[Run]:
    """Leaves out what is undone of a recipe; refuses a named run, or a whole recipe, that is."""
    of_recipes = {run.run_id for members in recipes.values() for run in members} - set(named)
    undone = [run for run in runs if run.undone_by is not None]
    left = [run for run in runs if run.undone_by is None]
    whole = [members[0] for members in recipes.values() if members and all(run.undone_by for run in members)]
    refused = [run for run in undone if run.run_id not in of_recipes] or whole
    if refused:
        run = refused[0]
        raise UndoRefused(
            "already_undone",
            f"Run {run.run_id} is undone already, by {run.undone_by}. To have its changes back, undo that undo.",
            run_id=run.run_id, undo_id=run.undone_by,
        )  # fmt: skip
    return left
