"""`xen` and `xen-pvh`: what a user of Xen gets who tunes nothing, with guests of either kind."""

from __future__ import annotations

from dataclasses import dataclass

from harness.errors import UnavailableError
from harness.guests.model import USUAL, Disengagement, GuestSpec
from harness.hosts.model import Capabilities
from harness.stacks.base import check_cores


@dataclass(frozen=True)
class Xen:
    """Xen's own network on a host-only bridge, vCPUs where its scheduler puts them."""

    name: str = "xen"
    title: str = "Xen, as installed"
    description: str = (
        "Stock Xen with HVM guests and its paravirtual disk and network; its control domain has cores and memory of "
        "its own size, nothing is pinned."
    )
    kind: str = "hvm"

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
        check_xen_memory(memory_mib, capabilities)
        return GuestSpec(
            name=name,
            stack=self.name,
            vcpus=vcpus,
            memory_mib=memory_mib,
            image=image_digest,
            nic="bridge",
            kind=self.kind,
        )

    def problems(self, capabilities: Capabilities) -> tuple[str, ...]:
        """See Stack."""
        return tuple(xen_problems(capabilities, self.name))


XEN_PVH = Xen(
    "xen-pvh",
    "Xen, PVH guests",
    "As `xen`, with PVH guests: no emulated devices, and nothing but the hypervisor itself to leave for.",
    "pvh",
)


def check_xen_memory(memory_mib: int, capabilities: Capabilities) -> None:
    """Raises UnavailableError where Xen cannot hold the guest now."""
    if capabilities.xen and memory_mib > capabilities.xen.free_mib:
        raise UnavailableError(
            f"{memory_mib} MiB wanted, Xen has {capabilities.xen.free_mib} MiB free",
            fix="destroy guests, ask for less memory, or lower nohype_dom0_memory_mib, provision and reboot",
        )


def xen_problems(capabilities: Capabilities, stack: str) -> list[str]:
    """What every stack on Xen needs; what booting into `stack` sets up counts on a host that has booted into it."""
    if not capabilities.virtualization:
        return ["its CPU shows neither SVM nor VMX: switch virtualization on in the firmware's setup"]
    if not capabilities.nested_paging:
        return ["it has no nested paging (NPT, EPT): shadow paging would change what is measured"]
    if capabilities.stack != stack:
        return []
    if capabilities.xen is None:
        return ["it has booted this stack's entry, but not Xen: look at its console"]
    asked = [word for word in capabilities.xen.commandline.split() if word.startswith("sched=")]
    if asked and asked[-1] != f"sched={capabilities.xen.scheduler}":
        return [f"Xen was asked for {asked[-1]} and runs {capabilities.xen.scheduler}: it was built without it"]
    return []
