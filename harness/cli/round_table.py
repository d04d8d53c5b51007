"""VM exits of the stacks side by side as soon as each was measured once, long before the campaign is done."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from rich import box
from rich.console import Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from harness.campaign.events import TrialEnded
from harness.campaign.plan import Plan
from harness.report import words
from harness.results.model import Fidelity, Status


class FirstRound:
    """Takes trials that have ended, and notices when every stack has one of each workload."""

    def __init__(self, plan: Plan) -> None:
        self._missing = {(block.stack, trial.workload) for block in plan.blocks for trial in block.trials}
        self.trials: list[TrialEnded] = []

    def take(self, trial: TrialEnded) -> bool:
        """Whether this very trial completes the round; those that come after it are not kept."""
        if not self._missing:
            return False
        self.trials.append(trial)
        self._missing.discard((trial.stack, trial.workload))
        return not self._missing


def round_table(plan: Plan, trials: Sequence[TrialEnded], fidelity: Fidelity | None = None) -> RenderableType:
    """A row for each workload, a column for each stack: mean exits per second; of boots, mean exits in all."""
    order = dict.fromkeys(trial.workload for block in plan.blocks for trial in block.trials)
    boots = {trial.workload for block in plan.blocks for trial in block.trials if not trial.seconds}
    stacks = sorted({block.stack for block in plan.blocks})
    title = Text.assemble(("First round: VM exits per second, all vCPUs", "bold"))
    if fidelity:
        title.append(f" ({fidelity})", "dim")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("workload")
    for stack in stacks:
        table.add_column(escape(stack), justify="right")
    for workload in sorted(order, key=lambda name: (name not in boots, name)):
        of_it = [trial for trial in trials if trial.workload == workload]
        total = workload in boots
        cells = (_cell([trial for trial in of_it if trial.stack == stack], total=total) for stack in stacks)
        table.add_row(Text(f"{workload}, exits in all" if total else workload), *cells)
    return Group(title, table)


def _cell(trials: Sequence[TrialEnded], *, total: bool) -> Text:
    succeeded = [trial for trial in trials if trial.status is Status.OK]
    if trials and not succeeded:
        return Text("failed", "red")
    counted = [
        trial.exits if total else trial.exits / trial.seconds
        for trial in succeeded
        if trial.exits is not None and (total or trial.seconds)
    ]
    return Text(words.number(fmean(counted)) if counted else "–")
