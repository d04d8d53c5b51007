"""Odd values: flagged where the number of values supports it, and never dropped."""

from __future__ import annotations

import numpy as np
import pytest
from test_analysis_compare import campaign, metric, trial

from harness.analysis.compare import compare
from harness.results.model import Direction, MetricValue, TrialRecord

RATES = (100.0, 101.0, 99.0, 100.5, 99.5, 100.2, 99.8, 101.5, 98.5)


def boots(rates: tuple[float, ...]) -> list[TrialRecord]:
    return [trial("kvm", boot, rate=rate) for boot, rate in enumerate(rates)]


def test_a_value_far_from_the_others_is_flagged_and_counts() -> None:
    comparison = compare([*boots((*RATES, 150.0)), *campaign(base=())])
    (found,) = comparison.outliers
    assert (found.trial, found.metric, found.value) == ("h1-kvm-9-cpu-0", "operations_per_second", 150.0)
    assert found.score > 3.5
    assert metric(comparison, "operations_per_second").figure("kvm").mean == pytest.approx(sum((*RATES, 150.0)) / 10)


def test_of_nine_values_none_is_flagged() -> None:
    assert compare([*boots((*RATES[:8], 1e6)), *campaign(base=())]).outliers == ()


def test_hosts_are_not_each_others_outliers() -> None:
    slow = [trial("kvm", boot, rate=rate / 10, host="h2") for boot, rate in enumerate(RATES)]
    assert compare([*boots(RATES), *slow]).outliers == ()


def test_equal_values_have_no_outliers() -> None:
    assert compare(boots((100.0,) * 9 + (101.0,))).outliers == ()


@pytest.mark.parametrize(
    ("values", "noise", "most"),
    [(10, 0.01, 0.03), (50, 0.01, 0.005)],
)
def test_how_often_good_values_are_flagged(values: int, noise: float, most: float) -> None:
    random = np.random.default_rng(19930101)
    flagged = sum(
        len(compare(boots(tuple(100 * (1 + noise * random.standard_normal(values))))).outliers) for _ in range(100)
    )
    assert flagged / (100 * values) <= most


def repeats(number: int, slow: float, direction: Direction = Direction.LOWER, later: int = 3) -> list[TrialRecord]:
    """Boots whose first trial takes `slow` times as long."""
    return [
        trial(
            "kvm",
            boot,
            number=order,
            metrics=(
                MetricValue("seconds", (slow if order == 0 else 1) * (10 + boot / 10 + order / 50), "s", direction),
            ),
        )
        for boot in range(number)
        for order in range(later + 1)
    ]


def test_first_trials_that_are_slower_in_every_boot_are_a_warm_up() -> None:
    (found,) = compare(repeats(5, 1.2)).warm_ups
    assert (found.stack, found.workload, found.metric, found.worse, found.boots) == ("kvm", "cpu", "seconds", 5, 5)
    assert found.ratio == pytest.approx(1.2, rel=0.02)


@pytest.mark.parametrize(
    "trials",
    [
        repeats(4, 1.2),  # four of four come by chance in one of 16
        repeats(5, 0.8),  # better at first is no warm-up
        repeats(5, 1.2, Direction.HIGHER),
        repeats(5, 1.2, Direction.NEITHER),
        repeats(9, 1.2, later=0),  # nothing to compare with
    ],
)
def test_no_warm_up_is_told_where_there_is_none_or_nothing_to_tell_it_by(trials: list[TrialRecord]) -> None:
    assert compare(trials).warm_ups == ()
