"""The table of exits: workload by stack, from as many trials as there are."""

from __future__ import annotations

import invented_quickstart
import pytest
from test_analysis_compare import campaign, trial

from harness.analysis.compare import compare
from harness.analysis.exit_table import ExitTable, WorkloadExits, exit_table
from harness.analysis.exits import BOOT, EXITS, EXITS_PER_SECOND
from harness.results.model import Fidelity, Status


def test_workloads_are_rows_stacks_are_columns_and_boot_counts_all_exits() -> None:
    trials = [
        trial("nohype", 0, workload="cpu"),
        trial("kvm", 0, workload="cpu", exits=[(0, "hlt", 300), (1, "npf", 200)]),
        trial("kvm", 0, workload="boot", exits=[(0, "ioio", 9000)]),
        trial("kvm", 0, workload="idle", exits=[(0, "hlt", 10)]),
        trial("nohype", 0, workload="boot", exits=[(0, "ioio", 8000)]),
    ]
    assert exit_table(trials) == ExitTable(
        stacks=("kvm", "nohype"),
        boots=(1, 1),
        rows=(
            WorkloadExits(BOOT, EXITS, (9000, 8000)),
            WorkloadExits("idle", EXITS_PER_SECOND, (1, None)),
            WorkloadExits("cpu", EXITS_PER_SECOND, (50, 0)),
        ),
    )


def test_it_fills_as_trials_end() -> None:
    whole = invented_quickstart.trials()
    assert exit_table([], ("kvm", "nohype")) == ExitTable(("kvm", "nohype"), (0, 0), ())
    first = exit_table(whole[:2], invented_quickstart.STACKS)
    assert first.stacks == invented_quickstart.STACKS
    assert first.boots == (1, 0, 0)
    assert [(row.workload, row.cells[1:]) for row in first.rows] == [("boot", (None, None)), ("idle", (None, None))]
    assert all(row.cells[0] for row in first.rows)
    assert None not in [cell for row in exit_table(whole, invented_quickstart.STACKS).rows for cell in row.cells]


def test_failed_trials_and_those_without_length_are_left_out() -> None:
    failed = trial("kvm", 1, exits=[(0, "hlt", 9)], status=Status.FAILED)
    empty = trial("kvm", 2, exits=[(0, "hlt", 9)], seconds=0.0)
    (row,) = exit_table([*campaign(), failed, empty]).rows
    assert row.cells == (50, 50)


def test_the_figures_are_those_of_the_comparison() -> None:
    uneven = [
        *campaign(),
        trial("kvm", 0, number=7, exits=[(0, "hlt", 9000)]),
        trial("kvm", 0, host="h2", exits=[(0, "hlt", 70)]),
        trial("kvm-tuned", 0, host="h2"),
    ]
    comparison = compare(uneven)
    assert comparison.exit_table == exit_table(uneven, comparison.stacks)
    (row,) = comparison.exit_table.rows
    metric = next(found for found in comparison.metrics if found.metric == row.metric)
    assert row.cells == tuple(pytest.approx(figure.mean) for figure in metric.figures)
    assert comparison.exit_table.boots == (4, 4)


def test_halves_of_a_stack_have_a_column_each() -> None:
    alone = [found for found in invented_quickstart.trials(4, Fidelity.SILICON) if found.stack == "kvm"]
    assert compare(alone).exit_table.stacks == ("kvm A", "kvm B")
