"""What a guest is asked to be, and what it turned out as. The JSON of `nohype-host guest` has these very keys."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GuestSpec:
    """Everything a host needs to start one guest."""

    name: str  # [a-z0-9-]{1,40}, unique on the host
    stack: str
    vcpus: int
    memory_mib: int
    image: str  # digest of the guest image, a folder under /var/lib/nohype/guest-images
    nic: str  # "virtio" (tap on the host-only bridge) or "vf" (SR-IOV VF by VFIO)
    cpus: tuple[int, ...] = ()  # host cores to pin vCPU n to, in order; empty: not pinned
    hugepages: bool = False  # preallocated 2 MiB pages
    idle_in_guest: bool = False  # QEMU's -overcommit cpu-pm=on
    extra_cmdline: str = ""
    cpu_flags: str = ""  # appended to QEMU's `-cpu host`, e.g. ",-kvmclock"


@dataclass(frozen=True)
class Guest:
    """A guest on a host."""

    name: str
    stack: str
    state: str  # "running" | "stopped"
    address: str  # IP as seen from its host
    mac: str
    vf: str  # PCI address, "" for virtio
    image: str
    vcpu_threads: tuple[int, ...]  # thread id of vCPU n on its host
    cpus: tuple[int, ...]
    memory_mib: int
    started_at: float  # seconds since the epoch, the host's clock
    unit: str  # systemd unit that holds the QEMU process
    console: str  # path of the serial log on the host
