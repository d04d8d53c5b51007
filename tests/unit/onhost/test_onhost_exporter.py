"""What Prometheus gets, asked for over HTTP as Prometheus does."""

import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from processes import bound_to_us
from prometheus_client.parser import text_string_to_metric_families
from test_onhost_counters import HIST, RECORD
from test_onhost_sriov import Tree

from harness.onhost import records
from harness.onhost.catalogue import HOST_METRICS
from harness.onhost.errors import AgentError
from harness.onhost.exporter import serve
from harness.onhost.records import Engagement

LABELS = ("stack", "guest", "vcpu", "reason", "state", "cause")
START = """
import sys
from pathlib import Path
from harness.onhost.exporter import serve
serve(sys.argv[1], Path(sys.argv[2]))
"""


@pytest.fixture
def host(tmp_path: Path) -> Path:
    event = tmp_path / "sys/kernel/tracing/events/kvm/kvm_exit"
    event.mkdir(parents=True)
    (event / "hist").write_text(HIST)
    (tmp_path / "sys/module/kvm_amd").mkdir(parents=True)
    stat = tmp_path / "proc/1000/stat"
    stat.parent.mkdir(parents=True)
    stat.write_text("1000 (qemu) S " + " ".join(["0"] * 18) + " 42 0")
    records.save(RECORD, tmp_path)
    records.save(RECORD._replace(name="g0", stopped=True, final=((9, 0, 0x78, 4),)), tmp_path)
    return tmp_path


def _page(root: Path) -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    argv = [sys.executable, "-c", START, f"127.0.0.1:{port}", str(root)]
    process = subprocess.Popen(bound_to_us(argv))
    try:
        return _get(f"http://127.0.0.1:{port}/metrics", process)
    finally:
        process.terminate()
        process.wait(10)


def _scrape(root: Path) -> dict[tuple[str, ...], float]:
    page = _page(root)
    return {
        (sample.name, *(sample.labels[key] for key in LABELS if key in sample.labels)): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }


def _get(url: str, process: "subprocess.Popen[bytes]") -> str:
    from harness.wait import until

    def answer() -> str | None:
        assert process.poll() is None
        try:
            with urllib.request.urlopen(url, timeout=5) as reply:
                return str(reply.read().decode())
        except (ConnectionError, urllib.error.URLError):
            return None  # not listening yet; were it dead, the check above would say so

    return until(answer, seconds=20, what="the exporter's answer")


def test_exits_of_running_and_ended_guests(host: Path) -> None:
    found = _scrape(host)
    exits = {key[1:]: value for key, value in found.items() if key[0] == "nohype_vm_exits_total"}
    assert exits == {
        ("kvm", "g0", "0", "hlt"): 4,
        ("kvm", "g1", "0", "ioio"): 5021,
        ("kvm", "g1", "0", "vintr"): 2,
        ("kvm", "g1", "1", "npf"): 12345678,
    }
    assert found["nohype_guest_up", "kvm", "g0"] == 0
    assert found["nohype_guest_up", "kvm", "g1"] == 1
    assert found["nohype_exit_counting",] == 1
    assert found["nohype_vm_exits_dropped_total",] == 3


def test_engagement_of_guests_that_may_leave_their_hypervisor(host: Path) -> None:
    dead = Engagement("killed", cause="exit", vcpu=0, reason="ioio")
    records.save(RECORD._replace(name="n0", stack="nohype", stopped=True, engagement=dead), host)
    found = _scrape(host)
    engagement = {key[1:]: value for key, value in found.items() if key[0] == "nohype_guest_engagement"}
    assert engagement == {
        ("nohype", "n0", "engaged"): 0,
        ("nohype", "n0", "disengaged"): 0,
        ("nohype", "n0", "killed"): 1,
    }


def test_killed_guests_have_their_cause(host: Path) -> None:
    for name, cause in (("n0", "deadline"), ("n1", "refused"), ("n2", "")):
        left = RECORD._replace(name=name, stack="nohype", stopped=True, engagement=Engagement("killed", cause=cause))
        records.save(left if cause else left._replace(engagement=Engagement("disengaged")), host)
    found = {key[1:]: value for key, value in _scrape(host).items() if key[0] == "nohype_guest_killed"}
    assert found == {("nohype", "n0", "deadline"): 1, ("nohype", "n1", "refused"): 1}


def test_guests_that_can_reset_their_host_are_told(host: Path) -> None:
    for name, icr in (("n0", "open"), ("n1", "closed")):
        left = RECORD._replace(name=name, stack="nohype", stopped=True, engagement=Engagement("disengaged"), icr=icr)
        records.save(left, host)
    found = {key[1:]: value for key, value in _scrape(host).items() if key[0] == "nohype_guest_icr_open"}
    assert found == {("nohype", "n0"): 1, ("nohype", "n1"): 0}


def test_lost_cores_are_counted_and_a_kernel_that_has_none_has_lost_none(host: Path) -> None:
    assert _scrape(host)["nohype_host_lost_cores",] == 0
    cpu = host / "sys/devices/system/cpu"
    cpu.mkdir(parents=True)
    (cpu / "lost").write_text("2-3,7\n")
    assert _scrape(host)["nohype_host_lost_cores",] == 3


def test_without_counting_it_says_so(host: Path) -> None:
    (host / "sys/kernel/tracing/events/kvm/kvm_exit/hist").unlink()
    found = _scrape(host)
    assert found["nohype_exit_counting",] == 0
    assert not any(key[0] == "nohype_vm_exits_total" and "g1" in key for key in found)


def test_what_is_served_is_what_the_catalogue_says(host: Path) -> None:
    Tree(host).vfs(2, driver="vfio-pci")
    pool = host / "sys/kernel/mm/hugepages/hugepages-2048kB"
    pool.mkdir(parents=True)
    for name in ("nr_hugepages", "free_hugepages"):
        (pool / name).write_text("320\n")
    dead = Engagement("killed", cause="exit", vcpu=0, reason="ioio")
    records.save(RECORD._replace(name="n0", stack="nohype", stopped=True, engagement=dead), host)
    found = {
        (family.name + "_total" * (family.type == "counter"), family.type, family.documentation): set().union(
            *(sample.labels for sample in family.samples)
        )
        for family in text_string_to_metric_families(_page(host))
    }
    assert found == {(metric.name, metric.kind, metric.help): set(metric.labels) for metric in HOST_METRICS}


@pytest.mark.parametrize("listen", ["9177", "127.0.0.1:", "127.0.0.1:99999", "127.0.0.1:x"])
def test_wrong_address_is_refused(listen: str) -> None:
    with pytest.raises(AgentError, match="ADDRESS:PORT"):
        serve(listen)


def test_used_port_is_told() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(AgentError, match=os.strerror(98)):
            serve(f"127.0.0.1:{other.getsockname()[1]}")
