"""`xen-tuned`: Xen at its best."""

from __future__ import annotations

from dataclasses import dataclass

from harness.guests.model import USUAL, Disengagement, GuestSpec
from harness.hosts.model import Capabilities
from harness.stacks.base import ready_vfs, sriov_problems
from harness.stacks.dedicated import check_free_vf, free_cores
from harness.stacks.xen import check_xen_memory, xen_problems


@dataclass(frozen=True)
class XenTuned:
    """One core for each vCPU that the control domain has not, and an SR-IOV virtual function."""

    name: str = "xen-tuned"
    title: str = "Xen, tuned"
    description: str = (
        "Stock Xen at its best: HVM guests in superpages, vCPUs pinned to cores that the control domain does not use, "
        "an SR-IOV function passed through, the null scheduler where Xen is built with it."
    )

    def guest_spec(
        self,
        name: str,
        vcpus: int,
        memory_mib: int,
        image_digest: str,
        capabilities: Capabilities,
        busy_cores: frozenset[int],
        disengagement: Disengagement = USUAL,  # noqa: ARG002 - its guests keep their hypervisor
    ) -> GuestSpec:
        """See Stack."""
        cores = free_cores(vcpus, capabilities.isolated, busy_cores, "cores")
        check_xen_memory(memory_mib, capabilities)
        check_free_vf(capabilities, "pciback")
        return GuestSpec(
            name=name,
            stack=self.name,
            vcpus=vcpus,
            memory_mib=memory_mib,
            image=image_digest,
            nic="vf",
            cpus=cores,
            kind="hvm",
        )

    def problems(self, capabilities: Capabilities) -> tuple[str, ...]:
        """See Stack."""
        found = xen_problems(capabilities, self.name)
        found += sriov_problems(capabilities)
        if capabilities.stack == self.name and capabilities.xen:
            if not capabilities.isolated:
                found.append("its control domain has every core: set nohype_isolated_cores, provision and reboot")
            if not capabilities.xen.directio:
                found.append("Xen found no IOMMU: switch VT-d or AMD-Vi on in the firmware's setup")
            if not ready_vfs(capabilities):
                found.append("no virtual function is bound to pciback: systemctl status nohype-sriov.service")
        return tuple(found)
