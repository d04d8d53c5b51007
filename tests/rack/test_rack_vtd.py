"""A guest without hypervisor on a server with VT-d: patch 0002 of the series. All other rack tests have AMD-Vi."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from rack_guests import RackHost, interrupts
from rack_lab import HOST, RACK, Nohype

from harness.guests import image
from harness.hosts.ssh import connect

NETWORK = 21  # not that of the other rack


@pytest.fixture
def vtd(provisioned: Nohype, tmp_path: Path) -> Iterator[Nohype]:
    """The provisioned host's disk in a server with the other IOMMU. It boots what was chosen last: stack nohype."""
    other = Nohype(provisioned.state / "vtd")
    disk = Path("rack", "hosts", HOST, "disk.qcow2")
    description = tmp_path / "rack.yml"
    description.write_text(RACK.replace("network: 20\n", f"network: {NETWORK}\niommu: intel\n"))
    provisioned.boot("nohype")
    with connect(provisioned.host) as session:
        session.run(["grub-set-default", "nohype-nohype"], sudo=True)
        session.run(["sync"])
    provisioned("hosts", "power", HOST, "off")
    try:
        (other.state / disk).parent.mkdir(parents=True)
        shutil.copytree(provisioned.state / "keys", other.state / "keys")
        shutil.copyfile(provisioned.state / disk, other.state / disk)
        other("rack", "up", "--rack", description)
        yield other
    finally:
        other("rack", "down")
        provisioned("rack", "restore", HOST, "nohype")


def test_a_guest_has_its_interrupts_without_exits(vtd: Nohype) -> None:
    with connect(vtd.host) as session:
        host = RackHost(vtd.host, session, image.current())
        log = session.run(["dmesg"], sudo=True).stdout
        assert "DMAR-IR: Enabled IRQ remapping in x2apic mode" in log
        assert "AMD-Vi: Interrupt remapping enabled" not in log
        guest = host.create("translated")
        assert guest.engagement.state == "disengaged"
        before = host.exits(guest)
        with host.inside(guest) as inside:
            earlier = interrupts(inside, "eth0-rx-0")
            inside.run(["true"])
            assert interrupts(inside, "eth0-rx-0") > earlier
        assert host.exits(guest) == before
        host.holds_nothing_but(guest)
        host.destroy(guest)
        host.holds_nothing_but()
