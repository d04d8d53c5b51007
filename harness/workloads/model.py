"""What running a workload gives."""

from __future__ import annotations

from dataclasses import dataclass

from harness.results.model import MetricValue


@dataclass(frozen=True)
class WorkloadResult:
    """Figures of one run. `seconds` is the command's wall time, seen from the control node."""

    seconds: float
    metrics: tuple[MetricValue, ...]
