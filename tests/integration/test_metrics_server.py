"""A real Prometheus server scraping a real exporter."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, Metric
from prometheus_client.registry import Collector

from harness.campaign.lab import prometheus_binary
from harness.errors import DeadlineError, HarnessError, UnavailableError
from harness.exits.model import ExitCount
from harness.metrics.check import agrees
from harness.metrics.server import PrometheusServer
from harness.results.model import GuestTotals


class Exits(Collector):
    """The exits of one guest."""

    def __init__(self) -> None:
        self.count = 0.0

    def collect(self) -> Iterator[Metric]:
        labels = ("stack", "guest", "vcpu", "reason")
        found = CounterMetricFamily("nohype_vm_exits", "VM exits by reason", labels=labels)
        found.add_metric(("kvm", "g1", "0", "hlt"), self.count)
        yield found


class Exporter:
    def __init__(self) -> None:
        self.exits = Exits()
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self.exits)
        self._server, self._thread = start_http_server(0, addr="127.0.0.1", registry=registry)

    @property
    def target(self) -> str:
        return f"127.0.0.1:{self._server.server_address[1]}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def exporter() -> Iterator[Exporter]:
    made = Exporter()
    yield made
    made.stop()


def totals(count: int) -> GuestTotals:
    return GuestTotals("c", "a", "kvm", "g1", (ExitCount(0, "hlt", count),), datetime.now(UTC))


def server(folder: Path, exporter: Exporter, scrape_seconds: float) -> PrometheusServer:
    data = folder / "prometheus"
    data.mkdir(exist_ok=True)
    return PrometheusServer(prometheus_binary(data), data, {"a": exporter.target}, scrape_seconds)


def test_the_awaited_scrape_began_after_the_moment(exporter: Exporter, tmp_path: Path) -> None:
    """A scrape that is under way, or only recent, does not count: it may hold older values."""
    with server(tmp_path, exporter, 2.0) as prometheus:
        for count in (5, 8, 13):
            exporter.exits.count = count
            ended = totals(count)
            prometheus.await_scrape_after(ended.ended_at, 20, hosts=["a"])
            assert agrees(prometheus, ended) == []
        assert agrees(prometheus, totals(14)) == ["a: g1: vCPU 0, hlt: 13 in Prometheus, 14 in the store"]


def test_data_outlive_the_server(exporter: Exporter, tmp_path: Path) -> None:
    exporter.exits.count = 21
    ended = totals(21)
    with server(tmp_path, exporter, 0.5) as prometheus:
        prometheus.await_scrape_after(ended.ended_at, 20)
    with pytest.raises(UnavailableError, match="does not answer"):
        prometheus.query("up")
    exporter.stop()
    with server(tmp_path, exporter, 0.5) as prometheus:
        assert agrees(prometheus, ended) == []


def test_a_host_that_is_not_scraped_is_named(exporter: Exporter, tmp_path: Path) -> None:
    exporter.stop()
    with (
        server(tmp_path, exporter, 0.5) as prometheus,
        pytest.raises(DeadlineError, match=r"did not scrape within 8 s: a \(.*refused"),
    ):
        prometheus.await_scrape_after(time.time(), 8)


def test_wrong_queries_and_ports_taken_meanwhile(exporter: Exporter, tmp_path: Path) -> None:
    with server(tmp_path, exporter, 0.5) as prometheus:
        with pytest.raises(HarnessError, match="Prometheus refuses the query"):
            prometheus.query("sum(")
        other = server(tmp_path, exporter, 0.5)
        threading.Timer(1, prometheus.stop).start()  # the second waits until the first lets go of the data
        with other:
            assert other.query("vector(1)")[0].value == 1
