"""`kvm`: what a user of KVM gets who tunes nothing."""

from __future__ import annotations

from dataclasses import dataclass

from harness.guests.model import USUAL, Disengagement, GuestSpec
from harness.hosts.model import Capabilities
from harness.stacks.base import check_cores, check_memory, kvm_problems


@dataclass(frozen=True)
class Kvm:
    """Virtio network on a host-only bridge, vCPUs where Linux puts them, memory in ordinary pages."""

    name: str = "kvm"
    title: str = "KVM, as installed"
    description: str = "Stock KVM and QEMU with virtio devices; no pinning, no hugepages, no isolated cores."

    def guest_spec(
        self,
        name: str,
        vcpus: int,
        memory_mib: int,
        image_digest: str,
        capabilities: Capabilities,
        busy_cores: frozenset[int],  # noqa: ARG002 - vCPUs float, so no core is anybody's
        disengagement: Disengagement = USUAL,  # noqa: ARG002 - its guests keep their hypervisor
    ) -> GuestSpec:
        """See Stack."""
        check_cores(vcpus, capabilities)
        check_memory(memory_mib, capabilities)
        return GuestSpec(
            name=name, stack=self.name, vcpus=vcpus, memory_mib=memory_mib, image=image_digest, nic="bridge"
        )

    def problems(self, capabilities: Capabilities) -> tuple[str, ...]:
        """See Stack."""
        return kvm_problems(capabilities)
