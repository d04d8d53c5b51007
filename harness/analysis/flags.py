"""Values that do not look like the others of their kind. They are shown and count all the same: none is dropped.

Outliers: the modified z-score of Iglewicz and Hoaglin, "How to detect and handle outliers" (ASQC 1993), which measures
a value's distance from the median in units of the median absolute deviation, and their bound of 3.5. It is asked of ten
values or more: of normal noise it flags one value in 60 with ten of them, one in 20 with five (20,000 samples each).

Warm-up: where a workload is repeated inside boots, the first trial of each boot is set against the median of the others
of that boot. A sign test over boots decides (Dixon and Mood, "The statistical sign test", JASA 1946,
doi:10.1080/01621459.1946.10501898): with less than five boots, no outcome of it would be rare enough.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from harness.results.model import Direction, TrialRecord

FEWEST_VALUES = 10
BOUND = 3.5
CONSISTENT = 0.6745  # of normal noise, the median absolute deviation is this many standard deviations
CHANCE = 0.05  # how rarely boots without a warm-up may look like boots with one


@dataclass(frozen=True)
class Outlier:
    """One trial's value, and how far it lies from the median of its host, stack, workload and metric."""

    trial: str
    host: str
    stack: str
    workload: str
    metric: str
    value: float
    median: float
    score: float  # modified z-score


@dataclass(frozen=True)
class WarmUp:
    """First trials of boots that came out worse than the later ones, more often than chance would have it."""

    stack: str
    workload: str
    metric: str
    worse: int  # boots whose first trial was worse
    boots: int
    ratio: float  # median over boots: first trial's value over the median of the later ones


def outliers(trials: Sequence[TrialRecord], metric: str, value: Callable[[TrialRecord], float | None]) -> list[Outlier]:
    """Those among trials of one host, stack and workload."""
    pairs = [(trial, found) for trial in trials if (found := value(trial)) is not None]
    if len(pairs) < FEWEST_VALUES:
        return []
    values = np.array([found for _trial, found in pairs])
    middle = float(np.median(values))
    deviation = float(np.median(np.abs(values - middle)))
    if not deviation:  # more than half of them are equal: there is nothing to measure distances by
        return []
    scores = CONSISTENT * (values - middle) / deviation
    return [
        Outlier(trial.id, trial.host, trial.stack, trial.workload, metric, found, middle, float(score))
        for (trial, found), score in zip(pairs, scores, strict=True)
        if abs(score) > BOUND
    ]


def warm_up(
    trials: Sequence[TrialRecord], metric: str, direction: Direction, value: Callable[[TrialRecord], float | None]
) -> WarmUp | None:
    """Whether the first trials of boots are worse, among trials of one stack and workload."""
    if direction is Direction.NEITHER:
        return None
    boots: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for trial in trials:
        if (found := value(trial)) is not None:
            boots[trial.host, trial.boot_id].append((trial.order, found))
    pairs = []
    for of_boot in boots.values():
        first, *later = [found for _order, found in sorted(of_boot)]
        if later:
            pairs.append((first, float(np.median(later))))
    sign = 1 if direction is Direction.LOWER else -1
    worse = sum(sign * (first - later) > 0 for first, later in pairs)
    if not pairs or _at_least(worse, len(pairs)) > CHANCE:
        return None
    ratio = float(np.median([first / later if later else math.inf for first, later in pairs]))
    return WarmUp(trials[0].stack, trials[0].workload, metric, worse, len(pairs), ratio)


def _at_least(heads: int, tosses: int) -> float:
    """How likely a fair coin shows so many heads or more."""
    return float(sum(math.comb(tosses, k) for k in range(heads, tosses + 1))) / 2.0**tosses
