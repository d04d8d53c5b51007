"""Does Prometheus hold what the store holds?"""

from __future__ import annotations

import json
import time
from collections import Counter

from harness.metrics.server import PrometheusServer
from harness.results.model import GuestTotals

_AFTER_SECONDS = 300.0  # the last scrape of an ended guest comes within moments; names may be used again later
_RANGE = "12h"  # looks back to the last value before that, also over a reboot of the host


def agrees(server: PrometheusServer, totals: GuestTotals, *, virtual: bool = True) -> list[str]:
    """Every disagreement between Prometheus' last counts of an ended guest and its totals; none: an empty list.

    A guest that is not `virtual` has no VM exits to count: Prometheus must have seen it, and none of it.
    Call it after `server.await_scrape_after(totals.ended_at, ...)`.
    """
    at = min(totals.ended_at.timestamp() + _AFTER_SECONDS, time.time())
    labels = {"host": totals.host, "stack": totals.stack, "guest": totals.guest}
    selector = ", ".join(f"{key}={json.dumps(value)}" for key, value in labels.items())
    counts = f"last_over_time(nohype_vm_exits_total{{{selector}}}[{_RANGE}])"
    found = {
        (sample.labels["vcpu"], sample.labels["reason"]): sample.value
        for sample in server.query(f"sum by (guest, vcpu, reason) ({counts})", at=at)
    }
    stored: Counter[tuple[str, str]] = Counter()
    for row in totals.exits:
        stored[str(row.vcpu), row.reason] += row.count
    if not found and not stored:
        if virtual:
            return [f"{totals.host}: {totals.guest}: no VM exits, neither in Prometheus nor in the store"]
        seen = server.query(f"last_over_time(nohype_guest_up{{{selector}}}[{_RANGE}])", at=at)
        return [] if seen else [f"{totals.host}: {totals.guest}: Prometheus has not seen it"]
    return [
        f"{totals.host}: {totals.guest}: vCPU {vcpu}, {reason}: "
        f"{_shown(found.get((vcpu, reason)))} in Prometheus, {stored.get((vcpu, reason), 'none')} in the store"
        for vcpu, reason in sorted(found.keys() | stored.keys())
        if found.get((vcpu, reason), 0) != stored.get((vcpu, reason), 0)
    ]


def _shown(value: float | None) -> str:
    return "none" if value is None else f"{value:.0f}"
