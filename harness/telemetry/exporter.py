"""The control node's exporter: what the results store holds, read when Prometheus asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta

from prometheus_client.registry import Collector

from harness import __version__
from harness.campaign.provenance import revision
from harness.campaign.register import RUNNING, status_now
from harness.errors import HarnessError
from harness.onhost.catalogue import Family
from harness.results.model import CampaignRecord
from harness.results.store import Store
from harness.telemetry import catalogue as c
from harness.telemetry.history import Reading, families, history, latest, load

CAMPAIGNS = 10  # as many are served unless told otherwise: the bound on series
# For so long after its end a campaign is served: Prometheus gets its last figures, and trends over many campaigns do
# not get those of an old one again with every scrape. Later, there is back-filling.
KEPT = timedelta(hours=1)

# A further part of the testbed that has something to tell Prometheus: it reads the store and returns families of
# metrics made by `Metric.family()` of its group in the catalogue, none where there is nothing to tell.
Source = Callable[[Store], Iterable[Family]]


class StoreCollector(Collector):
    """Reads the store afresh for each scrape, but for campaigns that have come to a stop.

    Served are the latest `campaigns` of those that run, or did within the last hour. A store that cannot be read is
    `nohype_store_up` 0 and nothing else.
    """

    def __init__(self, store: Store, campaigns: int = CAMPAIGNS, sources: tuple[Source, ...] = ()) -> None:
        self._store = store
        self._limit = campaigns
        self._sources = sources
        self._revision = revision()
        self._stopped: dict[tuple[str, str], list[Reading]] = {}  # by id and status

    def collect(self) -> Iterator[Family]:
        began = time.monotonic()
        found: list[Family] = []
        info = c.HARNESS_INFO.family()
        info.add_metric((__version__, self._revision), 1)
        yield info
        up = c.STORE_UP.family()
        try:
            found = [*self._campaigns(), *(family for source in self._sources for family in source(self._store))]
            up.add_metric((), 1)
        except HarnessError:
            up.add_metric((), 0)
        yield up
        yield from found
        seconds = c.STORE_SECONDS.family()
        seconds.add_metric((), time.monotonic() - began)
        yield seconds

    def _campaigns(self) -> list[Family]:
        records = self._store.campaigns()
        since = datetime.now(UTC) - KEPT
        recent = [record for record in records if record.ended_at is None or record.ended_at >= since]
        readings = {(record.id, status_now(record)): self._readings(record) for record in recent[: self._limit]}
        self._stopped = {key: found for key, found in readings.items() if key[1] != RUNNING}
        count = c.STORE_CAMPAIGNS.family()
        count.add_metric((), len(records))
        served = [found for key, found in readings.items() if key[1] == RUNNING or found[-1].at >= since]
        rows = ((*series, value, None) for found in served for series, value in latest(found).items())
        return [count, *families(rows)]

    def _readings(self, record: CampaignRecord) -> list[Reading]:
        return self._stopped.get((record.id, status_now(record))) or history(load(self._store, record))
