"""What the control node serves, asked for as Prometheus asks, and its catalogue and page."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from invented_campaign import add_campaign
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from typer.testing import CliRunner

from harness.cli.app import app
from harness.onhost.catalogue import Family
from harness.results.store import Store
from harness.telemetry import catalogue, document
from harness.telemetry.exporter import StoreCollector
from harness.telemetry.history import history, load


@pytest.fixture
def start() -> datetime:
    """When an invented campaign began: it ended some 24 minutes ago, by the clock of this test and no earlier one."""
    return datetime.now(UTC) - timedelta(minutes=50)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store(f"sqlite:///{tmp_path / 'results.sqlite'}") as found:
        yield found


def page(collector: StoreCollector) -> str:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    return generate_latest(registry).decode()


def values(text: str, name: str) -> dict[tuple[str, ...], float]:
    """The samples of one metric, by the values of those labels that do not say which campaign."""
    left_out = {"campaign", "campaign_name", "fidelity", "revision"}
    return {
        tuple(value for key, value in sample.labels.items() if key not in left_out): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == name
    }


def test_progress_of_a_running_campaign(store: Store, start: datetime) -> None:
    add_campaign(store, "nightly", start, status="running")
    text = page(StoreCollector(store))
    assert values(text, "nohype_campaign_trials_planned") == {(): 36}
    trials = values(text, "nohype_campaign_trials_total")
    assert sum(trials.values()) == 36
    assert trials["rack1", "kvm", "failed", "cpu"] == 1
    assert values(text, "nohype_campaign_state") == {
        ("running",): 1,
        ("done",): 0,
        ("cancelled",): 0,
        ("interrupted",): 0,
    }
    assert values(text, "nohype_campaign_end_time_seconds") == {}
    assert values(text, "nohype_comparison_ratio") == {}
    assert values(text, "nohype_harness_boots_total")["rack1", "nohype"] == 2
    assert values(text, "nohype_harness_boot_seconds_total")["rack1", "kvm"] == 83


def test_results_of_good_trials_alone(store: Store, start: datetime) -> None:
    record = add_campaign(store, "nightly", start)
    text = page(StoreCollector(store))
    good = [trial for trial in store.trials(record.id) if not trial.failure and trial.stack == "kvm"]
    latest = [trial for trial in good if trial.workload == "cpu"][-1]
    results = values(text, "nohype_trial_result")
    assert results["higher", "rack1", "events_per_second", "kvm", "1/s", "cpu"] == latest.metrics[0].value
    exits = values(text, "nohype_trial_exits_total")
    of_cpu = [row.count for trial in good if trial.workload == "cpu" for row in trial.exits if row.reason == "intr"]
    assert len(of_cpu) == 6
    assert exits["rack1", "intr", "kvm", "cpu"] == sum(of_cpu)
    assert values(text, "nohype_trial_measured_seconds_total")["rack1", "kvm", "cpu"] == 30
    ratios = values(text, "nohype_comparison_ratio")
    low, estimate, high = (
        ratios["kvm", bound, "higher", "events_per_second", "nohype", "cpu"] for bound in ("low", "estimate", "high")
    )
    assert low <= estimate <= high
    assert values(text, "nohype_campaign_disagreements") == {(): 1}
    assert values(text, "nohype_campaign_guests_compared") == {(): 2}
    assert list(values(text, "nohype_campaign_host_quarantined_timestamp_seconds")) == [("rack2",)]


def served(text: str) -> set[str]:
    return {
        sample.labels["campaign"]
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if "campaign" in sample.labels
    }


def test_the_latest_campaigns_bound_the_series(store: Store, start: datetime) -> None:
    ids = [add_campaign(store, f"c{number}", start, boots=1).id for number in range(3)]
    text = page(StoreCollector(store, campaigns=2))
    assert served(text) == set(ids[1:])
    assert values(text, "nohype_store_campaigns") == {(): 3}


def test_campaigns_that_stopped_long_ago_are_left_to_backfilling(store: Store, start: datetime) -> None:
    for status in ("done", "interrupted"):
        old = add_campaign(store, status, start - timedelta(days=1), boots=1)
        store.set_campaign_status(old.id, status, old.ended_at if status == "done" else None)
    running = add_campaign(store, "running", start - timedelta(days=1), boots=1, status="running")
    collector = StoreCollector(store)
    for _again in range(2):
        assert served(page(collector)) == {running.id}


def test_a_campaign_that_ends_between_scrapes_is_read_again(store: Store, start: datetime) -> None:
    record = add_campaign(store, "nightly", start, status="running")
    collector = StoreCollector(store)
    assert values(page(collector), "nohype_campaign_state")["done",] == 0
    store.set_campaign_status(record.id, "done", start + timedelta(hours=1))
    for _again in range(2):
        assert values(page(collector), "nohype_campaign_state")["done",] == 1


def test_a_store_that_cannot_be_read_is_told(store: Store, tmp_path: Path, start: datetime) -> None:
    add_campaign(store, "nightly", start)
    collector = StoreCollector(store)
    assert values(page(collector), "nohype_store_up") == {(): 1}
    store.close()
    for path in tmp_path.glob("results.sqlite*"):
        path.unlink()
    (tmp_path / "results.sqlite").mkdir()
    text = page(collector)
    assert values(text, "nohype_store_up") == {(): 0}
    assert "nohype_campaign" not in text


def test_further_sources_are_served(store: Store) -> None:
    def nightlies(_store: Store) -> list[Family]:
        missed = catalogue.NIGHTLY_MISSED.family()
        missed.add_metric(("main",), 2)
        return [missed]

    assert values(page(StoreCollector(store, sources=(nightlies,))), "nohype_nightly_missed") == {("main",): 2}


def test_what_is_served_is_what_the_catalogue_says(store: Store, start: datetime) -> None:
    add_campaign(store, "nightly", start)
    found = {
        (family.name + "_total" * (family.type == "counter"), family.type, family.documentation): set().union(
            *(sample.labels for sample in family.samples)
        )
        for family in text_string_to_metric_families(page(StoreCollector(store)))
    }
    groups = (catalogue.CAMPAIGNS, catalogue.RESULTS, catalogue.EFFORT, catalogue.CONTROLLER)
    assert found == {
        (metric.name, metric.kind, metric.help): set(metric.labels) for group in groups for metric in group.metrics
    }


def test_the_page_of_metrics_is_current() -> None:
    assert document.PAGE.read_text(encoding="utf-8") == document.text(), "python -m harness.telemetry.document"


def test_the_page_has_a_campaigns_number_of_series(store: Store, start: datetime) -> None:
    add_campaign(store, "nightly", start)
    text = page(StoreCollector(store))
    series = sum(1 for line in text.splitlines() if 'campaign="' in line)
    assert f"has {series} series" in " ".join(document.text().split())


def test_textfile_is_what_is_served(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: datetime
) -> None:
    monkeypatch.setenv("NOHYPE_DATABASE_URL", f"sqlite:///{tmp_path / 'results.sqlite'}")
    add_campaign(store, "nightly", start)
    target = tmp_path / "nohype.prom"
    assert CliRunner().invoke(app, ["metrics", "textfile", "-o", str(target)]).exit_code == 0
    served = page(StoreCollector(store))
    assert values(target.read_text(), "nohype_trial_result") == values(served, "nohype_trial_result")


def test_ratios_are_to_the_baseline_that_compare_takes(store: Store, start: datetime) -> None:
    campaign = load(store, add_campaign(store, "nightly", start))
    named = replace(campaign, record=replace(campaign.record, spec_text="name: nightly\nbaseline: nohype\n"))
    for each, baseline in ((campaign, "kvm"), (named, "nohype")):
        ratios = [reading for reading in history(each) if reading.metric == catalogue.RATIO]
        place = catalogue.RATIO.labels.index("baseline")
        assert {reading.labels[place] for reading in ratios} == {baseline}
