"""What a campaign has to set beside the paper, and what it lacks."""

from __future__ import annotations

import pytest
from test_analysis_compare import metric, trial

from harness.analysis.compare import compare
from harness.analysis.exits import BOOT
from harness.analysis.paper import KNOWN, XEN, beside_the_paper
from harness.results.model import Direction, MetricValue, TrialRecord

EXITS = {
    "xen": {BOOT: [("ioio", 900), ("cpuid", 100)], "idle": [("hlt", 400)], "cpu": [("intr", 8000)]},
    "nohype": {BOOT: [("ioio", 800)], "idle": [], "cpu": []},
}


def trials(*stacks: str) -> list[TrialRecord]:
    rates = {"xen": 100.0, "nohype": 102.0}
    seconds = {"xen": 10.0, "nohype": 8.0}
    return [
        trial(
            stack,
            boot,
            workload=workload,
            exits=[(0, reason, count) for reason, count in exits],
            metrics=(
                MetricValue("rate", rates[stack] + boot / 10, "1/s", Direction.HIGHER),
                MetricValue("wait", seconds[stack] + boot / 100, "s", Direction.LOWER),
                MetricValue("kind", 1.0, "", Direction.NEITHER),
            ),
        )
        for stack in stacks
        for workload, exits in EXITS[stack].items()
        for boot in range(3)
    ]


def test_exits_by_workload_and_reason_and_gains_over_xen() -> None:
    comparison = compare(trials("xen", "nohype"), XEN)
    paper = beside_the_paper(comparison, comparison)
    assert {row.name: row.cells for row in paper.running} == {"idle": (40.0, 0.0), "cpu": (800.0, 0.0)}
    assert paper.average == (420.0, 0.0)
    assert [(row.name, row.cells) for row in paper.boot] == [("ioio", (900.0, 800.0)), ("cpuid", (100.0, 0.0))]
    assert [(row.name, row.cells) for row in paper.run] == [("intr", (400.0, 0.0)), ("hlt", (20.0, 0.0))]
    assert sum(cells[0] for _name, cells in [(row.name, row.cells) for row in paper.run]) == paper.average[0]
    gains = {(row.workload, row.metric): row.gains[0] for row in paper.gains}
    assert set(gains) == {(workload, name) for workload in ("idle", "cpu") for name in ("rate", "wait")}
    faster, sooner = gains["cpu", "rate"], gains["cpu", "wait"]
    assert faster.share == pytest.approx(0.02, abs=1e-3)
    assert sooner.share == pytest.approx(0.25, abs=1e-3)  # 8 s in place of 10 s: 1.25 times as fast
    for gain in (faster, sooner):
        assert gain.low < gain.share < gain.high
    effect = metric(comparison, "wait").contrast("nohype").effect
    assert (sooner.low, sooner.high) == pytest.approx((1 / effect.high - 1, 1 / effect.low - 1))
    assert paper.missing == ()


def test_without_xen_it_says_what_is_missing() -> None:
    paper = beside_the_paper(compare(trials("nohype"), "nohype"), None)
    assert paper.gains == ()
    assert [row.name for row in paper.running] == ["idle", "cpu"]
    assert [text.split(":")[0] for text in paper.missing] == ["stack xen"]


def test_a_stack_without_one_of_the_workloads_has_no_average() -> None:
    some = [each for each in trials("xen", "nohype") if (each.stack, each.workload) != ("nohype", "cpu")]
    paper = beside_the_paper(compare(some, XEN), None)
    assert paper.average == (420.0, None)
    assert {row.name: row.cells for row in paper.running}["cpu"] == (800.0, None)
    assert all(row.cells[1] is None for row in paper.run)


def test_exits_made_on_purpose_are_no_part_of_it() -> None:
    purpose = [trial("xen", boot, workload=KNOWN, exits=[(0, "cpuid", 10**6)]) for boot in range(3)]
    both = trials("xen", "nohype")
    assert beside_the_paper(compare([*both, *purpose], XEN), None) == beside_the_paper(compare(both, XEN), None)


def test_a_campaign_of_boots_alone_has_exits_of_boots_alone() -> None:
    boots = [each for each in trials("xen", "nohype") if each.workload == BOOT]
    paper = beside_the_paper(compare(boots, XEN), None)
    assert (paper.running, paper.average, paper.run) == ((), (), ())
    assert paper.boot
    assert any("besides boot" in text for text in paper.missing)
