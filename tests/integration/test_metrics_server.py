"""A real Prometheus server scraping a real exporter."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import bcrypt
import pytest
from certificates import self_signed
from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from harness.campaign.lab import prometheus_binary
from harness.errors import DeadlineError, HarnessError, UnavailableError
from harness.exits.model import ExitCount
from harness.metrics.check import agrees
from harness.metrics.server import PrometheusServer
from harness.metrics.targets import Target
from harness.onhost import web
from harness.results.model import GuestTotals


class Exits(Collector):
    """The exits of one guest; another one, on bare metal, has none."""

    def __init__(self) -> None:
        self.count = 0.0

    def collect(self) -> Iterator[Metric]:
        labels = ("stack", "guest", "vcpu", "reason")
        found = CounterMetricFamily("nohype_vm_exits", "VM exits by reason", labels=labels)
        found.add_metric(("kvm", "g1", "0", "hlt"), self.count)
        yield found
        up = GaugeMetricFamily("nohype_guest_up", "Whether the guest runs", labels=labels[:2])
        up.add_metric(("bare", "b1"), 1)
        yield up


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
    return PrometheusServer(prometheus_binary(data), data, {"a": Target(exporter.target)}, scrape_seconds)


def test_the_awaited_scrape_began_after_the_moment(exporter: Exporter, tmp_path: Path) -> None:
    """A scrape that is under way, or only recent, does not count: it may hold older values."""
    with server(tmp_path, exporter, 2.0) as prometheus:
        for count in (5, 8, 13):
            exporter.exits.count = count
            ended = totals(count)
            prometheus.await_scrape_after(ended.ended_at, 20, hosts=["a"])
            assert agrees(prometheus, ended) == []
        assert agrees(prometheus, totals(14)) == ["a: g1: vCPU 0, hlt: 13 in Prometheus, 14 in the store"]


def test_on_bare_metal_nothing_can_exit_but_prometheus_must_have_looked(exporter: Exporter, tmp_path: Path) -> None:
    with server(tmp_path, exporter, 0.5) as prometheus:
        ended = GuestTotals("c", "a", "bare", "b1", (), datetime.now(UTC))
        prometheus.await_scrape_after(ended.ended_at, 20)
        assert agrees(prometheus, ended, virtual=False) == []
        assert agrees(prometheus, replace(ended, guest="b2"), virtual=False) == ["a: b2: Prometheus has not seen it"]
        (silent,) = agrees(prometheus, replace(ended, stack="kvm"))
        assert silent == "a: b1: no VM exits, neither in Prometheus nor in the store"


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


def test_an_exporter_with_tls_and_a_password_is_scraped(tmp_path: Path) -> None:
    cert, key = self_signed(tmp_path)
    secret = tmp_path / "password"
    secret.write_text("secret\n")
    users = {"prometheus": bcrypt.hashpw(b"secret", bcrypt.gensalt(4)).decode()}
    registry = CollectorRegistry(auto_describe=False)
    registry.register(Exits())
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    data = tmp_path / "prometheus"
    data.mkdir()
    targets = {"locked": Target(listen, cert), "open": Target(listen, cert, "prometheus", secret)}
    config = web.WebConfig(cert_file=str(cert), key_file=str(key), users=users)
    with web.server(listen, registry, config) as exporter:
        threading.Thread(target=exporter.serve_forever, daemon=True).start()
        with PrometheusServer(prometheus_binary(data), data, targets, 0.5) as prometheus:
            prometheus.await_scrape_after(time.time(), 20, hosts=["open"])
            (sample,) = prometheus.query("nohype_vm_exits_total")
            assert (sample.labels["host"], sample.labels["job"]) == ("open", "nohype")
            with pytest.raises(DeadlineError, match=r"locked \(.*401"):
                prometheus.await_scrape_after(time.time(), 3, hosts=["locked"])
        exporter.shutdown()
    assert (data / "prometheus.yml").stat().st_mode & 0o777 == 0o600
