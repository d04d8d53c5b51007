"""Nightlies as figures for monitoring; the exporter of the control node publishes them."""

from __future__ import annotations

from collections import Counter
from datetime import datetime

from harness.nightly.changes import find_changes
from harness.nightly.model import Sample
from harness.nightly.presence import installed
from harness.nightly.schedule import too_late, unrecorded
from harness.nightly.spec import installed_spec
from harness.results.model import NightlyRecord, NightStatus
from harness.results.store import Store

LAST_SUCCESS = "nohype_nightly_last_success_timestamp_seconds"
MISSED = "nohype_nightly_missed"
REGRESSIONS = "nohype_nightly_regressions"


def samples(store: Store, now: datetime) -> tuple[Sample, ...]:
    """Gauges about the installed nightlies. They take a read of the whole history: ask rarely, not at each scrape.

    nohype_nightly_last_success_timestamp_seconds{nightly}: when the last night that was measured (ok or regressed)
    ended, Unix time; absent before the first one.
    nohype_nightly_missed{nightly}: nights missed since the last one that was not.
    nohype_nightly_regressions{nightly, stack, host, metric}: changes for the worse that are open; `metric` is
    workload/metric. A series without one is absent.
    """
    found: list[Sample] = []
    for nightly in installed(store):
        label = ("nightly", nightly.name)
        ended = [
            night.ended_at
            for night in store.nights(nightly.name)
            if night.ended_at and night.status in (NightStatus.OK, NightStatus.REGRESSED)
        ]
        if ended:
            found.append(Sample(LAST_SUCCESS, (label,), max(ended).timestamp()))
        found.append(Sample(MISSED, (label,), float(len(missed(store, nightly, now)))))
        open_ones = Counter(
            (change.series.stack, change.series.host, f"{change.series.workload}/{change.series.metric}")
            for change in find_changes(store, nightly.campaign)
            if change.regression
        )
        for (stack, host, metric), count in sorted(open_ones.items()):
            labels = (label, ("stack", stack), ("host", host), ("metric", metric))
            found.append(Sample(REGRESSIONS, labels, float(count)))
    return tuple(found)


def missed(store: Store, nightly: NightlyRecord, now: datetime) -> tuple[str, ...]:
    """The nights missed since the last one that was not, also where no controller was there to record it."""
    spec = installed_spec(nightly)
    nights = store.nights(nightly.name)
    recorded = {night.night: night.status is not NightStatus.MISSED for night in nights}
    lost = {each.night for each in unrecorded(spec, nightly.installed_at, nights, now) if too_late(spec, each.at, now)}
    names: list[str] = []
    for name in sorted(recorded.keys() | lost):
        names = [] if recorded.get(name) else [*names, name]
    return tuple(names)
