"""Comparison of stacks: what is counted, what is refused, what is named."""

from datetime import UTC, datetime

import pytest

from harness.analysis.compare import BOOT, EXITS, EXITS_PER_SECOND, compare
from harness.analysis.model import Verdict
from harness.analysis.statistics import Scope
from harness.errors import ExitCode, InputError
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
        "fidelity": Fidelity.EMULATED,
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
        (Direction.HIGHER, (100, 99, 101), Verdict.NO_DIFFERENCE),
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
        compare([*campaign(), trial("kvm", 5, number=3, fidelity=Fidelity.SILICON)])
    assert "silicon: h1-kvm-5-cpu-3" in str(caught.value)
    assert "emulated: h1-kvm-tuned-0-cpu-0" in str(caught.value)
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
