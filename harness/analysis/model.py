"""What a comparison says: plain frozen records, for the terminal, the report and other programs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from harness.analysis.exit_table import ExitTable
from harness.analysis.flags import Outlier, WarmUp
from harness.analysis.statistics import Effect
from harness.results.model import Direction, Fidelity, TrialRecord


class Verdict(StrEnum):
    """A stack against the baseline, by the interval of their ratio."""

    BETTER = "better"
    WORSE = "worse"
    DIFFERENT = "different"  # of a metric that describes and does not judge
    NO_DIFFERENCE = "no difference"  # as large as the margin: the whole interval lies within it
    NOT_DECIDED = "not decided"  # the interval includes 1 and more than the margin: too few boots to tell
    TOO_FEW = "too few boots"
    NO_RATIO = "no ratio"  # the baseline's mean is zero, or values are negative


@dataclass(frozen=True)
class Figure:
    """One stack's mean of one metric: the mean of its boots' means."""

    stack: str
    mean: float
    boot_means: tuple[float, ...]
    trials: int

    @property
    def boots(self) -> int:
        return len(self.boot_means)


@dataclass(frozen=True)
class Contrast:
    """One stack against the baseline."""

    stack: str
    effect: Effect | None
    verdict: Verdict | None  # None where the metric is not judged


@dataclass(frozen=True)
class MetricComparison:
    """One metric of one workload. `figures` are in the order of `Comparison.stacks`; stacks without a value lack.

    `judged` tells whether there is a verdict on it: harness.analysis.judging decides by metric and fidelity.
    """

    workload: str
    metric: str
    unit: str
    direction: Direction
    judged: bool
    figures: tuple[Figure, ...]
    contrasts: tuple[Contrast, ...]

    def figure(self, stack: str) -> Figure | None:
        return next((figure for figure in self.figures if figure.stack == stack), None)

    def contrast(self, stack: str) -> Contrast | None:
        return next((contrast for contrast in self.contrasts if contrast.stack == stack), None)


@dataclass(frozen=True)
class ExitRate:
    """VM exits of one guest for one reason in one phase, all vCPUs together; per second and per trial."""

    phase: str  # the workload
    stack: str
    reason: str
    per_second: float  # mean of boot means
    boot_low: float  # lowest and highest boot mean
    boot_high: float
    per_trial: float
    boots: int
    trials: int


@dataclass(frozen=True)
class FactDifference:
    """A fact that was not the same in all of a host's blocks. `values` holds each stack's distinct values."""

    host: str
    fact: str
    values: tuple[tuple[str, tuple[str, ...]], ...]
    reason: str  # why it may differ (harness.analysis.fairness); "" where nothing explains it

    @property
    def drifted(self) -> bool:
        """Whether the fact changed within one stack: that is no difference of stacks, but a host that changed."""
        return any(len(found) > 1 for _stack, found in self.values)


class Avic(StrEnum):
    """Why a host has no AVIC in use."""

    ABSENT = "absent"  # the CPU has none
    OFF = "off"  # the CPU has it, and KVM does not use it


@dataclass(frozen=True)
class ReasonIncrease:
    """By how many exits per second tuned KVM exits more for a reason."""

    reason: str
    per_second: float


@dataclass(frozen=True)
class WorkloadIncrease:
    """A workload under which tuned KVM exits more: exits per second of both, and the reasons that grew most."""

    workload: str
    stock: float
    tuned: float
    reasons: tuple[ReasonIncrease, ...]


@dataclass(frozen=True)
class MoreExits:
    """Tuned KVM exits more than stock KVM under network load, on hosts without AVIC in use."""

    stock: str
    tuned: str
    avic: Avic
    workloads: tuple[WorkloadIncrease, ...]


@dataclass(frozen=True)
class Comparison:
    """Everything `compare` found out about the trials of a campaign."""

    baseline: str
    margin: float  # what counts as no difference: ratios from 1 / (1 + margin) to 1 + margin
    stacks: tuple[str, ...]  # the baseline first
    fidelity: Fidelity
    hosts: tuple[str, ...]
    boots: tuple[tuple[str, int], ...]  # by stack, counting boots with a trial that succeeded
    trials: int
    exit_table: ExitTable  # its stacks are `stacks`
    metrics: tuple[MetricComparison, ...]
    exits: tuple[ExitRate, ...]
    more_exits: MoreExits | None  # None where nothing of the kind was measured
    failed: tuple[TrialRecord, ...]
    differences: tuple[FactDifference, ...]
    outliers: tuple[Outlier, ...]
    warm_ups: tuple[WarmUp, ...]
    icr_open: tuple[str, ...]  # those of the stacks whose guests had an open ICR, which is unsafe
    halved: str  # the one stack whose boots were split into halves, to compare it with itself; "" otherwise

    @property
    def unexplained(self) -> tuple[FactDifference, ...]:
        """Differences between the stacks that make the comparison doubtful."""
        return tuple(found for found in self.differences if not found.reason)
