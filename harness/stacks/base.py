"""What a stack is to the harness."""

from __future__ import annotations

from typing import Protocol

from harness.errors import UnavailableError
from harness.guests.model import USUAL, Disengagement, GuestSpec
from harness.hosts.model import Capabilities, VirtualFunction

HUGEPAGE_KIB = "2048"
HUGEPAGE_MIB = 2


class Stack(Protocol):
    """One way to run guests. A new one is a module here, a line in `harness.stacks`, its hosts' needs
    in `harness.provision.stacks`, and a test."""

    @property
    def name(self) -> str:
        """As campaigns and boot entries (`nohype-NAME`) have it."""
        ...

    @property
    def title(self) -> str:
        """A few words for reports and tables."""
        ...

    @property
    def description(self) -> str:
        """One sentence: what is special about guests here."""
        ...

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
        """A guest of this stack for a host that runs it; `busy_cores` have other guests on them.

        Raises UnavailableError, with the reason, where the host cannot hold it now; InputError where no host can.
        """
        ...

    def problems(self, capabilities: Capabilities) -> tuple[str, ...]:
        """Why the host cannot run this stack; empty when it can.

        What only booting into the stack sets up (isolated cores, hugepages, VFs) counts only on a host that has.
        """
        ...


def kvm_problems(capabilities: Capabilities) -> tuple[str, ...]:
    """What every KVM stack needs."""
    if not capabilities.virtualization:
        return ("its CPU shows neither SVM nor VMX: switch virtualization on in the firmware's setup",)
    if not capabilities.nested_paging:
        table = "NPT (kvm_amd.npt)" if capabilities.virtualization == "svm" else "EPT (kvm_intel.ept)"
        return (f"nested paging is off: {table} must be on, shadow paging would change what is measured",)
    return ()


def check_cores(vcpus: int, capabilities: Capabilities) -> None:
    """Raises UnavailableError where floating vCPUs would share the host's cores."""
    if vcpus > capabilities.cores:
        raise UnavailableError(f"{vcpus} vCPUs wanted, the host has {capabilities.cores} cores")


def check_memory(memory_mib: int, capabilities: Capabilities) -> None:
    """Raises UnavailableError where the host has less memory than the guest is to have."""
    if memory_mib > capabilities.memory_mib:
        raise UnavailableError(f"{memory_mib} MiB wanted, the host has {capabilities.memory_mib} MiB")


def sriov_problems(capabilities: Capabilities) -> tuple[str, ...]:
    """What every stack needs whose guests get virtual functions."""
    if not any(function.total_vfs for function in capabilities.physical_functions):
        return ("no NIC can have SR-IOV virtual functions: is SR-IOV on in the firmware's setup?",)
    return ()


def ready_vfs(capabilities: Capabilities) -> tuple[VirtualFunction, ...]:
    """The virtual functions that can be given to guests, those in use included."""
    return tuple(vf for pf in capabilities.physical_functions for vf in pf.vfs if vf.for_guests)
