"""`bare`: no guest at all, for what virtualization costs altogether."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import UnavailableError
from harness.guests.model import USUAL, Disengagement, GuestSpec
from harness.hosts.model import Capabilities
from harness.stacks.base import check_memory, ready_vfs, sriov_problems
from harness.stacks.dedicated import guest_cores


@dataclass(frozen=True)
class Bare:
    """The guest image's programs on the host's own kernel, with one core, a guest's memory and a virtual function."""

    name: str = "bare"
    title: str = "Bare metal"
    description: str = (
        "No hypervisor and no guest: the guest image's programs in namespaces on the host's kernel, on an isolated "
        "core, with as much memory and an SR-IOV function."
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
        if vcpus > 1:
            raise UnavailableError(
                f"{vcpus} vCPUs wanted; on bare metal a workload gets one core: Linux does not spread processes over "
                "isolated ones",
                fix="ask for one vCPU",
            )
        free = [core for core in guest_cores(capabilities) if core not in busy_cores]
        vfs = ready_vfs(capabilities)
        if not free or all(vf.guest for vf in vfs):
            raise UnavailableError(
                f"{len(free)} isolated cores and {sum(not vf.guest for vf in vfs)} virtual functions are free",
                fix="destroy guests, or widen nohype_isolated_cores and nohype_vfs, provision and reboot",
            )
        check_memory(memory_mib, capabilities)
        return GuestSpec(
            name=name,
            stack=self.name,
            vcpus=vcpus,
            memory_mib=memory_mib,
            image=image_digest,
            nic="vf",
            cpus=tuple(free[:1]),
            kind="bare",
        )

    def problems(self, capabilities: Capabilities) -> tuple[str, ...]:
        """See Stack."""
        found = []
        if capabilities.cores < 2:
            found.append("it has one core: the host keeps core 0, so the workload needs a second one")
        found += sriov_problems(capabilities)
        if capabilities.stack == self.name and not (guest_cores(capabilities) and ready_vfs(capabilities)):
            found.append(
                "no isolated core, or no virtual function: provision it again and look at nohype-sriov.service"
            )
        return tuple(found)
