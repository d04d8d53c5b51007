"""`nohype`: guests that boot with a hypervisor and then leave it behind."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import UnavailableError
from harness.guests.model import USUAL, Disengagement, GuestSpec
from harness.hosts.model import Capabilities
from harness.stacks import dedicated


@dataclass(frozen=True)
class NoHype:
    """As `kvm-tuned`, but once a guest has booted, its cores, timers and interrupts are its own: any exit ends it."""

    name: str = "nohype"
    title: str = "NoHype"
    description: str = (
        "Guests without a hypervisor: booted under KVM on cores, hugepages and an SR-IOV function of their own, then "
        "disengaged. Interrupts and timers reach them directly, and any VM exit kills."
    )

    def guest_spec(
        self,
        name: str,
        vcpus: int,
        memory_mib: int,
        image_digest: str,
        capabilities: Capabilities,
        busy_cores: frozenset[int],
        disengagement: Disengagement = USUAL,
    ) -> GuestSpec:
        """See Stack."""
        disengagement.check(vcpus)
        if capabilities.nohype and disengagement.icr not in capabilities.nohype:
            raise UnavailableError(
                f"the host's kernel lets no guest with icr {disengagement.icr} disengage: it offers "
                f"{', '.join(capabilities.nohype)}",
                fix="ask for one vCPU and leave out icr",
            )
        return GuestSpec(
            name=name,
            stack=self.name,
            vcpus=vcpus,
            memory_mib=memory_mib,
            image=image_digest,
            nic="vf",
            cpus=dedicated.free_parts(vcpus, memory_mib, capabilities, busy_cores),
            hugepages=True,
            disengage=True,
            icr=disengagement.icr,
            disengage_seconds=disengagement.seconds,
        )

    def problems(self, capabilities: Capabilities) -> tuple[str, ...]:
        """See Stack."""
        found = dedicated.problems(capabilities, self.name)
        if not capabilities.x2apic and not capabilities.xen:  # Xen hides it from its control domain
            found.append(
                "no x2APIC: switch it on in the firmware's setup; guests could not reach their APIC without exits"
            )
        if not capabilities.interrupt_remapping and dedicated.booted_with_iommu(capabilities):
            found.append("interrupts are not remapped: switch it on with VT-d or AMD-Vi in the firmware's setup")
        if capabilities.stack == self.name and not capabilities.nohype:
            found.append(
                f"its kernel ({capabilities.kernel}) lets no guest disengage: it is no NoHype kernel, or its log says "
                "what the CPU lacks (dmesg)"
            )
        return tuple(found)
