"""Change points of one series of values, by Apache Otava.

Otava finds them as E-divisive means (Matteson & James, doi:10.1080/01621459.2013.849605) in windows, and keeps those a
t-test confirms (Fleming et al., "Hunter", doi:10.1145/3578244.3583719). benchmarks/nightly_detection.py measures how
often that finds changes of known size, and none where there is none.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from otava.analysis import compute_change_points

from harness.analysis.compare import MARGIN

# A night looks at some 50 series, so what is rare in one must be very rare: Otava's own 0.001 would alarm every week.
# benchmarks/nightly_detection.py shows what this one finds, how soon, and how often it alarms where nothing changed.
P_VALUE = 0.00001
WINDOW = 50  # nights, Otava's own
# One night alone may be an accident.
NIGHTS_AFTER = 2


@dataclass(frozen=True)
class Shift:
    """Values from `index` on are others than those before it. The means are of the stretches up to the next shift."""

    index: int
    before: float
    after: float
    p_value: float


def shifts(values: Sequence[float]) -> tuple[Shift, ...]:
    """Where the level of `values` changes, by more than the margin below which campaigns speak of no difference."""
    if len(values) < 2 * NIGHTS_AFTER:
        return ()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # exact repeats have no variance: p is 0 there, which is right
        found, _ = compute_change_points(
            [float(value) for value in values], window_len=WINDOW, max_pvalue=P_VALUE, min_magnitude=MARGIN
        )
    return tuple(
        Shift(int(each.index), float(each.stats.mean_1), float(each.stats.mean_2), float(each.stats.pvalue))
        for each in found
        if len(values) - each.index >= NIGHTS_AFTER
    )
