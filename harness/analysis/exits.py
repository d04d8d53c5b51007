"""VM exits of trials: totals, rates, reasons, and the phases of a guest's life in their order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from harness.results.model import TrialRecord

EXITS_PER_SECOND = "exits_per_second"
EXITS = "exits"
# The one workload whose length is the result: its exits are compared per boot as well as per second.
BOOT = "boot"
IDLE = "idle"


def exits_total(trial: TrialRecord) -> int:
    """VM exits of the measured phase, all vCPUs and reasons."""
    return sum(row.count for row in trial.exits)


def exits_by_reason(trial: TrialRecord) -> Counter[str]:
    """VM exits of the measured phase by reason, all vCPUs together."""
    found: Counter[str] = Counter()
    for row in trial.exits:
        found[row.reason] += row.count
    return found


def exit_rate(trial: TrialRecord) -> float | None:
    """VM exits per second of the measured phase; None where that phase has no length."""
    return exits_total(trial) / trial.seconds if trial.seconds > 0 else None


def phases(trials: Iterable[TrialRecord]) -> list[str]:
    """The workloads as a guest lives: boot, idle, then the rest by name (trials come in random order)."""
    return sorted({trial.workload for trial in trials}, key=lambda name: (name != BOOT, name != IDLE, name))
