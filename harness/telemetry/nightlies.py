"""What nightlies have to tell Prometheus."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime

from harness.nightly import watch
from harness.nightly.model import Sample
from harness.onhost.catalogue import Family
from harness.results.store import Store
from harness.telemetry.catalogue import NIGHTLIES

# The figures take a read of the whole history, and change once a night.
_KEPT_SECONDS = 60.0


class Nightlies:
    """A source of `StoreCollector`: what `watch.samples` says, asked at most once a minute."""

    def __init__(self) -> None:
        self._samples: tuple[Sample, ...] = ()
        self._asked = -_KEPT_SECONDS

    def __call__(self, store: Store) -> Iterable[Family]:
        if time.monotonic() - self._asked >= _KEPT_SECONDS:
            self._samples = watch.samples(store, datetime.now(UTC))
            self._asked = time.monotonic()
        for metric in NIGHTLIES.metrics:
            family = metric.family()
            for sample in self._samples:
                if sample.metric == metric.name:
                    labels = dict(sample.labels)
                    family.add_metric(tuple(labels[name] for name in metric.labels), sample.value)
            if family.samples:
                yield family
