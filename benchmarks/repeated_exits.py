#!/usr/bin/env python3
"""Do exit counts repeat? Runs a campaign twice and sets the exits of both runs side by side, by workload and reason.

Meant for a rack with `deterministic: true`, and right on any host: it tells what a second run would have counted.

    .venv/bin/python benchmarks/repeated_exits.py campaigns/quickstart.yml
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from harness.cli import guarded
from harness.cli.campaign_run import start
from harness.cli.common import InventoryOption, JsonOption, default_inventory, out, print_json
from harness.errors import ExitCode
from harness.report import words
from harness.results.model import Status, TrialRecord
from harness.results.store import Store

Counts = Mapping[tuple[str, str, str], float]  # by workload, stack, reason: the mean of the trials


def counts(trials: Iterable[TrialRecord]) -> Counts:
    """Exits a trial, all vCPUs; a reason that a trial did not see counts as zero there."""
    runs: dict[tuple[str, str], int] = defaultdict(int)
    sums: dict[tuple[str, str, str], int] = defaultdict(int)
    for trial in trials:
        if trial.status is Status.OK:
            runs[trial.workload, trial.stack] += 1
            for row in trial.exits:
                sums[trial.workload, trial.stack, row.reason] += row.count
    return {key: total / runs[key[:2]] for key, total in sums.items()}


def main(
    campaign: Annotated[Path, typer.Argument(metavar="FILE", help="A campaign file.")],
    inventory: InventoryOption = None,
    json: JsonOption = False,
) -> None:
    """Run a campaign twice and compare the exits it counted."""
    found: list[Counts] = []
    for _ in range(2):
        outcome = start(campaign, default_inventory(inventory), new=True)
        if outcome.exit_code == ExitCode.INTERRUPTED:
            raise typer.Exit(outcome.exit_code)
        with Store() as store:
            found.append(counts(store.trials(outcome.campaign_id)))
    show(*found, as_json=json)


def show(one: Counts, two: Counts, *, as_json: bool) -> None:
    """Both runs' exits for each workload, stack and reason, the total of each first."""
    keys = sorted(one.keys() | two.keys(), key=lambda key: (key[:2], -one.get(key, 0)))
    rows = [(*key, one.get(key, 0.0), two.get(key, 0.0)) for key in keys]
    if as_json:
        print_json([dict(zip(("workload", "stack", "reason", "first", "second"), row, strict=True)) for row in rows])
        return
    table = Table("workload", "stack", "reason", box=None)
    for heading in ("first run", "second run", "second over first"):
        table.add_column(heading, justify="right")
    for workload, stack in dict.fromkeys((row[0], row[1]) for row in rows):
        own = [row for row in rows if row[:2] == (workload, stack)]
        total = (workload, stack, "all", sum(row[3] for row in own), sum(row[4] for row in own))
        for row in (total, *own):
            ratio = f"{row[4] / row[3]:.4f}×" if row[3] else "–"
            table.add_row(*row[:3], words.number(row[3]), words.number(row[4]), ratio)
    out.print(table)


if __name__ == "__main__":
    guarded(lambda: typer.run(main))
