"""A guest program makes a number of VM exits that is known beforehand: each stack's counters must find that number.

A stack whose guests have a hypervisor is added by naming it. Guests of stack `nohype` cannot take part: the first of
these exits would kill them.
"""

from __future__ import annotations

from pathlib import Path

import pytest
from rack_guests import RackHost
from rack_lab import Nohype

from harness.exits.model import difference
from harness.guests import image
from harness.hosts.ssh import connect
from harness.results.model import ExitCount
from harness.workloads import run as workload_run
from harness.workloads.spec import load_workloads

STACKS = ("kvm", "xen-tuned")
# Nothing is subtracted: the rest is for what starts by SSH, a shell, which executes CPUID about 30 times.
TOLERANCE = 0.01
# How the CPU's vendor calls an exit by CPUID and one by a port.
REASONS = {"svm": ("cpuid", "ioio"), "vmx": ("cpuid", "io_instruction")}


@pytest.mark.parametrize("stack", STACKS)
def test_known_exits_are_counted_right(provisioned: Nohype, stack: str, tmp_path: Path) -> None:
    provisioned.boot(stack)
    readings: list[tuple[ExitCount, ...]] = []
    with connect(provisioned.host) as session:
        host = RackHost(provisioned.host, session, image.current())
        cpuid, port = REASONS[host.facts().virtualization]
        guest = host.create(f"counted-{stack}", stack=stack)
        with host.inside(guest) as inside:
            inside.run(["true"])  # the first command after a login takes about 160 exits by CPUID, those after it 30
            result = workload_run.run(
                load_workloads()["known-exits"],
                **{"guest": inside, "host": session, "gateway": "", "vcpus": 1, "seconds": 1, "artifacts": tmp_path},
                at_border=lambda: readings.append(host.exits(guest)),
            )
        host.destroy(guest)
    made = {metric.name: metric.value for metric in result.metrics}
    assert made == {"cpuid": 10_000, "port_writes": 10_000}
    counted = {row.reason: row.count for row in difference(*readings)}
    assert counted[cpuid] == pytest.approx(made["cpuid"], rel=TOLERANCE), counted
    assert counted[port] == pytest.approx(made["port_writes"], rel=TOLERANCE), counted
