"""The repository's workloads against recorded real output, and garbage of every kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.errors import WorkloadError
from harness.results.model import Direction, MetricValue
from harness.workloads.parse import parse
from harness.workloads.spec import Workload, load_workloads

RECORDED = Path(__file__).parent / "recorded"
WORKLOADS = load_workloads()
HIGHER, LOWER = Direction.HIGHER, Direction.LOWER


def recorded(name: str) -> str:
    return (RECORDED / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("workload", "file", "expected"),
    [
        ("cpu", "sysbench-1.0.20-cpu.txt", [("events_per_second", "1/s", HIGHER)]),
        ("memory", "sysbench-1.0.20-memory.txt", [("throughput", "MiB/s", HIGHER)]),
        (
            "network-throughput",
            "iperf3-3.18-client.json",
            [("throughput", "Mbit/s", HIGHER), ("retransmits", "", LOWER)],
        ),
        (
            "network-latency",
            "sockperf-3.7-ping-pong.txt",
            [("round_trip_p50", "us", LOWER), ("round_trip_p99", "us", LOWER), ("round_trip_mean", "us", LOWER)],
        ),
    ],
)
def test_recorded_output(workload: str, file: str, expected: list[tuple[str, str, Direction]]) -> None:
    found = parse(WORKLOADS[workload], recorded(file))
    assert [(one.name, one.unit, one.direction) for one in found] == expected


def test_the_figures_are_those_the_programs_printed() -> None:
    latency = {
        one.name: one.value for one in parse(WORKLOADS["network-latency"], recorded("sockperf-3.7-ping-pong.txt"))
    }
    assert latency == {"round_trip_p50": 115.987, "round_trip_p99": 673.667, "round_trip_mean": 150.405}
    (memory,) = parse(WORKLOADS["memory"], recorded("sysbench-1.0.20-memory.txt"))
    assert memory.value == 9904.56
    throughput = parse(WORKLOADS["network-throughput"], recorded("iperf3-3.18-client.json"))[0]
    assert throughput.value == pytest.approx(_received() / 1e6)


def _received() -> float:
    import json

    return float(json.loads(recorded("iperf3-3.18-client.json"))["end"]["sum_received"]["bits_per_second"])


def test_boot_takes_what_the_engine_measured() -> None:
    found = parse(WORKLOADS["boot"], '{"start_to_ssh": 25.5, "start": 5.5, "kernel_to_ssh": 20.0}')
    assert found == (
        MetricValue("start_to_ssh", 25.5, "s", LOWER),
        MetricValue("kernel_to_ssh", 20.0, "s", LOWER),
    )


def test_idle_has_no_figure_of_its_own() -> None:
    assert parse(WORKLOADS["idle"], "") == ()


@pytest.mark.parametrize(
    ("workload", "output", "message"),
    [
        (
            "network-latency",
            recorded("sockperf-3.7-refused.txt"),  # its exit status is 0
            "workload network-latency: the output lacks round_trip_p50 by the pattern "
            r"'percentile 50\\.000 =\\s+([0-9.]+)'; it begins: sockperf: "
            "\N{REPLACEMENT CHARACTER}[2;35m== version #3.7-no.git == \N{REPLACEMENT CHARACTER}[0m | "
            "sockperf: ERROR: Can`t connect socket (errno=111 Connection refused)",
        ),
        (
            "network-throughput",
            recorded("iperf3-3.18-refused.json"),
            "workload network-throughput: the output lacks end.sum_received.bits_per_second for throughput; it begins: "
            '{ | "start":\N{REPLACEMENT CHARACTER}{ | "connected":\N{REPLACEMENT CHARACTER}[],',
        ),
        (
            "network-throughput",
            "iperf3: command line error",
            "workload network-throughput: the output lacks JSON (Expecting value: line 1 column 1 (char 0)); "
            "it begins: iperf3: command line error",
        ),
        (
            "network-throughput",
            '{"end": {"sum_received": {"bits_per_second": true}}}',
            "workload network-throughput: the output lacks a number at end.sum_received.bits_per_second for throughput"
            ', found True; it begins: {"end": {"sum_received": {"bits_per_second": true}}}',
        ),
        (
            "network-throughput",
            '{"end": {"sum_received": {"bits_per_second": NaN}}}',
            "workload network-throughput: the output lacks a number at end.sum_received.bits_per_second for throughput"
            ', found nan; it begins: {"end": {"sum_received": {"bits_per_second": NaN}}}',
        ),
        (
            "cpu",
            "",
            "workload cpu: the output lacks events_per_second by the pattern "
            r"'events per second:\\s+([0-9.]+)'; it begins: (nothing)",
        ),
        (
            "cpu",
            "events per second: 1.2.3",
            "workload cpu: the output lacks a number as events_per_second by the pattern "
            r"'events per second:\\s+([0-9.]+)', found '1.2.3'; it begins: events per second: 1.2.3",
        ),
        (
            "cpu",
            "events per second: 1\nevents per second: 2",
            "workload cpu: the output lacks events_per_second by the pattern "
            r"'events per second:\\s+([0-9.]+)' once, found 2 times; "
            "it begins: events per second: 1 | events per second: 2",
        ),
    ],
)
def test_garbage_says_what_was_expected_and_how_the_output_begins(workload: str, output: str, message: str) -> None:
    with pytest.raises(WorkloadError) as error:
        parse(WORKLOADS[workload], output, "host1/10.79.1.10")
    assert error.value.what == message
    assert error.value.where == "host1/10.79.1.10"
    assert error.value.fix == "the whole output is in the trial's artifacts"


def test_json_paths_go_into_lists() -> None:
    workload = Workload.model_validate(
        {
            "name": "list",
            "title": "",
            "description": "",
            "command": ["true"],
            "metrics": [
                {"name": "second", "unit": "s", "direction": "lower", "parse": {"json": "runs.1.took", "scale": 0.001}}
            ],
        }
    )
    assert parse(workload, '{"runs": [{"took": 1}, {"took": 2500}]}')[0].value == 2.5
    with pytest.raises(WorkloadError, match=r"lacks runs\.1\.took for second"):
        parse(workload, '{"runs": [{"took": 1}]}')
