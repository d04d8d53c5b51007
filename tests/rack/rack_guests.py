"""Guests on the rack's host, over sessions that stay open: there a login takes longer than most questions."""

from __future__ import annotations

import re
import urllib.request
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families
from rack_lab import GUEST_MIB

from harness import stacks
from harness.exits import reader
from harness.guests import lifecycle
from harness.guests.image import GuestImage
from harness.guests.model import Disengagement, Guest
from harness.hosts import discover
from harness.hosts.model import Capabilities, Host
from harness.hosts.ssh import HostSession
from harness.metrics.targets import exporter_targets
from harness.onhost.system import cpu_list
from harness.results.model import ExitCount
from harness.stacks.base import HUGEPAGE_KIB, HUGEPAGE_MIB
from harness.wait import until

BOOT_SECONDS = 180.0
END_SECONDS = 60.0  # until what ends at once is seen to have ended; emulated hosts may be busy
# How the kernel begins reports of what must not be. Advice about the CPU's flaws has the word WARNING in it, too.
TROUBLE = re.compile(
    r"cut here|Call Trace|WARNING: (CPU|possible|suspicious|inconsistent)|\bBUG\b|\bOops\b|Kernel panic|detected stall"
    r"|blocked for more than|Unhandled fault"
)


@dataclass(frozen=True)
class RackHost:
    """A host in one of its boots."""

    host: Host
    session: HostSession
    image: GuestImage

    def create(self, name: str, *, stack: str = "nohype", vcpus: int = 1) -> Guest:
        """The guest as it is when its SSH answers; one without hypervisor has left it by then."""
        guest = self.start(name, stack=stack, vcpus=vcpus)
        lifecycle.await_ssh(self.session, guest, BOOT_SECONDS)
        return self.look(guest)

    def start(self, name: str, *, stack: str = "nohype", vcpus: int = 1, disengage_within: float = 120) -> Guest:
        """The guest as its boot begins. With several vCPUs its ICR is open."""
        busy = lifecycle.busy_cores(lifecycle.list_guests(self.session))
        wish = Disengagement("open" if vcpus > 1 else "closed", disengage_within)
        spec = stacks.get(stack).guest_spec(name, vcpus, GUEST_MIB, self.image.digest, self.facts(), busy, wish)
        return lifecycle.create(self.session, spec)

    def look(self, guest: Guest) -> Guest:
        return lifecycle.look(self.session, guest)

    def killed(self, guest: Guest) -> Guest:
        """The guest once it is seen to be dead."""

        def dead() -> Guest | None:
            now = self.look(guest)
            return now if now.engagement.state == "killed" else None

        return until(dead, seconds=END_SECONDS, what=f"the end of guest {guest.name}")

    def destroy(self, guest: Guest) -> None:
        lifecycle.destroy(self.session, guest.name)

    def inside(self, guest: Guest) -> HostSession:
        return lifecycle.connect(self.session, guest, self.image)

    def facts(self) -> Capabilities:
        return discover.capabilities(self.session)

    def idle_memory(self) -> bool:
        """Whether no hugepage is in use."""
        able = self.facts()
        return able.hugepages_free == able.hugepages_total

    def online(self) -> set[int]:
        return set(cpu_list(self.session.run(["cat", "/sys/devices/system/cpu/online"]).stdout))

    def exits(self, guest: Guest) -> tuple[ExitCount, ...]:
        """As the host counts them: those of KVM, and the one after which a guest without hypervisor was dead."""
        return reader.read(self.session).of(guest.name)

    def exported(self, guest: Guest) -> tuple[dict[tuple[int, str], float], dict[str, float]]:
        """What Prometheus would scrape now: exits by vCPU and reason, and the states of engagement."""
        (target,) = exporter_targets([self.host]).values()
        with urllib.request.urlopen(f"http://{target.address}/metrics", timeout=60) as reply:
            families = list(text_string_to_metric_families(reply.read().decode()))
        samples = [s for family in families for s in family.samples if s.labels.get("guest") == guest.name]
        exits = {
            (int(s.labels["vcpu"]), s.labels["reason"]): s.value for s in samples if s.name == "nohype_vm_exits_total"
        }
        states = {s.labels["state"]: s.value for s in samples if s.name == "nohype_guest_engagement"}
        return exits, states

    def machines(self) -> int:
        """How many virtual machines KVM has."""
        names = ["find", "/sys/kernel/debug/kvm", "-mindepth", "1", "-type", "d", "-name", "*-*"]
        return len(self.session.run(names, sudo=True).stdout.split())

    def trouble(self) -> list[str]:
        """What the kernel has complained about since its boot."""
        log = self.session.run(["dmesg"], sudo=True).stdout
        return [line for line in log.splitlines() if TROUBLE.search(line)]

    def holds_nothing_but(self, *guests: Guest) -> None:
        """Cores, hugepages, virtual functions and virtual machines are those of the guests, and all is well."""
        without = [guest for guest in guests if guest.engagement.state]
        taken = {core for guest in without for core in guest.cpus}
        able = self.facts()
        assert self.online() == set(range(able.cores)) - taken
        pages = sum(guest.memory_mib for guest in without) // HUGEPAGE_MIB
        assert able.hugepages_free[HUGEPAGE_KIB] == able.hugepages_total[HUGEPAGE_KIB] - pages
        functions = [vf for pf in able.physical_functions for vf in pf.vfs]
        assert {vf.address: vf.guest for vf in functions if vf.guest} == {guest.vf: guest.name for guest in without}
        assert {vf.driver for vf in functions} == {"vfio-pci"}
        # A VM without hypervisor ends a moment after its process: its cores come back first.
        until(lambda: self.machines() == len(guests), seconds=END_SECONDS, what="the end of virtual machines")
        trouble = self.trouble()
        assert trouble == [], trouble


def interrupts(session: HostSession, *names: str) -> list[int]:
    """How many interrupts of these kinds each CPU has had (/proc/interrupts; the first or last word of a line)."""
    lines = session.run(["cat", "/proc/interrupts"]).stdout.splitlines()
    cpus = len(lines[0].split())
    found = [0] * cpus
    for words in map(str.split, lines[1:]):
        if words[0].rstrip(":") in names or words[-1] in names:
            for cpu, count in enumerate(words[1 : cpus + 1]):
                found[cpu] += int(count)
    return found


def uptime(session: HostSession) -> float:
    return float(session.run(["cat", "/proc/uptime"], timeout=30).stdout.split()[0])
