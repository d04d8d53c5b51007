"""Which facts may differ between stacks: by reasons that are data, and never in silence."""

from __future__ import annotations

import pytest
from test_analysis_compare import campaign, trial

from harness.analysis.compare import ALLOWED, compare
from harness.analysis.fairness import RULES, reason
from harness.results.model import Fingerprint


@pytest.mark.parametrize(
    ("fact", "values", "explained"),
    [
        ("kernel.cmdline", {"kvm": ("a",), "kvm-tuned": ("b",), "nohype": ("c",)}, True),
        ("kernel.release", {"kvm": ("6.12",), "kvm-tuned": ("6.12",), "nohype": ("6.12-nohype",)}, True),
        ("kernel.release", {"kvm": ("6.12",), "kvm-tuned": ("6.13",), "nohype": ("6.12-nohype",)}, False),
        ("kernel.release", {"kvm": ("6.12",), "xen": ("6.13",)}, False),
        ("guest.nic", {"kvm": ("virtio",), "kvm-tuned": ("vf",), "nohype": ("vf",)}, True),
        ("guest.nic", {"kvm": ("virtio",), "kvm-tuned": ("virtio",), "nohype": ("vf",)}, False),
        ("guest.nic", {"kvm": ("virtio",), "xen": ("vif",), "xen-tuned": ("vf",)}, True),
        ("memory.hugepages-2048kB", {"kvm": ("0",), "kvm-tuned": ("320",), "nohype": ("320",)}, True),
        ("memory.hugepages-2048kB", {"kvm": ("0",), "kvm-tuned": ("320",), "nohype": ("300",)}, False),
        ("guest.icr", {"kvm": ("none",), "kvm-tuned": ("none",), "nohype": ("open",)}, True),
        ("guest.icr", {"kvm": ("none",), "kvm-tuned": ("closed",), "nohype": ("open",)}, False),
        ("guest.vcpus", {"kvm": ("1",), "nohype": ("2",)}, False),
        ("guest.memory_mib", {"kvm": ("512",), "nohype": ("448",)}, False),
        ("guest.image", {"kvm": ("a",), "kvm-tuned": ("b",)}, False),
        ("guest.kernel", {"kvm": ("6.12",), "kvm-tuned": ("6.13",)}, False),
        ("guest.mitigations.meltdown", {"kvm": ("PTI",), "nohype": ("Vulnerable",)}, False),
        ("mitigations.meltdown", {"kvm": ("PTI",), "nohype": ("Vulnerable",)}, False),
        ("cpu.microcode", {"kvm": ("1",), "nohype": ("2",)}, False),
        ("clocksource", {"kvm": ("tsc",), "kvm-tuned": ("hpet",)}, False),
        ("clocksource", {"kvm": ("tsc",), "kvm-tuned": ("tsc",), "xen": ("xen",)}, True),
        (
            "memory.transparent_hugepages",
            {"kvm": ("always",), "xen": ("",), "nohype": ("always",), "bare": ("always",)},
            True,
        ),
        ("memory.transparent_hugepages", {"kvm": ("always",), "nohype": ("",)}, False),
        ("kvm_amd.npt", {"kvm": ("Y",), "kvm-tuned": ("N",)}, False),
        ("kvm_amd.npt", {"kvm": ("Y",), "xen": ("(absent)",)}, True),
        ("xen.version", {"kvm": ("(absent)",), "xen": ("4.20",), "xen-tuned": ("4.20",)}, True),
        ("xen.version", {"kvm": ("(absent)",), "xen": ("4.20",), "xen-tuned": ("4.19",)}, False),
        ("xen.commandline", {"kvm": ("(absent)",), "xen": ("a",), "xen-tuned": ("b",)}, True),
    ],
)
def test_what_may_differ_and_what_must_not(fact: str, values: dict[str, tuple[str, ...]], *, explained: bool) -> None:
    assert bool(reason(fact, values)) == explained


def test_a_fact_that_changed_within_a_stack_is_never_explained() -> None:
    assert reason("kernel.cmdline", {"kvm": ("a", "b"), "nohype": ("c",)}) == ""


def test_the_reason_is_that_of_the_stacks_that_are_odd() -> None:
    reasons = {rule.stacks: rule.reason for rule in RULES if rule.fact == "memory.hugepages-*"}
    (stock,) = (text for stacks, text in reasons.items() if "kvm" in stacks)
    assert reason("memory.hugepages-2048kB", {"kvm": ("0",), "kvm-tuned": ("320",), "nohype": ("320",)}) == stock
    both = reason("memory.hugepages-2048kB", {"kvm": ("0",), "kvm-tuned": ("320",), "xen-tuned": ("0",)})
    assert both == "; ".join(reasons.values())


def prints(**facts: tuple[str, str]) -> list[Fingerprint]:
    """Facts of kvm and kvm-tuned on host h1."""
    return [
        Fingerprint(
            "h1", f"print-h1-{stack}", tuple((name.replace("__", "."), pair[n]) for name, pair in facts.items())
        )
        for n, stack in enumerate(("kvm", "kvm-tuned"))
    ]


def test_a_comparison_tells_what_it_cannot_explain() -> None:
    found = prints(kernel__cmdline=("a", "b"), cpu__microcode=("1", "2"))
    comparison = compare(campaign(), fingerprints=found)
    assert {each.fact: bool(each.reason) for each in comparison.differences} == {
        **{"kernel.cmdline": True, "cpu.microcode": False}
    }
    assert [each.fact for each in comparison.unexplained] == ["cpu.microcode"]


@pytest.mark.parametrize("allowed", [["cpu.microcode"], ["cpu.*"], ["x", "cpu.microcode"]])
def test_who_asks_may_allow_differences(allowed: list[str]) -> None:
    comparison = compare(campaign(), fingerprints=prints(cpu__microcode=("1", "2")), allowed=allowed)
    assert comparison.unexplained == ()
    assert comparison.differences[0].reason == ALLOWED


def test_only_what_figures_come_from_is_judged() -> None:
    """A block whose guests never answered has half a fingerprint, and no figure."""
    from harness.results.model import Status

    lost = trial("kvm", 9, fingerprint="half", status=Status.FAILED)
    half = Fingerprint("h1", "half", ())
    assert compare([*campaign(), lost], fingerprints=[*prints(cpu__model=("x", "x")), half]).differences == ()
