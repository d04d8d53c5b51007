"""Ratio of two stacks with a 95 % confidence interval that knows about boots.

What repeats what: a campaign boots a host several times into each stack, and runs several trials in each boot. Trials
of one boot share whatever that boot happened to get (memory layout, timer phase, placement), so they are not
independent; boots are. Kalibera & Jones, "Rigorous benchmarking in reasonable time" (ISMM 2013,
doi:10.1145/2464157.2464160) therefore build the interval from the highest level that was repeated, and report the ratio
of means. This module does the same with a bootstrap over boots:

- Boots are drawn with replacement, and each drawn boot brings all of its trials (Davison & Hinkley, "Bootstrap methods
  and their application" (1997), section 3.8, first strategy). Drawing the trials with replacement as well would count
  the noise within boots twice: the spread of boot means holds it already.
- Hosts are not drawn: stacks are compared on each host, and the logarithms of the hosts' ratios are averaged (a
  geometric mean), so that a fast host with more good trials does not favour a stack.
- The bootstrap gives the standard error of the log ratio. For n boots it is too small by sqrt((n-1)/n), which is
  mended, and the interval is +- Student's t times it, with Welch-Satterthwaite degrees of freedom. Percentile
  intervals hold the truth far too seldom at the two to five boots a campaign can afford: about 72 % of the time at
  two boots, 84 % at three, 90 % at five (normal noise, mostly between boots).
- Where a stack has a single boot on every host, only trials can be drawn; the interval then says nothing about what
  another boot would give, and is labelled `Scope.WITHIN_BOOT`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Boots = Sequence[Sequence[float]]  # the trials' values, by boot
Floats = npt.NDArray[np.float64]

RESAMPLES = 10_000
CONFIDENCE = 0.95
EXACT = 1e-24  # relative variance of nothing but rounding


class Scope(StrEnum):
    """Which variation an interval covers."""

    BETWEEN_BOOTS = "between boots"
    WITHIN_BOOT = "within boot"
    NONE = "none"  # nothing was repeated: there is no interval


@dataclass(frozen=True)
class Effect:
    """A stack's mean over the baseline's. `low` and `high` bound the 95 % interval; None where there is none."""

    ratio: float
    low: float | None
    high: float | None
    scope: Scope
    hosts: tuple[str, ...]  # the hosts that count; the others lack boots of one of the two stacks


def boot_means(boots: Boots) -> tuple[float, ...]:
    """The mean of each boot's trials; boots without trials are left out."""
    return tuple(float(np.mean(boot)) for boot in boots if len(boot))


def mean_of_boots(boots: Boots) -> float:
    """Mean of boot means: each boot weighs the same, however many of its trials succeeded."""
    return float(np.mean(boot_means(boots)))


def effect(
    stack: Mapping[str, Boots], baseline: Mapping[str, Boots], *, seed: int, resamples: int = RESAMPLES
) -> Effect | None:
    """Compare two stacks, each given as {host: boots: trials' values}.

    None where no ratio exists: no host has both stacks, a value is negative, or the baseline's mean is zero.
    The same data and seed give the same interval.
    """
    hosts = [host for host in stack if boot_means(stack[host]) and boot_means(baseline.get(host, ()))]
    several = [host for host in hosts if min(len(boot_means(side[host])) for side in (stack, baseline)) > 1]
    hosts = several or hosts
    values = [value for side in (stack, baseline) for host in hosts for boot in side[host] for value in boot]
    if not hosts or min(values) < 0:
        return None
    tops = np.array([mean_of_boots(stack[host]) for host in hosts])
    bottoms = np.array([mean_of_boots(baseline[host]) for host in hosts])
    if not bottoms.all():
        return None
    ratio = math.exp(float(np.log(tops / bottoms).mean())) if tops.all() else float((tops / bottoms).mean())
    units = _units(stack, baseline, hosts, by_boot=bool(several))
    if units is None:
        return Effect(ratio, None, None, Scope.NONE, tuple(hosts))
    low, high = _interval(ratio, units, len(hosts), np.random.default_rng(seed), resamples)
    return Effect(ratio, low, high, Scope.BETWEEN_BOOTS if several else Scope.WITHIN_BOOT, tuple(hosts))


def t_quantile(degrees: float, confidence: float = CONFIDENCE) -> float:
    """Student's t such that `confidence` of the distribution lies within +-t; `degrees` may be a fraction, >= 1.

    With t = sqrt(v) tan(a), the density becomes cos(a)**(v-1), which is smooth and bounded, and is summed numerically.
    """
    angles = np.linspace(0, math.pi / 2, 10_001)
    density = np.cos(angles) ** (degrees - 1)
    below = np.concatenate([[0.0], np.cumsum((density[1:] + density[:-1]) / 2)])
    angle = float(np.interp(confidence, below / below[-1], angles))
    return math.sqrt(degrees) * math.tan(angle)


def _units(
    stack: Mapping[str, Boots], baseline: Mapping[str, Boots], hosts: Sequence[str], *, by_boot: bool
) -> list[Floats] | None:
    """What is drawn from, for each stack and host: boot means, or trials. None where one of them was not repeated."""
    found = []
    for side in (stack, baseline):
        for host in hosts:
            trials = [value for boot in side[host] for value in boot]
            units = np.array(boot_means(side[host]) if by_boot else trials, dtype=np.float64)
            if len(units) < 2:
                return None
            found.append(units)
    return found


def _interval(
    ratio: float, drawn_from: Sequence[Floats], hosts: int, random: np.random.Generator, resamples: int
) -> tuple[float, float]:
    """The bounds: on the logarithmic scale, or on the linear one where a zero forbids logarithms."""
    logarithmic = all(bool((units > 0).all()) for units in drawn_from)
    variances, freedoms = [], []
    for units in drawn_from:
        count, mean = len(units), float(units.mean())
        means = units[random.integers(count, size=(resamples, count))].mean(axis=1)
        moved = np.log(means / mean) if logarithmic else means / mean if mean else np.zeros(resamples)
        variances.append(float(moved.var()) * count / (count - 1) / hosts**2)
        freedoms.append(count - 1)
    total = sum(variances)
    # Exact repeats (a deterministic rack, a counter that stays zero) leave an interval of no width.
    if total < EXACT:
        return ratio, ratio
    degrees = total**2 / sum(v * v / f for v, f in zip(variances, freedoms, strict=True))
    reach = t_quantile(degrees) * math.sqrt(total)
    if logarithmic:
        return ratio * math.exp(-reach), ratio * math.exp(reach)
    return max(0.0, ratio * (1 - reach)), ratio * (1 + reach)
