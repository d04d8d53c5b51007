"""Which metrics a comparison judges. The one place that decides it; see docs/explanation/fidelity.md."""

from __future__ import annotations

from harness.analysis.exits import EXITS, EXITS_PER_SECOND
from harness.results.model import Fidelity


def judged(metric: str, fidelity: Fidelity) -> bool:
    """Whether a stack may be called better or worse by this metric.

    On emulated hosts VM exits alone are judged. Whatever a workload measures depends there on how fast the emulator
    is: times and rates, and also counts such as retransmissions, which follow from timeouts.
    """
    return fidelity is Fidelity.SILICON or metric in (EXITS, EXITS_PER_SECOND)
