"""The first table a reader sees: VM exits of each workload under each stack."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harness.analysis.exits import BOOT, EXITS, EXITS_PER_SECOND, exit_rate, exits_total, phases
from harness.analysis.statistics import mean_of_boots
from harness.results.model import Status, TrialRecord


@dataclass(frozen=True)
class WorkloadExits:
    """One row: means of boots, in the order of `ExitTable.stacks`; None where no trial has succeeded (yet).

    `metric` is EXITS_PER_SECOND. For the workload boot it is EXITS, all exits of one boot: its length differs between
    stacks.
    """

    workload: str
    metric: str
    cells: tuple[float | None, ...]


@dataclass(frozen=True)
class ExitTable:
    """Rows are workloads, columns are stacks. `boots`: by stack, boots of hosts with a trial that succeeded."""

    stacks: tuple[str, ...]
    boots: tuple[int, ...]
    rows: tuple[WorkloadExits, ...]


def exit_table(trials: Iterable[TrialRecord], stacks: Sequence[str] = ()) -> ExitTable:
    """The table of the trials so far; failed ones are left out. No trial is needed: rows come as workloads end.

    `stacks` are the columns and their order, also of stacks that have not run yet; by default those of the trials by
    name. The figures are those of `harness.analysis.compare`: each boot of a host weighs the same.
    """
    good = [trial for trial in trials if trial.status is Status.OK]
    columns = tuple(stacks) or tuple(sorted({trial.stack for trial in good}))
    return ExitTable(
        stacks=columns,
        boots=tuple(len({(trial.host, trial.boot_id) for trial in good if trial.stack == stack}) for stack in columns),
        rows=tuple(_row([trial for trial in good if trial.workload == name], name, columns) for name in phases(good)),
    )


def _row(own: Sequence[TrialRecord], workload: str, stacks: Sequence[str]) -> WorkloadExits:
    metric = EXITS if workload == BOOT else EXITS_PER_SECOND
    boots: dict[str, dict[tuple[str, str], list[float]]] = {stack: defaultdict(list) for stack in stacks}
    for trial in own:
        value = exits_total(trial) if metric == EXITS else exit_rate(trial)
        if value is not None and trial.stack in boots:
            boots[trial.stack][trial.host, trial.boot_id].append(float(value))
    cells = tuple(mean_of_boots(list(found.values())) if found else None for found in boots.values())
    return WorkloadExits(workload, metric, cells)
