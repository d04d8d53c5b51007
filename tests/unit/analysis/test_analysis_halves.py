"""A stack against itself: equal halves come out as what they are, and now and then as something else."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from test_analysis_compare import campaign, metric, trial

from harness.analysis.compare import compare
from harness.analysis.model import Verdict
from harness.report.words import verdict_sentences
from harness.results.model import Fingerprint, Status, TrialRecord

CAMPAIGNS = 300


def one_stack(boots: int, host: str = "h1") -> list[TrialRecord]:
    return [trial("kvm", boot, rate=100 + boot, number=n, host=host) for boot in range(boots) for n in range(2)]


def test_boots_are_halved_with_all_of_their_trials() -> None:
    comparison = compare(one_stack(5) + one_stack(4, "h2"), seed=1)
    assert (comparison.halved, comparison.stacks, comparison.baseline) == ("kvm", ("kvm A", "kvm B"), "kvm A")
    assert dict(comparison.boots) == {"kvm A": 5, "kvm B": 4}
    figures = metric(comparison, "operations_per_second").figures
    assert [figure.trials for figure in figures] == [10, 8]
    assert "kvm alone ran" in verdict_sentences(comparison)[0]


def test_the_seed_decides_the_halves() -> None:
    first, again, other = (compare(one_stack(8), seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.metrics != other.metrics


def test_too_few_boots_are_left_whole() -> None:
    failed = [trial("kvm", boot, status=Status.FAILED) for boot in range(5, 9)]
    for trials in (one_stack(3), one_stack(3) + failed, one_stack(3) + one_stack(3, "h2")):
        comparison = compare(trials)
        assert (comparison.halved, comparison.stacks) == ("", ("kvm",))


def test_two_stacks_are_compared_with_each_other() -> None:
    assert compare(campaign(base=(1,) * 5)).halved == ""


def test_a_host_that_changed_between_the_halves_is_told() -> None:
    trials = [trial("kvm", boot, fingerprint=f"print-{boot // 2}") for boot in range(4)]
    prints = [Fingerprint("h1", f"print-{n}", (("kernel.cmdline", str(n)),)) for n in range(2)]
    (found,) = compare(trials, fingerprints=prints).unexplained
    assert (found.drifted, dict(found.values)) == (True, {"kvm": ("0", "1")})


@pytest.mark.parametrize("boots", [4, 10])
@pytest.mark.parametrize(("between", "within"), [(0.01, 0.002), (0.05, 0.05)])
def test_equal_halves_are_called_different_in_about_one_of_twenty(boots: int, between: float, within: float) -> None:
    """Of 300 campaigns, 15 are expected to; chance leaves these bounds in one run of a thousand."""
    random = np.random.default_rng(20111017)
    verdicts: Counter[Verdict] = Counter()
    for number in range(CAMPAIGNS):
        means = 100 * np.exp(between * random.standard_normal(boots))
        trials = [
            trial("kvm", boot, rate=float(mean * np.exp(within * random.standard_normal())), number=n)
            for boot, mean in enumerate(means)
            for n in range(2)
        ]
        (contrast,) = metric(compare(trials, seed=number), "operations_per_second").contrasts
        verdicts[contrast.verdict] += 1
    assert set(verdicts) <= {Verdict.NO_DIFFERENCE, Verdict.NOT_DECIDED, Verdict.BETTER, Verdict.WORSE}
    assert 3 <= verdicts[Verdict.BETTER] + verdicts[Verdict.WORSE] <= 29
