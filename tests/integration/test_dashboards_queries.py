"""Every query of every dashboard, asked of a real Prometheus.

It scrapes the real exporters, of a host (with files of a fixture) and of the control node, and holds back-filled
campaigns: what Grafana would ask of it, variables filled in.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
import urllib.parse
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest
from fake_host import FakeHost
from invented_campaign import HOSTILE, add_campaign
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from harness.campaign.lab import prometheus_binary
from harness.metrics.server import PrometheusServer
from harness.metrics.targets import Target
from harness.onhost import web
from harness.onhost.catalogue import Family
from harness.onhost.exporter import HostCollector
from harness.paths import repo_root
from harness.results.store import Store
from harness.telemetry import catalogue
from harness.telemetry.backfill import backfill
from harness.telemetry.exporter import StoreCollector
from harness.wait import until

DASHBOARDS = {
    path.stem: json.loads(path.read_text()) for path in sorted((repo_root() / "dashboards/json").glob("*.json"))
}
PANELS = [
    pytest.param(name, panel, id=f"{name}-{panel['title']}")
    for name, one in DASHBOARDS.items()
    for panel in one["panels"]
]
NOW = datetime.now(UTC).replace(microsecond=0)
pytestmark = pytest.mark.xdist_group("dashboards")  # one Prometheus answers the whole module
NIGHT = "invented-nightly"
HOURS = {"nohype-nightly": 96}  # of the time range; of the others:
USUAL_HOURS = 6


def nightlies(_store: Store) -> Iterable[Family]:
    """What the metrics of nightlies will look like (docs/reference/metrics.md)."""
    success = catalogue.NIGHTLY_SUCCESS.family()
    success.add_metric((NIGHT,), time.time() - 3600)
    missed = catalogue.NIGHTLY_MISSED.family()
    missed.add_metric((NIGHT,), 0)
    regressions = catalogue.NIGHTLY_REGRESSIONS.family()
    regressions.add_metric((NIGHT, "kvm", "rack1", "events_per_second"), 1)
    return [success, missed, regressions]


@dataclass(frozen=True)
class Lab:
    prometheus: PrometheusServer
    variables: dict[str, str]

    def range(self, expr: str, hours: float, step: float) -> list[dict[str, object]]:
        words = {"query": expr, "start": time.time() - hours * 3600, "end": time.time(), "step": step}
        url = f"{self.prometheus.url}/api/v1/query_range?{urllib.parse.urlencode(words)}"
        with urllib.request.urlopen(url, timeout=60) as reply:
            return json.load(reply)["data"]["result"]  # type: ignore[no-any-return]


class _Scraping(PrometheusServer):
    """Of the control node as well, as the role prometheus configures it."""

    controller = ""

    def _configuration(self) -> str:
        document = json.loads(super()._configuration())
        targets = [{"targets": [self.controller]}]
        document["scrape_configs"].append({"job_name": "nohype-controller", "static_configs": targets})
        return json.dumps(document)


@contextmanager
def _served(collector: Collector) -> Iterator[str]:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{probe.getsockname()[1]}"
    with web.server(listen, registry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield listen
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    if os.geteuid() != 0:
        pytest.skip("the toolbox's Prometheus needs root: sudo tests/run")
    folder = tmp_path_factory.mktemp("dashboards")
    data = folder / "prometheus"
    (data / "tsdb").mkdir(parents=True)
    with ExitStack() as stack:
        store = stack.enter_context(Store(f"sqlite:///{folder / 'results.sqlite'}"))
        for days, cost in ((3, 1.0), (2, 1.0), (1, 1.3)):
            old = add_campaign(store, NIGHT, NOW - timedelta(days=days), boots=1, cost=cost)
            backfill(store, old, data / "tsdb")
        recent = add_campaign(store, NIGHT, NOW - timedelta(hours=4), hostile=True)
        backfill(store, recent, data / "tsdb")
        running = add_campaign(store, "invented-live", NOW - timedelta(minutes=40), boots=1, status="running")
        host = FakeHost(folder / "host")
        _Scraping.controller = stack.enter_context(_served(StoreCollector(store, sources=(nightlies,))))
        targets = {"rack1": Target(stack.enter_context(_served(HostCollector(host.root))))}
        server = stack.enter_context(_Scraping(prometheus_binary(data), data, targets, 0.5))

        def rates() -> bool:
            host.pass_time()
            return bool(server.query('rate(nohype_vm_exits_total{reason="hlt"}[10s]) > 0'))

        until(rates, seconds=30, what="two scrapes of the host", interval=0.2)
        until(lambda: bool(server.query("nohype_nightly_missed")), seconds=30, what="a scrape of the control node")
        yield Lab(
            server,
            {
                "campaign": recent.id,
                "live": running.id,
                "nightly": NIGHT,
                "workload": "cpu",
                "metric": "events_per_second",
                "host": ".*",
                "stack": ".*",
                "guest": ".*",
                "hostile": "hostile.*",
                "datasource": "p",
            },
        )


def filled_in(expr: str, variables: dict[str, str], hours: float, step: float) -> str:
    """As Grafana would send it."""
    times = {"__range": f"{hours:g}h", "__interval": f"{step:g}s", "__rate_interval": "10s"}
    known = {**variables, **times}
    return re.sub(r"\$(\w+)", lambda found: known[found[1]], expr)


def answers(lab: Lab, name: str, target: dict[str, object], **changes: str) -> list[dict[str, str]]:
    """The labels of what Prometheus answers to a panel's query."""
    hours = HOURS.get(name, USUAL_HOURS)
    step = hours * 3600 / 300
    expr = filled_in(str(target["expr"]), {**lab.variables, **changes}, hours, step)
    if target.get("instant"):
        return [dict(sample.labels) for sample in lab.prometheus.query(expr)]
    return [dict(row["metric"]) for row in lab.range(expr, hours, step)]  # type: ignore[call-overload]


@pytest.mark.parametrize(("name", "panel"), PANELS)
def test_every_query_has_an_answer(lab: Lab, name: str, panel: dict[str, object]) -> None:
    for target in panel["targets"]:  # type: ignore[attr-defined]
        found = answers(lab, name, target)
        assert found, target["expr"]
        legend = set(re.findall(r"\{\{(\w+)\}\}", str(target.get("legendFormat", ""))))
        for labels in found:
            assert legend <= labels.keys(), "the legend asks for labels that are not there"
        if legend:
            told = [tuple(labels[key] for key in sorted(legend)) for labels in found]
            assert len(set(told)) == len(told), "two series with one legend"


@pytest.mark.parametrize("name", DASHBOARDS)
def test_every_variable_has_values(lab: Lab, name: str) -> None:
    for variable in DASHBOARDS[name]["templating"]["list"]:
        if variable["type"] != "query":
            continue
        match = re.fullmatch(r"label_values\((.+), (\w+)\)", variable["query"])
        assert match
        selector = filled_in(match[1], lab.variables, 6, 60)
        (labels,) = lab.prometheus.query(f"count(count by ({match[2]}) (last_over_time({selector}[7d])))")
        assert labels.value > 0


def value(lab: Lab, name: str, title: str, ref: str = "A", **changes: str) -> dict[tuple[str, ...], float]:
    """What an instant panel shows, by the values of its labels."""
    (panel,) = [panel for panel in DASHBOARDS[name]["panels"] if panel["title"] == title]
    (target,) = [target for target in panel["targets"] if target["refId"] == ref]
    expr = filled_in(target["expr"], {**lab.variables, **changes}, HOURS.get(name, USUAL_HOURS), 60)
    return {tuple(sample.labels.values()): sample.value for sample in lab.prometheus.query(expr)}


def test_a_campaign_that_ended_and_one_that_runs(lab: Lab) -> None:
    assert value(lab, "nohype-campaign", "State") == {("done",): 1}
    assert value(lab, "nohype-campaign", "State", campaign=lab.variables["live"]) == {("running",): 1}
    assert value(lab, "nohype-campaign", "Trials done") == {(): 1}
    for campaign in ("campaign", "live"):
        assert value(lab, "nohype-campaign", "Trials failed", campaign=lab.variables[campaign]) == {(): 1}
    assert value(lab, "nohype-campaign", "Prometheus disagrees") == {(lab.variables["campaign"],): 1}
    assert value(lab, "nohype-campaign", "Hosts set aside") == {(): 1}
    (share,) = value(lab, "nohype-campaign", "Measuring").values()
    assert share == pytest.approx(47 * 10 / (47 * 10 + 48 * 1.5))  # 48 trials, of which one failed


def test_stacks_side_by_side(lab: Lab) -> None:
    exits = value(lab, "nohype-campaign", "VM exits by phase")
    assert exits["kvm", "cpu"] == pytest.approx(627, rel=0.03)
    assert exits["kvm-tuned", "cpu"] == pytest.approx(62.7, rel=0.03)
    assert exits["nohype", "cpu"] == 0
    ratios = value(lab, "nohype-campaign", "Stacks against the baseline")
    assert ("kvm", "higher", "events_per_second", "nohype", "cpu") in ratios


def test_kills_and_hostile_guests(lab: Lab) -> None:
    assert value(lab, "nohype-security", "Guests without hypervisor") == {(): 1}
    assert value(lab, "nohype-security", "Killed guests") == {(): 1}
    assert value(lab, "nohype-security", "Guests with exits after disengagement") == {(): 0}
    assert value(lab, "nohype-security", "Which guests were killed", "B") == {("n2", "rack1"): 1}
    runs = value(lab, "nohype-security", "Runs with hostile guests")
    assert {labels[-1] for labels in runs} == {HOSTILE}
    assert sum(runs.values()) == 12


def test_the_night_that_was_slower_is_seen(lab: Lab) -> None:
    (panel,) = [panel for panel in DASHBOARDS["nohype-nightly"]["panels"] if panel["title"] == "$workload: $metric"]
    expr = filled_in(panel["targets"][0]["expr"], {**lab.variables, "stack": "kvm"}, 96, 3600)
    (row,) = lab.range(expr, 96, 3600)
    nights = [float(figure) for _at, figure in row["values"]]  # type: ignore[attr-defined]
    assert sorted(round(night / 212, 1) for night in nights)[0] == 0.8
    assert max(nights) == pytest.approx(212, rel=0.05)


def test_detected_regressions_are_marked(lab: Lab) -> None:
    (annotation,) = DASHBOARDS["nohype-nightly"]["annotations"]["list"]
    assert answers(lab, "nohype-nightly", {"expr": annotation["expr"]}) == [
        {"host": "rack1", "metric": "events_per_second", "stack": "kvm"}
    ]
