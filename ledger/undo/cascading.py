"""Which later runs a cascading undo takes with it. UNDO.md, "Policies"."""

from __future__ import annotations

from collections.abc import Sequence

from ledger.domain.record import RecordErased
from ledger.domain.run import Run
from ledger.undo.gathering import Gathering
from ledger.undo.refusals import FindRun
from ledger.undo.request import Selection


def later_runs(gathering: Gathering, find_run: FindRun, runs: Sequence[Run], selection: Selection) -> list[Run]:
    """The runs that wrote a record after one of `runs` did, and those that did so after them; newest first.

    Runs that cannot be undone now (still running, under way) are left out: what they wrote is a conflict.
    """
    group = {run.run_id for run in runs}
    found: dict[str, tuple[int, Run]] = {}
    while fresh := _later(gathering, group, selection):
        added = False
        for run_id, position in fresh:
            run = find_run(run_id)
            if run is None or run.status == "running" or run.undo_under_way or run.before_states_expired:
                continue
            if run_id not in found:
                found[run_id] = position, run
                added = True
        if not added:
            break
        group |= found.keys()
    return [run for _, run in sorted(found.values(), key=lambda entry: -entry[0])]


def _later(gathering: Gathering, group: set[str], selection: Selection) -> set[tuple[str, int]]:
    later: dict[str, int] = {}
    for records in gathering.windows(sorted(group), selection):
        for record in records:
            for event in record.events:
                if event.run_id not in group and not isinstance(event, RecordErased):
                    later[event.run_id] = max(later.get(event.run_id, 0), event.originator_version)
    return set(later.items())
