"""Stack bare on an emulated server: a guest's programs and parts, without a guest."""

from __future__ import annotations

from pathlib import Path

import pytest
from rack_guests import RackHost
from rack_lab import Nohype

from harness.guests import image
from harness.hosts.ssh import connect
from harness.workloads import run as workload_run
from harness.workloads.spec import load_workloads


@pytest.mark.parametrize("name", ["first", "second"])  # the second finds all that the first one gave back
def test_programs_run_on_a_core_and_a_function_of_their_own(provisioned: Nohype, tmp_path: Path, name: str) -> None:
    provisioned.boot("bare")
    with connect(provisioned.host) as session:
        host = RackHost(provisioned.host, session, image.current())
        guest = host.create(name, stack="bare")
        assert guest.cpus == (2,)
        with host.inside(guest) as inside:
            allowed = inside.run(["grep", "Cpus_allowed_list", "/proc/self/status"]).stdout.split()
            assert allowed[-1] == "2"
            assert sorted(inside.run(["ls", "/sys/class/net"]).stdout.split()) == ["eth0", "lo"]
            found = workload_run.run(
                load_workloads()["cpu"],
                guest=inside,
                host=session,
                gateway="",
                vcpus=1,
                seconds=2,
                artifacts=tmp_path,
            )
            assert [metric.value > 0 for metric in found.metrics]
        host.destroy(guest)
        assert host.exits(guest) == ()
        assert {(vf.driver, vf.guest) for pf in host.facts().physical_functions for vf in pf.vfs} == {("vfio-pci", "")}
        assert host.session.run(["ip", "netns", "list"]).stdout == ""
        assert host.trouble() == []
