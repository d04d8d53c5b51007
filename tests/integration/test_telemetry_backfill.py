"""A campaign from the store, by the real promtool, in a real Prometheus."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from invented_campaign import add_campaign

from harness.campaign.lab import prometheus_binary
from harness.errors import HarnessError, InputError
from harness.metrics.server import PrometheusServer
from harness.results.store import Store
from harness.telemetry.backfill import backfill, write

START = (datetime.now(UTC) - timedelta(days=3)).replace(microsecond=0)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    if os.geteuid() != 0:
        pytest.skip("the toolbox's promtool needs root: sudo tests/run")
    with Store(f"sqlite:///{tmp_path / 'results.sqlite'}") as found:
        yield found


def test_every_result_is_found_at_its_time(store: Store, tmp_path: Path) -> None:
    record = add_campaign(store, "nightly", START)
    data = tmp_path / "prometheus"
    (data / "tsdb").mkdir(parents=True)
    with PrometheusServer(prometheus_binary(data), data, {}, 1.0) as prometheus:
        assert prometheus.query("nohype_trial_result", at=record.ended_at) == []
        blocks = backfill(store, record, data / "tsdb")
        assert blocks
        with pytest.raises(InputError, match="in these data already"):
            backfill(store, record, data / "tsdb")
    with PrometheusServer(prometheus_binary(data), data, {}, 1.0) as prometheus:
        good = [trial for trial in store.trials(record.id) if not trial.failure]
        for trial in good:
            for metric in trial.metrics:
                labels = f'stack="{trial.stack}", workload="{trial.workload}", metric="{metric.name}"'
                (sample,) = prometheus.query(f"nohype_trial_result{{{labels}}}", at=trial.ended_at)
                assert sample.value == pytest.approx(metric.value)
                assert (sample.labels["unit"], sample.labels["host"]) == (metric.unit, trial.host)
        (done,) = prometheus.query('sum(nohype_campaign_trials_total{status="ok"})', at=record.ended_at)
        assert done.value == len(good) == 35
        halfway = good[len(good) // 2].ended_at
        (done,) = prometheus.query('sum(last_over_time(nohype_campaign_trials_total{status="ok"}[1h]))', at=halfway)
        assert done.value == len(good) // 2 + 1
        states = prometheus.query('nohype_campaign_state{state="done"}', at=record.ended_at)
        assert [state.value for state in states] == [1]


def test_what_promtool_says_is_told(store: Store, tmp_path: Path) -> None:
    record = add_campaign(store, "nightly", START, boots=1)
    with pytest.raises(HarnessError, match="promtool failed: no such thing"):
        backfill(store, record, tmp_path, ["sh", "-c", "echo no such thing >&2; exit 1"])
    assert not [path for path in tmp_path.iterdir() if "nohype" in path.name]


def test_a_campaign_that_runs_is_refused(store: Store, tmp_path: Path) -> None:
    record = add_campaign(store, "nightly", START, boots=1, status="running")
    with pytest.raises(InputError, match="has not ended"):
        write(store, record, tmp_path / "campaign.om")
    with pytest.raises(InputError, match="no such folder"):
        backfill(store, record, tmp_path / "none")
    assert not (tmp_path / "campaign.om").exists()
