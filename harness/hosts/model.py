"""A host as the harness sees it, read from an Ansible inventory."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from harness.results.model import Fidelity


@dataclass(frozen=True)
class Bmc:
    """How to reach a host's baseboard management controller. The password is read when used, never kept here."""

    kind: str  # "ipmi" or "redfish"
    address: str
    port: int
    user: str
    password_env: str  # name of the environment variable that holds the password; "" if in password_file
    password_file: Path | None = None
    console: str = ""  # "host:port" of a raw TCP/telnet serial console where IPMI's own SOL is not used


@dataclass(frozen=True)
class Host:
    """One host of the inventory."""

    name: str
    address: str
    port: int
    user: str
    private_key: Path
    known_hosts: Path
    fidelity: Fidelity
    bmc: Bmc | None = None
    variables: dict[str, object] = field(default_factory=dict, hash=False)


@dataclass(frozen=True)
class VirtualFunction:
    address: str  # PCI, e.g. 0000:02:10.0
    index: int
    driver: str  # "" when none bound
    iommu_group: int | None
    mac: str
    guest: str  # name of the guest that has it, "" when free

    @property
    def for_guests(self) -> bool:
        """Whether it has the driver under which the host's hypervisor gives it to guests: KVM's, or Xen's."""
        return self.driver in ("vfio-pci", "pciback")


@dataclass(frozen=True)
class PhysicalFunction:
    address: str
    driver: str
    netdev: str
    firmware: str
    total_vfs: int
    vfs: tuple[VirtualFunction, ...]


@dataclass(frozen=True)
class Xen:
    """What only Xen can tell of its host."""

    version: str
    scheduler: str  # the one that runs: Xen falls back without a word from one it was not built with
    commandline: str
    free_mib: int
    directio: bool  # PCI functions can be given to guests


@dataclass(frozen=True)
class Capabilities:
    """What a host can do, discovered on it (`nohype-host facts`)."""

    virtualization: str  # "svm", "vmx" or ""
    nested_paging: bool  # NPT or EPT
    iommu_groups: int
    x2apic: bool
    cores: int
    isolated: tuple[int, ...]  # cores Linux keeps tasks off (isolcpus); of a Xen host, those its control domain lacks
    memory_mib: int
    hugepages_total: dict[str, int] = field(hash=False)  # by page size in KiB, as text
    hugepages_free: dict[str, int] = field(hash=False)
    physical_functions: tuple[PhysicalFunction, ...]
    kernel: str
    cmdline: str
    boot_id: str
    stack: str  # which stack the running boot entry is (`nohype.stack=` on the command line), "" if none
    interrupt_remapping: bool = False  # devices' interrupts go through the IOMMU
    xen: Xen | None = None  # where the host runs Xen
    nohype: tuple[str, ...] = ()  # guests without hypervisor it can have: "closed" (one vCPU), "open" (several)
    lost: tuple[int, ...] = ()  # cores that were not confirmed to have left a guest: nobody's until the host reboots
