"""The emulated servers themselves: what they are, power, console, snapshots, provisioning."""

from __future__ import annotations

from typing import Any

import pytest
from rack_lab import HOST, PROVISIONED, Nohype, stack_options

from harness.wait import until


def test_the_host_is_a_server_with_all_that_nohype_needs(rack: Nohype) -> None:
    """Without the agent nothing can be asked yet but that it is there."""
    status: Any = rack.json("rack", "status")
    assert [(host["name"], host["bmc"], host["power"], host["ssh"]) for host in status] == [
        (HOST, "running", "on", True)
    ]


def test_provisioning_again_changes_nothing(provisioned: Nohype) -> None:
    for stacks in (PROVISIONED, ["xen-tuned"]):  # not even where they came in other company
        again: Any = provisioned.json("provision", *stack_options(stacks))
        assert [(host["host"], host["changed"]) for host in again["hosts"]] == [(HOST, 0)]


def test_what_the_host_can_do(provisioned: Nohype) -> None:
    found: Any = provisioned.json("hosts")
    able = found[0]["capabilities"]
    assert (able["virtualization"], able["nested_paging"], able["x2apic"]) == ("svm", True, True)
    assert able["iommu_groups"] > 0
    assert [(pf["netdev"], pf["driver"], pf["total_vfs"]) for pf in able["physical_functions"]] == [("data0", "igb", 7)]
    assert found[0]["fidelity"] == "emulated"
    findings: Any = provisioned.json("doctor")
    assert [each for group in findings.values() for each in group if each["level"] == "fail"] == []


def test_power_by_bmc_and_back_from_a_snapshot(provisioned: Nohype) -> None:
    provisioned.boot("kvm")  # whatever other tests have left it in
    before = provisioned.json("guest", "list", HOST)
    provisioned("rack", "save", HOST, "ready")
    assert provisioned("hosts", "power", HOST, "status").strip() == "on"
    provisioned("hosts", "power", HOST, "off")
    until(lambda: provisioned("hosts", "power", HOST, "status").strip() == "off", seconds=30, what="power off")
    complaint = provisioned("guest", "list", HOST, code=3)
    assert f"{HOST} (nohype@127.0.20.11:22): no SSH connection" in complaint
    provisioned("rack", "restore", HOST, "ready")
    assert provisioned.json("guest", "list", HOST) == before
    findings: Any = provisioned.json("doctor")
    assert [each["what"] for each in findings[HOST] if "clock" in each["what"]] == []


def test_the_console_is_kept(rack: Nohype) -> None:
    assert f"{HOST} login:" in rack("rack", "console", HOST, "--log")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("rack", "restore", HOST, "redy"), "no snapshot 'redy' of rack1; did you mean 'ready'?"),
        (("rack", "power", "rack2", "off"), "no host 'rack2'; did you mean 'rack1'?"),
        (("hosts", "boot", HOST, "--stack", "kvm-tunde"), "unknown stack 'kvm-tunde'; did you mean 'kvm-tuned'?"),
    ],
)
def test_names_that_are_not_there(provisioned: Nohype, words: tuple[str, ...], says: str) -> None:
    assert says in provisioned(*words, code=2)
