"""What stacks have in common whose guests get parts of the host for themselves: cores, memory, a network function."""

from __future__ import annotations

from harness.errors import UnavailableError
from harness.hosts.model import Capabilities
from harness.stacks.base import HUGEPAGE_KIB, HUGEPAGE_MIB, kvm_problems, ready_vfs, sriov_problems

# Interrupts, timers and the host's own work land on core 0 whatever the boot options say.
HOST_CORE = 0


def free_parts(vcpus: int, memory_mib: int, capabilities: Capabilities, busy_cores: frozenset[int]) -> tuple[int, ...]:
    """The cores a guest may have, one for each vCPU.

    Raises UnavailableError, with the reason, where cores, hugepages or virtual functions do not suffice now.
    """
    cores = free_cores(vcpus, guest_cores(capabilities), busy_cores, "isolated cores")
    pages = capabilities.hugepages_free.get(HUGEPAGE_KIB, 0)
    if memory_mib > pages * HUGEPAGE_MIB:
        raise UnavailableError(
            f"{memory_mib} MiB of hugepages wanted, {pages * HUGEPAGE_MIB} MiB are free",
            fix="destroy guests, ask for less memory, or raise nohype_hugepages_2m, provision and reboot",
        )
    check_free_vf(capabilities, "vfio-pci")
    return cores


def free_cores(vcpus: int, cores: tuple[int, ...], busy_cores: frozenset[int], what: str) -> tuple[int, ...]:
    """One of `cores` for each vCPU. `what` they are called. Raises UnavailableError where too few are free."""
    free = tuple(core for core in cores if core not in busy_cores)
    if vcpus > len(free):
        raise UnavailableError(
            f"{vcpus} {what} wanted, {len(free)} of {len(cores)} are free",
            fix="destroy guests, ask for fewer vCPUs, or widen nohype_isolated_cores, provision and reboot",
        )
    return free[:vcpus]


def check_free_vf(capabilities: Capabilities, driver: str) -> None:
    """Raises UnavailableError where guests have all virtual functions, or there is none; `driver` is the host's."""
    vfs = ready_vfs(capabilities)
    if all(vf.guest for vf in vfs):
        raise UnavailableError(
            f"no virtual function is free (of {len(vfs)} bound to {driver})",
            fix="destroy guests, or raise nohype_vfs and provision again",
        )


def problems(capabilities: Capabilities, stack: str) -> list[str]:
    """Why the host has no such parts; what booting into `stack` sets up counts on a host that has booted into it."""
    found = list(kvm_problems(capabilities))
    if capabilities.cores < 2:
        found.append("it has one core: the host keeps core 0, so guests need a second one")
    found += sriov_problems(capabilities)
    if not capabilities.iommu_groups and booted_with_iommu(capabilities):
        found.append("there are no IOMMU groups: switch VT-d or AMD-Vi on in the firmware's setup")
    if capabilities.stack == stack:
        found += _boot_problems(capabilities)
    return found


def guest_cores(capabilities: Capabilities) -> tuple[int, ...]:
    """The cores guests may have."""
    return tuple(core for core in capabilities.isolated if core != HOST_CORE and core not in capabilities.lost)


def booted_with_iommu(capabilities: Capabilities) -> bool:
    """Whether the kernel was told to use the IOMMU: before that, what it lacks says nothing."""
    return "iommu=on" in capabilities.cmdline


def _boot_problems(capabilities: Capabilities) -> list[str]:
    found = []
    if not guest_cores(capabilities):
        found.append("no core but 0 is isolated: set nohype_isolated_cores, provision and reboot")
    if not capabilities.hugepages_total.get(HUGEPAGE_KIB, 0):
        found.append("it has no 2 MiB hugepages: set nohype_hugepages_2m, provision and reboot")
    if not ready_vfs(capabilities):
        found.append("no virtual function is bound to vfio-pci: systemctl status nohype-sriov.service")
    return found
