"""What a guest says of itself: for the fingerprint of the block it runs in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.errors import GuestError

if TYPE_CHECKING:
    from harness.hosts.ssh import HostSession

_FACTS = {
    "/sys/devices/system/clocksource/clocksource0/current_clocksource": "guest.clocksource",
    "/sys/devices/system/cpu/online": "guest.cpu.online",
    "/proc/sys/kernel/osrelease": "guest.kernel",
}
# What not every kernel has.
_OPTIONAL = {"/sys/kernel/mm/transparent_hugepage/enabled": "guest.transparent_hugepages"}
_FLAWS = "/sys/devices/system/cpu/vulnerabilities/"


def facts(session: HostSession) -> dict[str, str]:
    """Kernel, cores, clock, pages and mitigations as the guest sees them, as flat text facts.

    One command that reads nothing but memory: a guest without hypervisor lives on. Raises GuestError where the guest
    does not tell, and as sessions do.
    """
    names = {**_FACTS, **_OPTIONAL}
    said = session.run(["grep", "-rs", "", *names, _FLAWS], check=False)  # fails where a kernel lacks one of them
    pairs = [line.split(":", 1) for line in said.stdout.splitlines() if ":" in line]
    found = {names.get(path) or path.replace(_FLAWS, "guest.mitigations."): text for path, text in pairs}
    missing = set(_FACTS.values()) - set(found)
    if missing:
        raise GuestError(f"the guest does not tell {', '.join(sorted(missing))}", where=session.host_name)
    return found
