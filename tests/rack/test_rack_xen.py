"""Guests of Xen on an emulated server: HVM with a virtual function, and PVH beside it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from rack_guests import END_SECONDS, RackHost
from rack_lab import Nohype

from harness.errors import CommandError
from harness.exits import reader
from harness.guests import image
from harness.guests.model import Guest
from harness.hosts.ssh import connect
from harness.wait import until


@pytest.fixture(scope="module")
def host(provisioned: Nohype) -> Iterator[RackHost]:
    provisioned.boot("xen-tuned")
    with connect(provisioned.host) as session:
        yield RackHost(provisioned.host, session, image.current())


@pytest.fixture(scope="module")
def guests(host: RackHost) -> tuple[Guest, Guest]:
    """A tuned one and a PVH one, side by side."""
    return host.create("tuned", stack="xen-tuned"), host.create("pvh", stack="xen-pvh")


def test_the_control_domain_knows_the_machine(host: RackHost) -> None:
    able = host.facts()
    assert (able.stack, able.virtualization, able.nested_paging) == ("xen-tuned", "svm", True)
    assert (able.cores, able.isolated) == (4, (2, 3))
    assert able.xen
    assert able.xen.directio
    assert {vf.driver for pf in able.physical_functions for vf in pf.vfs} == {"pciback"}


def test_guests_have_what_their_stacks_promise(host: RackHost, guests: tuple[Guest, Guest]) -> None:
    tuned, pvh = guests
    assert (bool(tuned.vf), tuned.cpus, bool(pvh.vf), pvh.cpus) == (True, (2,), False, ())
    pinned = host.session.run(["xl", "vcpu-list", tuned.name], sudo=True).stdout.splitlines()[1].split()
    assert pinned[-3] == "2"  # its hard affinity, before " / " and the soft one
    for guest, driver in ((tuned, "igbvf"), (pvh, "vif")):
        with host.inside(guest) as inside:
            assert inside.run(["hostname"]).stdout.strip() == guest.name
            assert inside.run(["readlink", "/sys/class/net/eth0/device/driver"]).stdout.strip().endswith(driver)


def test_their_exits_are_counted_apart_and_exported(host: RackHost, guests: tuple[Guest, Guest]) -> None:
    reading = reader.read(host.session)
    assert reading.dropped == 0
    for guest in guests:
        reasons = {row.reason for row in reading.of(guest.name)}
        assert {"cpuid", "msr", "hlt", "vmmcall", "npf"} <= reasons
        assert not any(reason.startswith("code_") for reason in reasons)
    tuned = guests[0]
    host.destroy(tuned)
    last = {(row.vcpu, row.reason): float(row.count) for row in host.exits(tuned)}
    assert last
    assert host.exported(tuned)[0] == last


def test_an_ended_guest_leaves_nothing(host: RackHost, guests: tuple[Guest, Guest]) -> None:
    for guest in guests:
        host.destroy(guest)
    free = host.facts().xen
    assert free
    assert [vf.guest for pf in host.facts().physical_functions for vf in pf.vfs if vf.guest] == []
    listed = host.session.run(["xl", "list"], sudo=True).stdout.split()
    assert not {guest.name for guest in guests} & set(listed)
    with pytest.raises(CommandError):
        host.session.run(["ls", f"/var/lib/nohype/guests/{guests[0].name}/disk.qcow2"], sudo=True)
    assert host.trouble() == []


def test_a_domain_that_ends_by_itself_is_seen_to_have_ended(host: RackHost) -> None:
    guest = host.create("short", stack="xen-pvh")
    with host.inside(guest) as inside:
        inside.run(["sh", "-c", "(sleep 1; halt -f -p) >/dev/null 2>&1 &"])
    until(lambda: host.look(guest).state == "stopped", seconds=END_SECONDS, what="the guest's end")
    assert sum(row.count for row in host.exits(guest)) > 1000
