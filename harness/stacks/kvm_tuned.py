"""`kvm-tuned`: the strongest KVM there is to compare with."""

from __future__ import annotations

from dataclasses import dataclass

from harness.guests.model import USUAL, Disengagement, GuestSpec
from harness.hosts.model import Capabilities
from harness.stacks import dedicated


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
        disengagement: Disengagement = USUAL,  # noqa: ARG002 - its guests keep their hypervisor
    ) -> GuestSpec:
        """See Stack."""
        return GuestSpec(
            name=name,
            stack=self.name,
            vcpus=vcpus,
            memory_mib=memory_mib,
            image=image_digest,
            nic="vf",
            cpus=dedicated.free_parts(vcpus, memory_mib, capabilities, busy_cores),
            hugepages=True,
            idle_in_guest=True,
        )

    def problems(self, capabilities: Capabilities) -> tuple[str, ...]:
        """See Stack."""
        return tuple(dedicated.problems(capabilities, self.name))
