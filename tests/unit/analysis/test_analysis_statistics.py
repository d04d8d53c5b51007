"""The interval: known cases, and how often it holds the truth on synthetic data of the kind campaigns give."""

import math

import numpy as np
import pytest

from harness.analysis.statistics import Scope, boot_means, effect, mean_of_boots, t_quantile

SEED = 20130620


@pytest.mark.parametrize(
    ("degrees", "quantile"),
    # scipy 1.17.1: scipy.stats.t.ppf(0.975, degrees)
    [(1, 12.70620), (1.2, 8.64883), (1.5, 6.01666), (2, 4.30265), (2.7, 3.39215), (10, 2.22814), (1000, 1.96234)],
)
def test_t_quantile_matches_the_tables(degrees, quantile):
    assert t_quantile(degrees) == pytest.approx(quantile, rel=2e-4)


def test_each_boot_weighs_the_same():
    boots = [[1.0, 1.0, 1.0, 1.0], [3.0], []]
    assert boot_means(boots) == (1.0, 3.0)
    assert mean_of_boots(boots) == 2.0


def test_the_interval_is_the_one_known_from_theory():
    """Two boots a side: log-ratio's variance is the sum of the squared standard errors, t by Welch's formula."""
    stack, baseline = [[99.0], [101.0]], [[49.0], [51.0]]
    found = effect({"h": stack}, {"h": baseline}, seed=SEED, resamples=200_000)
    assert found.ratio == pytest.approx(2.0)
    assert found.scope is Scope.BETWEEN_BOOTS
    variances = [2 / 2 / 100**2, 2 / 2 / 50**2]
    degrees = sum(variances) ** 2 / sum(v * v for v in variances)
    reach = t_quantile(degrees) * math.sqrt(sum(variances))
    assert math.log(found.high / found.ratio) == pytest.approx(reach, rel=0.02)
    assert math.log(found.ratio / found.low) == pytest.approx(reach, rel=0.02)


def test_same_data_and_seed_give_the_same_interval_and_the_other_way_round_its_inverse():
    stack, baseline = {"h": [[5.0, 6], [7.0], [8.0]]}, {"h": [[9.0], [11.0], [10.0]]}
    one, two = effect(stack, baseline, seed=1), effect(stack, baseline, seed=1)
    assert one == two
    back = effect(baseline, stack, seed=1)
    assert back.ratio == pytest.approx(1 / one.ratio)
    assert (back.low, back.high) == pytest.approx((1 / one.high, 1 / one.low), rel=0.05)


def test_more_trials_in_a_boot_do_not_pretend_to_be_more_boots():
    few = effect({"h": [[90.0], [110.0]]}, {"h": [[95.0], [105.0]]}, seed=1)
    many = effect({"h": [[90.0] * 50, [110.0] * 50]}, {"h": [[95.0] * 50, [105.0] * 50]}, seed=1)
    assert (many.low, many.high) == (few.low, few.high)


def test_a_single_boot_is_labelled():
    found = effect({"h": [[10.0, 11.0, 12.0]]}, {"h": [[20.0, 21.0, 22.0]]}, seed=1)
    assert found.scope is Scope.WITHIN_BOOT
    assert found.low < found.ratio < found.high


def test_a_single_trial_has_no_interval():
    found = effect({"h": [[10.0]]}, {"h": [[20.0], [21.0]]}, seed=1)
    assert (found.ratio, found.low, found.high) == (pytest.approx(10 / 20.5), None, None)
    assert found.scope is Scope.NONE


def test_exact_repeats_give_an_interval_without_width():
    found = effect({"h": [[29491.0], [29491.0]]}, {"h": [[29490.0], [29490.0]]}, seed=1)
    assert found.low == found.ratio == found.high


def test_no_exits_at_all_is_a_ratio_of_zero():
    found = effect({"h": [[0.0], [0.0]]}, {"h": [[600.0], [640.0]]}, seed=1)
    assert found.ratio == 0
    assert (found.low, found.high) == (0, 0)


def test_a_boot_with_zero_still_has_an_interval():
    found = effect({"h": [[0.0], [2.0], [1.0]]}, {"h": [[600.0], [640.0], [620.0]]}, seed=1)
    assert found.ratio == pytest.approx(1 / 620)
    assert found.low == 0
    assert 0 < found.high < 0.01


@pytest.mark.parametrize("baseline", [{"h": [[0.0], [0.0]]}, {"other": [[1.0], [2.0]]}, {"h": [[-1.0], [2.0]]}, {}])
def test_where_there_is_no_ratio(baseline):
    assert effect({"h": [[1.0], [2.0]]}, baseline, seed=1) is None


def test_hosts_are_compared_each_with_itself():
    """A fast host that lost trials of one stack must not shift the ratio."""
    stack = {"slow": [[10.0], [10.0]], "fast": [[1000.0]]}
    baseline = {"slow": [[20.0], [20.0]], "fast": [[2000.0], [2000.0], [2000.0]]}
    found = effect(stack, baseline, seed=1)
    assert found.ratio == pytest.approx(0.5)
    assert found.hosts == ("slow",)  # fast has one boot of the stack: nothing between boots to be learnt there
    both = effect({**stack, "fast": [[500.0], [500.0]]}, baseline, seed=1)
    assert both.ratio == pytest.approx(math.sqrt(0.5 * 0.25))


def _coverage(boots: int, trials: int, between: float, within: float, truth: float, repeats: int = 500) -> float:
    random = np.random.default_rng(SEED)
    held = 0
    for number in range(repeats):
        sides = []
        for mean in (100 * truth, 100):
            shifts = 1 + between * random.standard_normal((boots, 1)) + within * random.standard_normal((boots, trials))
            sides.append({"h": (mean * shifts).tolist()})
        found = effect(*sides, seed=number, resamples=300)
        held += found.low <= truth <= found.high
    return held / repeats


@pytest.mark.parametrize(("between", "within"), [(0.05, 0.02), (0.01, 0.05)])
@pytest.mark.parametrize("boots", [2, 3, 5, 10])
def test_intervals_of_equal_stacks_contain_one_about_95_times_in_100(boots, between, within):
    # Welch's approximation is on the safe side at two boots.
    assert 0.93 <= _coverage(boots, 3, between, within, truth=1.0) <= (1.0 if boots == 2 else 0.985)


def test_a_true_difference_lies_within_its_interval_as_often():
    assert 0.93 <= _coverage(4, 3, 0.05, 0.02, truth=0.3) <= 0.985


def test_a_difference_of_ten_percent_is_seen():
    random = np.random.default_rng(SEED)
    seen = 0
    for number in range(100):
        stack, baseline = ({"h": (m * (1 + 0.02 * random.standard_normal((5, 1)))).tolist()} for m in (110, 100))
        seen += effect(stack, baseline, seed=number, resamples=500).low > 1
    assert seen >= 95
