"""`kvm-tuned`: the strongest KVM there is to compare with."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import UnavailableError
from harness.guests.model import GuestSpec
from harness.hosts.model import Capabilities
from harness.stacks.base import HUGEPAGE_KIB, HUGEPAGE_MIB, kvm_problems, ready_vfs, total_vfs

# Interrupts, timers and the host's own work land on core 0 whatever the boot options say.
HOST_CORE = 0


@dataclass(frozen=True)
class KvmTuned:
    """One isolated core for each vCPU, hugepages, an SR-IOV virtual function, and idling without exits."""

    name: str = "kvm-tuned"
    title: str = "KVM, tuned"
    description: str = (
        "Stock KVM at its best: vCPUs pinned to isolated tickless cores, 2 MiB hugepages, an SR-IOV function by VFIO, "
        "and HLT, MWAIT and PAUSE left to the guest (cpu-pm=on)."
    )

    def guest_spec(
        self,
        name: str,
        vcpus: int,
        memory_mib: int,
        image_digest: str,
        capabilities: Capabilities,
        busy_cores: frozenset[int],
    ) -> GuestSpec:
        """See Stack."""
        cores = guest_cores(capabilities)
        free = tuple(core for core in cores if core not in busy_cores)
        if vcpus > len(free):
            raise UnavailableError(
                f"{vcpus} isolated cores wanted, {len(free)} of {len(cores)} are free",
                fix="destroy guests, ask for fewer vCPUs, or widen nohype_isolated_cores, provision and reboot",
            )
        pages = capabilities.hugepages_free.get(HUGEPAGE_KIB, 0)
        if memory_mib > pages * HUGEPAGE_MIB:
            raise UnavailableError(
                f"{memory_mib} MiB of hugepages wanted, {pages * HUGEPAGE_MIB} MiB are free",
                fix="destroy guests, ask for less memory, or raise nohype_hugepages_2m, provision and reboot",
            )
        vfs = ready_vfs(capabilities)
        if all(vf.guest for vf in vfs):
            raise UnavailableError(
                f"no virtual function is free (of {len(vfs)} bound to vfio-pci)",
                fix="destroy guests, or raise nohype_vfs and provision again",
            )
        return GuestSpec(
            name=name,
            stack=self.name,
            vcpus=vcpus,
            memory_mib=memory_mib,
            image=image_digest,
            nic="vf",
            cpus=free[:vcpus],
            hugepages=True,
            idle_in_guest=True,
        )

    def problems(self, capabilities: Capabilities) -> tuple[str, ...]:
        """See Stack."""
        found = list(kvm_problems(capabilities))
        if capabilities.cores < 2:
            found.append("it has one core: the host keeps core 0, so guests need a second one")
        if not total_vfs(capabilities):
            found.append("no NIC can have SR-IOV virtual functions: is SR-IOV on in the firmware's setup?")
        if not capabilities.iommu_groups and _booted_with_iommu(capabilities):
            found.append("there are no IOMMU groups: switch VT-d or AMD-Vi on in the firmware's setup")
        if capabilities.stack == self.name:
            found += self._boot_problems(capabilities)
        return tuple(found)

    def _boot_problems(self, capabilities: Capabilities) -> list[str]:
        found = []
        if not guest_cores(capabilities):
            found.append("no core but 0 is isolated: set nohype_isolated_cores, provision and reboot")
        if not capabilities.hugepages_total.get(HUGEPAGE_KIB, 0):
            found.append("it has no 2 MiB hugepages: set nohype_hugepages_2m, provision and reboot")
        if not ready_vfs(capabilities):
            found.append("no virtual function is bound to vfio-pci: systemctl status nohype-sriov.service")
        return found


def guest_cores(capabilities: Capabilities) -> tuple[int, ...]:
    """The cores guests may have."""
    return tuple(core for core in capabilities.isolated if core != HOST_CORE)


def _booted_with_iommu(capabilities: Capabilities) -> bool:
    """Whether the kernel was told to use the IOMMU: before that, having no groups says nothing."""
    return "iommu=on" in capabilities.cmdline
