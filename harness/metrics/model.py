"""What Prometheus answers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Sample:
    """One value of one series. `at` is the time it stands for, Unix seconds."""

    labels: Mapping[str, str] = field(hash=False)
    value: float
    at: float
