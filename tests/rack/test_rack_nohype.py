"""Guests without a hypervisor on an emulated server: they work, they exit once or never, and they leave nothing behind.

A power cut under such a guest is in test_rack_campaign.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from rack_guests import END_SECONDS, TROUBLE, RackHost, interrupts, uptime
from rack_lab import HOST, Nohype
from tiny_programs import UNPRIVILEGED, run_unprivileged

from harness.exits.model import difference
from harness.guests import image
from harness.guests.model import Guest
from harness.hosts.ssh import HostSession, connect
from harness.results.model import ExitCount
from harness.stacks.base import HUGEPAGE_KIB
from harness.wait import until
from harness.workloads import run as workload_run
from harness.workloads.spec import load_workloads

CYCLES = int(os.environ.get("NOHYPE_TEST_CYCLES", "5"))
# What the guest's kernel is asked to do (Documentation/virt/kvm/x86/nohype.rst in kernel/patches), the reason that is
# recorded, and its first detail where the manual gives it one value (AMD64 APM vol. 2, 15.11: MSR read 0, write 1).
PROVOCATIONS = (
    ("io", "ioio", ""),
    ("rdmsr", "msr", "0x0"),
    ("wrmsr", "msr", "0x1"),
    ("ipi", "msr", "0x1"),
    ("memory", "npf", ""),
    ("dr7", "dr7_write", ""),
    ("vmrun", "vmrun", ""),
    ("triple-fault", "shutdown", ""),
)
KERNEL_TEXT = re.compile(r"0xffffffff[0-9a-f]{8}")
PROVOKE = "mount -t debugfs debug /sys/kernel/debug && echo {} >/sys/kernel/debug/nohype/provoke"
# Vector 0xf0 to the core whose APIC id is 0, which is the host's: written to the x2APIC's ICR, MSR 0x830 (AMD64 APM
# vol. 2, 16.11). To a guest with one vCPU it is closed.
INTERRUPT_HOST = (
    r"printf '\360\0\0\0\0\0\0\0' | "
    f"dd of=/dev/cpu/0/msr bs=8 seek={0x830} oflag=seek_bytes conv=notrunc"
)


class Neighbour(NamedTuple):
    """A guest beside others, and a session in it that must not break."""

    guest: Guest
    inside: HostSession


@pytest.fixture(scope="module")
def host(provisioned: Nohype) -> Iterator[RackHost]:
    provisioned.boot("nohype")
    with connect(provisioned.host) as session:
        yield RackHost(provisioned.host, session, image.current())


@pytest.fixture(scope="module")
def first(host: RackHost) -> Iterator[Neighbour]:
    """A guest without hypervisor for all tests that need but one core more; the last of them ends it."""
    guest = host.create("first")
    with host.inside(guest) as inside:
        yield Neighbour(guest, inside)


@pytest.fixture(scope="module")
def stock(host: RackHost) -> Iterator[Neighbour]:
    """An ordinary guest beside those."""
    guest = host.create("stock", stack="kvm")
    with host.inside(guest) as inside:
        yield Neighbour(guest, inside)


def test_who_has_no_permission_carries_on(host: RackHost) -> None:
    """The host's kernel is the guests' too, and is asked for what only they may do."""
    asked = host.session.run(["tee", "/sys/kernel/nohype/disengage"], stdin="1", sudo=True, check=False)
    assert (asked.exit_code, "No such device" in asked.stderr) == (1, True)
    assert host.session.run(["cat", "/sys/kernel/nohype/disengage"], sudo=True).stdout.strip() == "unavailable"
    host.holds_nothing_but()


def test_cycles_leave_nothing(host: RackHost) -> None:
    for number in range(CYCLES):
        guest = host.create(f"cycle-{number}")
        assert guest.engagement.state == "disengaged"
        host.destroy(guest)
        host.holds_nothing_but()


def test_a_lost_qemu_leaves_nothing(host: RackHost) -> None:
    guest = host.create("lost")
    host.session.run(["systemctl", "kill", "--signal=KILL", guest.unit], sudo=True)
    until(lambda: set(guest.cpus) <= host.online(), seconds=END_SECONDS, what="the core's return")
    until(lambda: host.look(guest).state == "stopped", seconds=END_SECONDS, what="the end of QEMU")
    # A killed process gives its memory back a moment after it has ended.
    until(host.idle_memory, seconds=END_SECONDS, what="the hugepages' return")
    host.holds_nothing_but()


def test_vcpus_disengage_together_and_interrupt_each_other(host: RackHost, provisioned: Nohype) -> None:
    guest = host.create("pair", vcpus=2)
    assert guest.engagement.state == "disengaged"
    host.holds_nothing_but(guest)
    before = host.exits(guest)
    with host.inside(guest) as inside:
        earlier = interrupts(inside, "RES", "CAL")
        inside.run(["sysbench", "threads", "--threads=4", "--time=2", "run"])
        assert all(now > then for now, then in zip(interrupts(inside, "RES", "CAL"), earlier, strict=True))
        # To start a CPU takes INIT and SIPI, which would start the core outside of the guest.
        off = inside.run(["tee", "/sys/devices/system/cpu/cpu1/online"], stdin="0", check=False)
        assert (off.exit_code, "busy" in off.stderr) == (1, True)
    assert host.exits(guest) == before
    killed: Any = provisioned.json("guest", "kill", HOST, guest.name)
    assert (killed["state"], killed["engagement"]["state"]) == ("running", "killed")
    assert (killed["engagement"]["cause"], killed["engagement"]["reason"]) == ("asked", "nmi")
    assert set(guest.cpus) <= host.online()
    assert difference(before, host.exits(guest)) == (ExitCount(0, "nmi", 1), ExitCount(1, "nmi", 1))
    assert "killed (asked): nmi at RIP 0x" in provisioned("guest", "list", HOST)
    host.destroy(guest)
    host.holds_nothing_but()


@pytest.mark.parametrize("end", ["panic", "reboot"])
def test_vcpus_that_end_in_good_faith_stop_nobody_else(
    host: RackHost, provisioned: Nohype, stock: Neighbour, end: str
) -> None:
    """Either stops "all other CPUs". A broadcast would stop those of the host: it never answered again."""
    guest = host.create(f"pair-{end}", vcpus=2)
    command = "echo c >/proc/sysrq-trigger" if end == "panic" else "reboot -f"
    earlier = uptime(stock.inside)
    with provisioned.started("guest", "ssh", HOST, guest.name, command):
        assert host.killed(guest).engagement.cause == "exit"
    assert uptime(stock.inside) > earlier
    host.destroy(guest)
    host.holds_nothing_but(stock.guest)


def test_the_host_keeps_off_lent_cores(host: RackHost, first: Neighbour) -> None:
    """Broadcasts to all CPUs, attempts to have the core back, and sleep."""
    guest, inside = first
    cpu = f"/sys/devices/system/cpu/cpu{guest.cpus[0]}"
    (core,) = guest.cpus
    assert host.session.run(["cat", "/sys/devices/system/cpu/lent"]).stdout.strip() == str(core)
    earlier = interrupts(inside, "CAL", "RES", "TLB")
    for value in ("1", "0") * 10:  # switches a static key: the kernel's text changes on all CPUs
        host.session.run(["sysctl", "-q", f"kernel.bpf_stats_enabled={value}"], sudo=True)
    for file, value in ((f"{cpu}/online", "1"), ("/sys/power/state", "freeze")):
        asked = host.session.run(["tee", file], stdin=value, sudo=True, check=False)
        assert (asked.exit_code, "busy" in asked.stderr) == (1, True), file
    assert interrupts(inside, "CAL", "RES", "TLB") == earlier
    assert host.look(guest).engagement.state == "disengaged"


@pytest.mark.parametrize("program", UNPRIVILEGED)
def test_programs_of_a_guest_cannot_end_it(host: RackHost, first: Neighbour, program: str) -> None:
    guest, inside = first
    _, signum = UNPRIVILEGED[program]
    assert run_unprivileged(inside, program) == (128 + signum if signum else 0)
    assert host.look(guest).engagement.state == "disengaged"


def test_who_stays_behind_its_hypervisor_is_killed(host: RackHost, provisioned: Nohype) -> None:
    guest = host.start("late", disengage_within=0.5)
    dead = host.killed(guest)
    assert (dead.engagement.cause, dead.engagement.reason) == ("deadline", "")
    assert set(guest.cpus) <= host.online()
    assert "killed by its host: it had not left its hypervisor within 0.5 s" in provisioned("guest", "list", HOST)
    host.destroy(guest)


def test_a_guest_works_without_exits(
    host: RackHost, first: Neighbour, stock: Neighbour, provisioned: Nohype, tmp_path: Path
) -> None:
    guest, inside = first
    assert guest.engagement.state == "disengaged"
    host.holds_nothing_but(guest, stock.guest)
    before = host.exits(guest)
    timer, network = interrupts(inside, "LOC"), interrupts(inside, "eth0-rx-0")
    gateway = str(host.host.variables["nohype_data_address"]).partition("/")[0]
    for name in ("cpu", "network-throughput"):
        (tmp_path / name).mkdir()
        result = workload_run.run(
            load_workloads()[name],
            **{"guest": inside, "host": host.session, "gateway": gateway},
            **{"vcpus": 1, "seconds": 3, "artifacts": tmp_path / name},
        )
        assert result.metrics[0].value > 0
    assert interrupts(inside, "LOC") > timer
    assert interrupts(inside, "eth0-rx-0") > network
    assert host.exits(guest) == before
    exits, states = host.exported(guest)
    assert exits == {(row.vcpu, row.reason): row.count for row in before}
    assert states == {"engaged": 0, "disengaged": 1, "killed": 0}
    assert re.search(r"first .*disengaged", provisioned("guest", "list", HOST))


@pytest.mark.parametrize(("provocation", "reason", "detail"), PROVOCATIONS, ids=[each[0] for each in PROVOCATIONS])
def test_an_exit_kills_its_guest_alone(
    *,
    host: RackHost,
    provisioned: Nohype,
    first: Neighbour,
    stock: Neighbour,
    provocation: str,
    reason: str,
    detail: str,
) -> None:
    victim = host.create(f"victim-{provocation}")
    before, others = host.exits(victim), host.exits(first.guest)
    earlier = [uptime(each.inside) for each in (first, stock)]
    command = INTERRUPT_HOST if provocation == "ipi" else PROVOKE.format(provocation)
    with provisioned.started("guest", "ssh", HOST, victim.name, command):
        dead = host.killed(victim).engagement
    assert (dead.cause, dead.vcpu, dead.reason) == ("exit", 0, reason)
    assert dead.exit_info_1 == (detail or dead.exit_info_1)
    assert KERNEL_TEXT.fullmatch(dead.rip)
    assert difference(before, host.exits(victim)) == (ExitCount(0, reason, 1),)
    assert host.exported(victim)[1] == {"engaged": 0, "disengaged": 0, "killed": 1}
    assert set(victim.cpus) <= host.online()
    host.destroy(victim)
    host.holds_nothing_but(first.guest, stock.guest)
    assert all(now > then for now, then in zip([uptime(each.inside) for each in (first, stock)], earlier, strict=True))
    assert host.exits(first.guest) == others


def test_a_core_that_does_not_answer_is_lost_and_nothing_of_its_guest_is_freed(
    host: RackHost, provisioned: Nohype, first: Neighbour
) -> None:
    """Until the host reboots."""
    guest = host.create("deaf")
    (core,) = guest.cpus
    machines, pages = host.machines(), host.facts().hugepages_free[HUGEPAGE_KIB]
    host.session.run(["tee", "/sys/module/lend/parameters/deaf"], stdin="1", sudo=True)
    host.session.run(["systemctl", "kill", "--signal=KILL", guest.unit], sudo=True)
    until(lambda: host.look(guest).state == "stopped", seconds=END_SECONDS, what="the end of QEMU")
    until(lambda: host.facts().lost == (core,), seconds=END_SECONDS, what="the loss of its core")
    assert (host.machines(), host.facts().hugepages_free[HUGEPAGE_KIB]) == (machines, pages)
    host.session.run(["tee", "/sys/module/lend/parameters/deaf"], stdin="0", sudo=True)
    assert host.look(first.guest).engagement.state == "disengaged"
    online = host.session.run(["tee", f"/sys/devices/system/cpu/cpu{core}/online"], stdin="1", sudo=True, check=False)
    assert online.exit_code == 1
    error = provisioned("guest", "create", HOST, "--name", "another", "--memory", "64", code=1)
    assert "reboot" in error


def test_a_reboot_ends_guests_without_hypervisor(host: RackHost, provisioned: Nohype, first: Neighbour) -> None:
    """And their host comes back with all it had, a lost core too."""
    assert host.look(first.guest).engagement.state == "disengaged"
    before = host.facts().boot_id
    said = len(provisioned("rack", "console", HOST, "--log"))
    provisioned("hosts", "boot", HOST, "--stack", "nohype", "--fresh")
    with connect(host.host) as session:
        again = RackHost(host.host, session, host.image)
        assert again.facts().boot_id != before
        again.holds_nothing_but()
    assert TROUBLE.findall(provisioned("rack", "console", HOST, "--log")[said:]) == []
