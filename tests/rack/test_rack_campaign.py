"""Whole campaigns on an emulated server: real exits, Prometheus agreeing, a killed controller, a lost host."""

from __future__ import annotations

import json
import os
import re
import subprocess
from collections import Counter
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from rack_lab import HOST, STACKS, Nohype

from harness.hosts.power import ipmitool
from harness.metrics.server import PrometheusServer
from harness.toolbox.root import toolbox

SMALL = f"""\
name: small
hosts: all
stacks: [{", ".join(STACKS)}]
boots: 1
guest: {{vcpus: 1, memory_mib: 256}}
workloads:
  - name: boot
  - {{name: idle, seconds: 2}}
  - {{name: network-latency, seconds: 2}}
"""
LOSES_ITS_HOST = """\
name: lossy
hosts: all
stacks: [nohype]
boots: 1
guest: {vcpus: 1, memory_mib: 256}
workloads:
  - {name: idle, seconds: 3, repeats: 3}
"""
WORKLOADS = {"boot", "idle", "network-latency"}


def await_line(process: subprocess.Popen[str], pattern: str) -> str:
    """Read what the command says until a line matches. pytest's own deadline is the session's."""
    assert process.stdout
    said = []
    for line in process.stdout:
        said.append(line)
        if re.search(pattern, line):
            return line
    raise AssertionError(f"{pattern!r} was not said:\n{''.join(said)}")


def pull_the_plug(nohype: Nohype) -> None:
    """Ask the BMC and do not wait: the campaign may have the power on again before anybody sees it off."""
    bmc = nohype.host.bmc
    assert bmc
    argv, environment = ipmitool(HOST, bmc, "chassis", "power", "off")
    subprocess.run(argv, env={**os.environ, **environment}, check=True, timeout=60)


def exported(nohype: Nohype, campaign: str, folder: Path) -> Any:
    path = folder / f"{campaign}.json"
    nohype("results", "export", campaign, "--format", "json", "-o", path)
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def campaign(provisioned: Nohype, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """The results of SMALL, whose controller was killed after its first trial and then resumed.

    Without a home that could be written: the controller of nightlies has none.
    """
    unattended = replace(provisioned, home="/dev/null")
    folder = tmp_path_factory.mktemp("campaign")
    file = folder / "small.yml"
    file.write_text(SMALL)
    with unattended.started("campaign", "run", file) as first:
        await_line(first, r"✓ .*: boot ")
    interrupted: Any = provisioned.json("campaign", "list")
    assert [each["status"] for each in interrupted] == ["interrupted"]
    outcome: Any = unattended.json("campaign", "resume")
    assert outcome["disagreements"] == []
    return exported(provisioned, outcome["campaign_id"], folder)


def test_every_trial_is_there_exactly_once_and_done(campaign: Any) -> None:
    trials = campaign["trials"]
    assert Counter((t["stack"], t["workload"]) for t in trials) == {(s, w): 1 for s in STACKS for w in WORKLOADS}
    assert [(t["workload"], t["failure"]) for t in trials if t["status"] != "ok"] == []
    assert {t["fidelity"] for t in trials} == {"emulated"}
    assert len({block["boot_id"] for block in campaign["blocks"]}) == len(STACKS)


def test_exits_are_real_tuning_saves_some_and_nohype_all(campaign: Any) -> None:
    def exits(stack: str, workload: str) -> Counter[str]:
        (trial,) = (t for t in campaign["trials"] if (t["stack"], t["workload"]) == (stack, workload))
        found: Counter[str] = Counter()
        for row in trial["exits"]:
            found[row["reason"]] += row["count"]
        return found

    for stack in STACKS:
        # Every guest finds its devices by port I/O and its CPU by CPUID; its memory is mapped when first touched.
        assert min(exits(stack, "boot")[reason] for reason in ("ioio", "cpuid", "npf", "msr")) > 100
    # An idle guest of stock KVM leaves for the host at every HLT; with cpu-pm it does not.
    assert exits("kvm", "idle")["hlt"] > 0
    assert exits("kvm-tuned", "idle")["hlt"] == 0
    # A guest without hypervisor would be dead after its first one.
    assert [exits("nohype", workload) for workload in WORKLOADS - {"boot"}] == [{}, {}]


def test_prometheus_holds_what_the_store_holds(campaign: Any, provisioned: Nohype) -> None:
    """Asked of a new server on the data the campaign's own left behind, by a query of this test's own."""
    data = provisioned.state / "artifacts" / campaign["campaign"]["id"] / "prometheus"
    stored = {
        (guest["stack"], guest["guest"], str(vcpu), reason): float(count)
        for guest in campaign["guest_totals"]
        for vcpu, reason, count in [(row["vcpu"], row["reason"], row["count"]) for row in guest["exits"]]
    }
    assert len({key[:2] for key in stored}) >= len(STACKS)
    end = datetime.fromisoformat(campaign["campaign"]["ended_at"])
    with PrometheusServer(toolbox().command(["prometheus"], binds=[data]), data, {}) as server:
        samples = server.query("last_over_time(nohype_vm_exits_total[2h])", at=end)
    keys = ("stack", "guest", "vcpu", "reason")
    found = {tuple(sample.labels[key] for key in keys): sample.value for sample in samples}
    assert found == stored


def test_comparison_and_report(campaign: Any, provisioned: Nohype, tmp_path: Path) -> None:
    name = campaign["campaign"]["id"]
    comparison: Any = provisioned.json("compare", name)
    assert comparison["fidelity"] == "emulated"
    report = tmp_path / "report.html"
    provisioned("report", name, "-o", report)
    text = report.read_text(encoding="utf-8")
    assert "emulated" in text
    assert "kvm-tuned" in text
    assert not re.search(r"""(?:src|href)=["']https?:""", text)


def test_a_guest_by_hand(campaign: Any, provisioned: Nohype) -> None:
    """On the host as the campaign has left it, booted into its last stack."""
    last = max(campaign["blocks"], key=lambda block: block["number"])["stack"]
    left: Any = provisioned.json("guest", "list", HOST)
    assert {guest["state"] for guest in left[HOST]} == {"stopped"}
    made: Any = provisioned.json("guest", "create", HOST, "--name", "probe", "--memory", "256")
    assert (made["stack"], bool(made["vf"])) == (last, last != "kvm")
    assert provisioned("guest", "ssh", HOST, "probe", "hostname").strip() == "probe"
    watched: Any = json.loads(provisioned("exits", "watch", HOST, "--once", "--json"))
    assert sum(row["exits"] for row in watched["guests"]["probe"]) > 1000
    last_words = "leaves its hypervisor" if last == "nohype" else "INIT: version"
    assert last_words in provisioned("guest", "console", HOST, "probe", "--log")
    assert "exists (running)" in provisioned("guest", "create", HOST, "--name", "probe", code=1)
    provisioned("guest", "destroy", HOST, "probe")
    hosts: Any = provisioned.json("hosts")
    assert hosts[0]["free_vfs"] == (2 if last != "kvm" else 0)
    assert hosts[0]["capabilities"]["hugepages_free"] == hosts[0]["capabilities"]["hugepages_total"]


def test_a_host_that_loses_power_is_power_cycled_and_the_campaign_goes_on(provisioned: Nohype, tmp_path: Path) -> None:
    """Under a guest without hypervisor, which has one of the host's cores at that moment."""
    file = tmp_path / "lossy.yml"
    file.write_text(LOSES_ITS_HOST)
    with provisioned.started("campaign", "run", file) as process:
        await_line(process, r"✓ .*: idle ")
        pull_the_plug(provisioned)
        rest, _ = process.communicate(timeout=900)
        assert process.returncode == 1, rest
    latest: Any = provisioned.json("campaign", "list")
    results = exported(provisioned, latest[0]["id"], tmp_path)
    assert Counter(trial["status"] for trial in results["trials"]) == {"ok": 2, "failed": 1}, results["trials"]
    assert [note["kind"] for note in results["notes"] if note["kind"] in ("power-cycled", "quarantined")] == [
        "power-cycled"
    ]
    assert len({trial["boot_id"] for trial in results["trials"] if trial["status"] == "ok"}) == 2
