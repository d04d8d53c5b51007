"""Why tuned KVM may exit more than stock KVM: interrupts of a virtual function, where nothing delivers them for KVM.

AMD's AVIC delivers interrupts to a running guest without a VM exit (AMD64 Architecture Programmer's Manual, volume 2,
section 15.29). Without it, an interrupt of a device passed through makes the guest exit, and KVM injects it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from harness.analysis.exits import EXITS_PER_SECOND
from harness.analysis.model import Avic, ExitRate, MetricComparison, MoreExits, ReasonIncrease, WorkloadIncrease
from harness.results.model import Fingerprint, TrialRecord

STOCK = "kvm"
TUNED = "kvm-tuned"
REASONS = 3  # so many are named for each workload; the report's tables have all


def more_exits(
    good: Iterable[TrialRecord],
    fingerprints: Mapping[str, Fingerprint],
    metrics: Iterable[MetricComparison],
    exits: Sequence[ExitRate],
    *,
    network: Collection[str],
    margin: float,
) -> MoreExits | None:
    """Where tuned KVM exits more under network load, on hosts without AVIC in use; None unless the data show it.

    `good` are the trials that succeeded, `fingerprints` the known ones by digest, `metrics` and `exits` what `compare`
    made of them, `network` the workloads that use the network. A workload counts where every boot of tuned KVM exits
    more often than every boot of stock KVM, and the means differ by more than `margin`. The fingerprints must say that
    guests of tuned KVM alone have a virtual function, and that none of its hosts uses AVIC.
    """
    digests = {(trial.stack, trial.fingerprint) for trial in good if trial.stack in (STOCK, TUNED)}
    if not {digest for _stack, digest in digests} <= fingerprints.keys():
        return None
    facts = [(stack, dict(fingerprints[digest].facts)) for stack, digest in digests]
    if any((found.get("guest.nic") == "vf") != (stack == TUNED) for stack, found in facts):
        return None
    why = {avic(found) for stack, found in facts if stack == TUNED}
    rows = [row for row in metrics if row.metric == EXITS_PER_SECOND and row.workload in network]
    increases = tuple(found for row in rows if (found := _increase(row, exits, margin)))
    if not increases or not why or None in why:
        return None
    return MoreExits(STOCK, TUNED, Avic.OFF if Avic.OFF in why else Avic.ABSENT, increases)


def avic(facts: Mapping[str, str]) -> Avic | None:
    """Why a host with these facts has no AVIC in use; None where it has, where it is not known, and on other CPUs.

    `cpu.flags` is the kernel's list, with `avic` where the CPU has it; `kvm_amd.avic` is the module's parameter.
    """
    flags = facts.get("cpu.flags", "").split()
    if "svm" not in flags:
        return None
    if "avic" not in flags:
        return Avic.ABSENT
    return Avic.OFF if facts.get("kvm_amd.avic") in ("N", "0") else None


def _increase(row: MetricComparison, exits: Iterable[ExitRate], margin: float) -> WorkloadIncrease | None:
    stock, tuned = row.figure(STOCK), row.figure(TUNED)
    if not stock or not tuned:
        return None
    if min(tuned.boot_means) <= max(stock.boot_means) or tuned.mean <= (1 + margin) * stock.mean:
        return None
    by_stack = {
        stack: {rate.reason: rate.per_second for rate in exits if (rate.phase, rate.stack) == (row.workload, stack)}
        for stack in (STOCK, TUNED)
    }
    more = {reason: rate - by_stack[STOCK].get(reason, 0.0) for reason, rate in by_stack[TUNED].items()}
    largest = sorted((reason for reason in more if more[reason] > 0), key=lambda reason: -more[reason])[:REASONS]
    reasons = tuple(ReasonIncrease(reason, more[reason]) for reason in largest)
    return WorkloadIncrease(row.workload, stock.mean, tuned.mean, reasons)
