"""A reading of a host's exit counters."""

from __future__ import annotations

from dataclasses import dataclass

from harness.results.model import ExitCount


@dataclass(frozen=True)
class ExitReading:
    """Counters of every guest of a host since the counters began, at one moment.

    `taken_at` is the host's CLOCK_MONOTONIC in seconds; `dropped` counts events the kernel's table had no room for.
    """

    taken_at: float
    dropped: int
    guests: dict[str, tuple[ExitCount, ...]]

    def of(self, guest: str) -> tuple[ExitCount, ...]:
        return self.guests.get(guest, ())


def difference(before: tuple[ExitCount, ...], after: tuple[ExitCount, ...]) -> tuple[ExitCount, ...]:
    """What happened between two readings of one guest; rows that did not move are left out.

    Raises ValueError when a counter went backwards (it was reset in between).
    """
    start = {(row.vcpu, row.reason): row.count for row in before}
    rows = []
    for row in after:
        moved = row.count - start.pop((row.vcpu, row.reason), 0)
        if moved < 0:
            raise ValueError(f"exit counter vcpu={row.vcpu} reason={row.reason} went back by {-moved}")
        if moved:
            rows.append(ExitCount(row.vcpu, row.reason, moved))
    vanished = [key for key, count in start.items() if count]
    if vanished:
        raise ValueError(f"exit counters vanished: {vanished}")
    return tuple(rows)
