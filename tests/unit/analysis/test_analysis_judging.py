"""What is judged on which hosts, and why tuned KVM may exit more than stock KVM."""

from __future__ import annotations

from dataclasses import replace

import invented_quickstart
import pytest
from invented_quickstart import FACTS, NETWORK, STACKS

from harness.analysis.compare import MARGIN, compare
from harness.analysis.exits import EXITS, EXITS_PER_SECOND
from harness.analysis.judging import judged
from harness.analysis.model import Avic, Comparison
from harness.analysis.more_exits import REASONS, avic
from harness.report.words import NOT_JUDGED, more_exits, not_judged, verdict_sentences
from harness.results.model import Fidelity, Fingerprint, TrialRecord

EMULATED = [Fidelity.EMULATED, Fidelity.EMULATED_ICOUNT]


@pytest.mark.parametrize("fidelity", EMULATED)
def test_on_emulated_hosts_exits_alone_are_judged(fidelity: Fidelity) -> None:
    comparison = compare(invented_quickstart.trials(fidelity=fidelity))
    for row in comparison.metrics:
        assert row.judged == (row.metric in (EXITS, EXITS_PER_SECOND))
        for contrast in row.contrasts:
            assert (contrast.verdict is not None) == row.judged
            assert contrast.effect is not None  # ratio and interval are there all the same
    assert not_judged(comparison) == NOT_JUDGED
    assert not [sentence for sentence in verdict_sentences(comparison) if "other metric" in sentence]


def test_on_silicon_everything_is_judged() -> None:
    comparison = compare(invented_quickstart.trials(fidelity=Fidelity.SILICON))
    assert all(row.judged and all(contrast.verdict for contrast in row.contrasts) for row in comparison.metrics)
    assert not_judged(comparison) is None
    assert "of its 9 other metrics" in verdict_sentences(comparison)[0]


def test_no_name_of_a_workloads_own_metric_is_judged_on_emulated_hosts() -> None:
    for name in ("throughput", "round_trip_p50", "retransmits", "seconds"):
        assert judged(name, Fidelity.SILICON)
        assert not any(judged(name, fidelity) for fidelity in EMULATED)


def explained(
    trials: tuple[TrialRecord, ...] | None = None, prints: tuple[Fingerprint, ...] | None = None
) -> Comparison:
    prints = invented_quickstart.fingerprints() if prints is None else prints
    return compare(trials or invented_quickstart.trials(), fingerprints=prints, network=NETWORK)


def test_more_exits_of_tuned_kvm_are_explained_with_the_reasons_that_grew() -> None:
    comparison = explained()
    found = comparison.more_exits
    assert found
    assert (found.stock, found.tuned, found.avic) == ("kvm", "kvm-tuned", Avic.ABSENT)
    (row,) = found.workloads  # under network-latency it exits less
    assert row.workload == "network-throughput"
    rates = {
        (rate.stack, rate.reason): rate.per_second for rate in comparison.exits if rate.phase == "network-throughput"
    }
    assert [each.reason for each in row.reasons] == ["intr", "vintr", "msr"]
    assert len(row.reasons) == REASONS
    for each in row.reasons:
        assert each.per_second == pytest.approx(rates["kvm-tuned", each.reason] - rates["kvm", each.reason])
    text = more_exits(comparison)
    assert text
    assert "the CPU has no AVIC" in text
    assert "network-throughput" in text


def without(reason: str) -> tuple[TrialRecord, ...]:
    return tuple(
        replace(trial, exits=tuple(row for row in trial.exits if row.reason != reason))
        for trial in invented_quickstart.trials()
    )


def test_the_reasons_come_from_the_data() -> None:
    found = explained(without("intr")).more_exits
    assert found is not None
    assert [each.reason for each in found.workloads[0].reasons] == ["vintr", "msr"]


def test_nothing_is_explained_that_the_data_do_not_show() -> None:
    flags = FACTS["cpu.flags"]
    assert explained(prints=()).more_exits is None  # nothing is known of the hosts
    assert explained(prints=invented_quickstart.fingerprints()[:1]).more_exits is None
    assert (
        explained(prints=invented_quickstart.fingerprints(cpu__flags=f"{flags} avic", kvm_amd__avic="Y")).more_exits
        is None
    )
    assert explained(prints=invented_quickstart.fingerprints(cpu__flags="fpu vmx ept")).more_exits is None
    assert compare(invented_quickstart.trials(), fingerprints=invented_quickstart.fingerprints()).more_exits is None
    calm = tuple(
        replace(trial, exits=invented_quickstart.trials()[5].exits) if trial.workload == "network-throughput" else trial
        for trial in invented_quickstart.trials()
    )
    assert explained(calm).more_exits is None
    assert more_exits(explained(calm)) is None
    same_card = tuple(
        replace(found, facts=tuple((dict(found.facts) | {"guest.nic": "vf"}).items()))
        for found in invented_quickstart.fingerprints()
    )
    assert explained(prints=same_card).more_exits is None


def test_boots_that_overlap_or_differ_by_less_than_the_margin_show_nothing() -> None:
    def with_rates(stock: tuple[int, int], tuned: tuple[int, int]) -> tuple[TrialRecord, ...]:
        wanted = {"kvm": stock, "kvm-tuned": tuned, "nohype": (0, 0)}
        return tuple(
            replace(
                trial, exits=(replace(trial.exits[0], count=wanted[trial.stack][int(trial.boot_id.split("-")[1])]),)
            )
            if trial.workload == "network-throughput" and trial.exits
            else trial
            for trial in invented_quickstart.trials()
        )

    assert explained(with_rates((1000, 2000), (1900, 4000))).more_exits is None
    assert explained(with_rates((10000, 10001), (10002, 10003))).more_exits is None
    assert MARGIN > 2 / 10000
    assert explained(with_rates((1000, 2000), (2100, 4000))).more_exits is not None


@pytest.mark.parametrize(
    ("flags", "parameter", "why"),
    [
        ("fpu svm npt", "N", Avic.ABSENT),
        ("fpu svm npt", "", Avic.ABSENT),
        ("fpu svm npt avic", "N", Avic.OFF),
        ("fpu svm npt avic", "0", Avic.OFF),
        ("fpu svm npt avic", "Y", None),
        ("fpu svm npt avic", "", None),
        ("fpu svm npt x2avic_like", "N", Avic.ABSENT),
        ("fpu vmx", "", None),
        ("", "", None),
    ],
)
def test_avic_is_told_by_the_fingerprint(flags: str, parameter: str, why: Avic | None) -> None:
    assert avic({"cpu.flags": flags, "kvm_amd.avic": parameter}) is why


def test_stacks_are_those_of_the_quickstart() -> None:
    assert compare(invented_quickstart.trials()).stacks == STACKS
