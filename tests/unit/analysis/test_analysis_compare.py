"""Comparison of stacks: what is counted, what is refused, what is named."""

from datetime import UTC, datetime

import numpy as np
import pytest

from harness.analysis.compare import MARGIN, compare, exit_phases
from harness.analysis.exits import BOOT, EXITS, EXITS_PER_SECOND
from harness.analysis.model import Verdict
from harness.analysis.statistics import Scope
from harness.errors import ExitCode, InputError
from harness.report.words import verdict_sentences
from harness.results.model import Direction, ExitCount, Fidelity, Fingerprint, MetricValue, Status, TrialRecord

AT = datetime(2026, 1, 1, tzinfo=UTC)


def trial(stack, boot, *, workload="cpu", rate=100.0, exits=(), status=Status.OK, host="h1", number=0, **changes):
    values = {
        "id": f"{host}-{stack}-{boot}-{workload}-{number}",
        "campaign_id": "c",
        "block_id": f"{host}-{stack}-{boot}",
        "host": host,
        "stack": stack,
        "workload": workload,
        "repeat": number,
        "order": number,
        "status": status,
        "failure": "" if status is Status.OK else "the guest did not answer",
        "guest": "g",
        "boot_id": f"{host}-{stack}-{boot}",
        "fingerprint": f"print-{host}-{stack}",
        "fidelity": Fidelity.SILICON,  # where every metric is judged
        "started_at": AT,
        "ended_at": AT,
        "seconds": 10.0,
        "overhead_seconds": 0.5,
        "metrics": (MetricValue("operations_per_second", rate, "1/s", Direction.HIGHER),),
        "exits": tuple(ExitCount(vcpu, reason, count) for vcpu, reason, count in exits),
        "exits_dropped": 0,
        "artifacts": "",
    }
    return TrialRecord(**{**values, **changes})


def campaign(base=(100, 101, 99), tuned=(120, 121, 119)):
    """Two stacks, one host, as many boots as rates, two trials in each boot."""
    return [
        trial(stack, boot, rate=rate + number / 10, number=number, exits=[(0, "hlt", 400), (1, "hlt", 100)])
        for stack, rates in (("kvm-tuned", tuned), ("kvm", base))
        for boot, rate in enumerate(rates)
        for number in range(2)
    ]


def metric(comparison, name, workload="cpu"):
    return next(found for found in comparison.metrics if (found.workload, found.metric) == (workload, name))


def test_stacks_side_by_side_with_ratio_boots_and_trials():
    comparison = compare(campaign())
    assert comparison.stacks == ("kvm", "kvm-tuned")  # the baseline first
    found = metric(comparison, "operations_per_second")
    assert [figure.stack for figure in found.figures] == ["kvm", "kvm-tuned"]
    assert found.figure("kvm").mean == pytest.approx(100.05)
    assert (found.figure("kvm").boots, found.figure("kvm").trials) == (3, 6)
    (contrast,) = found.contrasts
    assert contrast.effect.ratio == pytest.approx(120.05 / 100.05)
    assert contrast.effect.low < contrast.effect.ratio < contrast.effect.high
    assert contrast.verdict is Verdict.BETTER


@pytest.mark.parametrize(
    ("direction", "tuned", "verdict"),
    [
        (Direction.HIGHER, (120, 121, 119), Verdict.BETTER),
        (Direction.LOWER, (120, 121, 119), Verdict.WORSE),
        (Direction.HIGHER, (80, 81, 79), Verdict.WORSE),
        (Direction.LOWER, (80, 81, 79), Verdict.BETTER),
        (Direction.NEITHER, (80, 81, 79), Verdict.DIFFERENT),
        (Direction.HIGHER, (100, 99, 101), Verdict.NOT_DECIDED),
        (Direction.NEITHER, (100, 99, 101), Verdict.NOT_DECIDED),
        (Direction.HIGHER, (120,), Verdict.TOO_FEW),
    ],
)
def test_verdicts(direction, tuned, verdict):
    trials = [
        trial(stack, boot, number=n, metrics=(MetricValue("m", rate + n / 10, "u", direction),))
        for stack, rates in (("kvm", (100, 101, 99)), ("kvm-tuned", tuned))
        for boot, rate in enumerate(rates)
        for n in range(2)
    ]
    (contrast,) = metric(compare(trials), "m").contrasts
    assert contrast.verdict is verdict


def test_an_interval_of_0_04_to_20_decides_nothing():
    """Two boots a stack that agree in nothing: no difference is shown, and no equality either."""
    (contrast,) = metric(compare(campaign(base=(60, 140), tuned=(130, 70))), "operations_per_second").contrasts
    assert contrast.effect.low < 0.1
    assert contrast.effect.high > 10
    assert contrast.verdict is Verdict.NOT_DECIDED


@pytest.mark.parametrize("direction", list(Direction))
@pytest.mark.parametrize(("spread", "verdict"), [(0.0005, Verdict.NO_DIFFERENCE), (0.5 * MARGIN, Verdict.NOT_DECIDED)])
def test_no_difference_is_said_of_intervals_within_the_margin_alone(direction, spread, verdict):
    trials = [
        trial(stack, boot, metrics=(MetricValue("m", 100 * (1 + sign * spread), "u", direction),))
        for stack in ("kvm", "kvm-tuned")
        for boot, sign in enumerate((-1, 0, 1))
    ]
    comparison = compare(trials)
    (contrast,) = metric(comparison, "m").contrasts
    assert contrast.effect.ratio == pytest.approx(1)
    within = contrast.effect.low >= 1 / (1 + MARGIN) and contrast.effect.high <= 1 + MARGIN
    assert within == (verdict is Verdict.NO_DIFFERENCE)
    assert contrast.verdict is verdict
    assert comparison.margin == MARGIN


def test_a_difference_within_the_margin_is_still_a_difference():
    (contrast,) = metric(compare(campaign((99.99, 100, 100.01), (100.5,) * 3)), "operations_per_second").contrasts
    assert 1 < contrast.effect.low < contrast.effect.high < 1 + MARGIN
    assert contrast.verdict is Verdict.BETTER


@pytest.mark.parametrize(("truth", "least", "most"), [(1, 0.75, 0.95), (1 + MARGIN, 0, 0.05)])
def test_how_often_seven_boots_that_vary_by_half_a_percent_show_equality(truth, least, most):
    random = np.random.default_rng(20110101)
    equal = 0
    for _ in range(100):
        base, tuned = (tuple(mean * (1 + 0.005 * random.standard_normal(7))) for mean in (100, 100 * truth))
        trials = [
            trial(s, boot, rate=rate) for s, rates in (("kvm", base), ("x", tuned)) for boot, rate in enumerate(rates)
        ]
        equal += metric(compare(trials), "operations_per_second").contrasts[0].verdict is Verdict.NO_DIFFERENCE
    assert least <= equal / 100 <= most


def test_a_single_boot_is_too_few_and_its_interval_is_labelled():
    (contrast,) = metric(compare(campaign(base=(100,), tuned=(120,))), "operations_per_second").contrasts
    assert contrast.verdict is Verdict.TOO_FEW
    assert contrast.effect.scope is Scope.WITHIN_BOOT


def test_blocks_that_share_a_boot_are_one_boot():
    trials = [trial("kvm", 0, number=n, block_id=f"b{n}") for n in range(4)] + campaign(base=(), tuned=(1, 2))
    assert metric(compare(trials), "operations_per_second").figure("kvm").boots == 1


def test_exits_per_second_are_a_metric_of_every_workload():
    found = metric(compare(campaign()), EXITS_PER_SECOND)
    assert found.figure("kvm").mean == pytest.approx(50.0)  # 500 exits of two vCPUs in 10 s
    assert found.direction is Direction.LOWER


def test_exits_in_all_are_a_metric_of_boot_alone():
    trials = [
        *campaign(),
        *(trial(s, b, workload=BOOT, exits=[(0, "ioio", 9)]) for s in ("kvm", "kvm-tuned") for b in (0, 1)),
    ]
    comparison = compare(trials)
    assert metric(comparison, EXITS, BOOT).figure("kvm").mean == 9
    assert not [found for found in comparison.metrics if (found.workload, found.metric) == ("cpu", EXITS)]


def test_exit_rates_by_reason_with_the_spread_of_boots():
    trials = [
        trial("kvm", 0, exits=[(0, "hlt", 1000), (1, "hlt", 200), (0, "npf", 10)]),
        trial("kvm", 1, exits=[(0, "hlt", 800)]),
    ]
    rates = compare(trials).exits
    assert [(rate.reason, rate.per_second) for rate in rates] == [("hlt", 100.0), ("npf", 0.5)]
    hlt, npf = rates
    assert (hlt.boot_low, hlt.boot_high, hlt.per_trial, hlt.boots, hlt.trials) == (80.0, 120.0, 1000.0, 2, 2)
    assert (npf.boot_low, npf.boot_high) == (0.0, 1.0)  # a boot without the reason counts as zero


def test_a_stack_without_any_exit_is_better_by_a_ratio_of_zero():
    trials = campaign() + [trial("nohype", boot, number=n, rate=130 + boot) for boot in range(3) for n in range(2)]
    comparison = compare(trials)
    found = metric(comparison, EXITS_PER_SECOND)
    assert found.figure("nohype").mean == 0
    contrast = found.contrast("nohype")
    assert (contrast.effect.ratio, contrast.effect.low, contrast.effect.high) == (0, 0, 0)
    assert contrast.verdict is Verdict.BETTER
    assert "nohype made fewer VM exits in cpu (0×)" in verdict_sentences(comparison)[1]
    assert metric(comparison, "operations_per_second").contrast("nohype").verdict is Verdict.BETTER
    assert {rate.stack for rate in comparison.exits} == {"kvm", "kvm-tuned"}
    assert [row.workload for row in exit_phases(comparison)] == ["cpu"]


def test_a_baseline_without_any_exit_has_no_ratio():
    trials = campaign() + [trial("nohype", boot, number=n) for boot in range(3) for n in range(2)]
    found = metric(compare(trials, "nohype"), EXITS_PER_SECOND)
    assert found.contrast("kvm").effect is None
    assert found.contrast("kvm").verdict is Verdict.NO_RATIO


def test_some_trials_without_exits_make_a_wide_interval_and_no_error():
    rare = [trial("nohype", boot, exits=[(0, "nmi", boot)]) for boot in range(3)]
    contrast = metric(compare(campaign() + rare), EXITS_PER_SECOND).contrast("nohype")
    assert contrast.effect.low == 0 < contrast.effect.ratio < contrast.effect.high < 1


def test_failed_trials_are_named_and_never_used():
    failed = trial("kvm", 0, number=7, rate=1e9, status=Status.FAILED)
    comparison = compare([*campaign(), failed])
    assert comparison.failed == (failed,)
    assert comparison.trials == 13
    assert metric(comparison, "operations_per_second").figure("kvm").mean == pytest.approx(100.05)


def test_a_stack_that_only_failed_is_still_there():
    failed = [trial("kvm-tuned", 0, status=Status.FAILED)]
    comparison = compare([*campaign(tuned=()), *failed])
    assert comparison.stacks == ("kvm", "kvm-tuned")
    assert dict(comparison.boots) == {"kvm": 3, "kvm-tuned": 0}
    assert metric(comparison, "operations_per_second").contrasts == ()


def test_fidelities_are_not_mixed():
    with pytest.raises(InputError) as caught:
        compare([*campaign(), trial("kvm", 5, number=3, fidelity=Fidelity.EMULATED)])
    assert "emulated: h1-kvm-5-cpu-3" in str(caught.value)
    assert "silicon: h1-kvm-tuned-0-cpu-0" in str(caught.value)
    assert "and 9 more" in str(caught.value)
    assert caught.value.exit_code is ExitCode.BAD_INPUT


def test_an_unknown_baseline_is_refused_with_the_nearest_name():
    with pytest.raises(InputError, match="did you mean 'kvm-tuned'"):
        compare(campaign(), "kvm-tune")


def test_no_trials_are_refused():
    with pytest.raises(InputError, match="no trials"):
        compare([])


def test_differences_of_fingerprints_are_listed_by_host():
    prints = [
        Fingerprint("h1", "print-h1-kvm", (("cpu.model", "EPYC"), ("kernel.cmdline", "quiet"))),
        Fingerprint("h1", "print-h1-kvm-tuned", (("cpu.model", "EPYC"), ("kernel.cmdline", "quiet isolcpus=2"))),
    ]
    (found,) = compare(campaign(), fingerprints=prints).differences
    assert (found.host, found.fact, found.drifted) == ("h1", "kernel.cmdline", False)
    assert dict(found.values) == {"kvm": ("quiet",), "kvm-tuned": ("quiet isolcpus=2",)}


def test_a_fact_that_changed_within_a_stack_is_drift():
    trials = [trial("kvm", 0), trial("kvm", 1, fingerprint="later")]
    prints = [
        Fingerprint("h1", "print-h1-kvm", (("cpu.microcode", "0x1"),)),
        Fingerprint("h1", "later", (("cpu.microcode", "0x2"), ("new", "x"))),
    ]
    microcode, new = compare(trials, fingerprints=prints).differences
    assert microcode.drifted
    assert dict(microcode.values) == {"kvm": ("0x1", "0x2")}
    assert dict(new.values) == {"kvm": ("(absent)", "x")}
