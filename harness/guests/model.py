"""What a guest is asked to be, and what it turned out as. The JSON of `nohype-host guest` has these very keys."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from harness.errors import InputError

ICR = ("closed", "open")
SEVERAL_VCPUS = (
    "take one vCPU, or ask for `icr: open` (guest create: --icr open), which is unsafe: such a guest can reset its host"
)


@dataclass(frozen=True)
class Disengagement:
    """How a guest is to leave its hypervisor. It concerns guests of stacks that leave it; others are made without."""

    # Which interrupts a guest may send. "closed": none, so that it has one vCPU. "open": any to any core, which several
    # vCPUs need to interrupt each other; such a guest can reset its host.
    icr: str = "closed"
    seconds: float = 120.0  # it is killed when it has not left its hypervisor so long after its start

    def check(self, vcpus: int) -> None:
        """Raises InputError where so many vCPUs cannot disengage."""
        if vcpus > 1 and self.icr != "open":
            raise InputError(
                f"guests with several vCPUs do not disengage unless their ICR is open; {vcpus} vCPUs wanted",
                fix=SEVERAL_VCPUS,
            )


USUAL = Disengagement()


@dataclass(frozen=True)
class GuestSpec:
    """Everything a host needs to start one guest."""

    name: str  # [a-z0-9-]{1,40}, unique on the host
    stack: str
    vcpus: int
    memory_mib: int
    image: str  # digest of the guest image, a folder under /var/lib/nohype/guest-images
    nic: str  # "bridge" (virtio or Xen's own, on the host-only bridge) or "vf" (SR-IOV VF)
    cpus: tuple[int, ...] = ()  # host cores to pin vCPU n to, in order; empty: not pinned
    hugepages: bool = False  # preallocated 2 MiB pages
    idle_in_guest: bool = False  # QEMU's -overcommit cpu-pm=on
    extra_cmdline: str = ""
    cpu_flags: str = ""  # appended to QEMU's `-cpu host`, e.g. ",-kvmclock"
    # It boots with a hypervisor and may then leave it: the host's own kernel, its root in memory, no virtio devices.
    disengage: bool = False
    kind: str = "kvm"  # "hvm" and "pvh" are Xen's; "bare": no guest, its programs on the host's kernel
    icr: str = ""  # "closed" or "open" (see Disengagement) for one that may leave its hypervisor
    disengage_seconds: float = 0  # how long it may take to leave it; positive where it may

    def facts(self) -> dict[str, str]:
        """What guests of a block are given, as flat text facts.

        Without what tells one of them from the next, and without the deadline, which changes nothing that is measured.
        """
        left_out = ("name", "stack", "image", "disengage_seconds")
        given = {name: value for name, value in asdict(self).items() if name not in left_out}
        return {f"guest.{name}": _as_text(value) for name, value in given.items()}


def _as_text(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (",".join(map(str, value)) if isinstance(value, tuple) else str(value)) or "none"


@dataclass(frozen=True)
class Engagement:
    """Whether a guest still has its hypervisor. All empty for ordinary stacks."""

    state: str = ""  # "engaged" (with a hypervisor, may leave it), "disengaged", "killed"
    refused: str = ""  # errno's name of the last disengagement the host refused
    # Of the kill: "exit", "asked" (or its QEMU was ended), "memory" (was taken away), "torn down"; of one that never
    # left its hypervisor "deadline" (it had not in time) or "refused" (the host did not let it)
    cause: str = ""
    vcpu: int = -1  # that made the VM exit below
    reason: str = ""  # of the exit, as the CPU vendor names it
    exit_info_1: str = ""  # hexadecimal, as are the next two
    exit_info_2: str = ""
    rip: str = ""
    lost: tuple[int, ...] = ()  # those of its cores that were not confirmed to have left it: gone until a reboot


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
    vcpu_threads: tuple[int, ...]  # thread id of vCPU n on its host; Xen's vCPUs are no threads
    cpus: tuple[int, ...]
    memory_mib: int
    started_at: float  # seconds since the epoch, the host's clock
    unit: str  # systemd unit that holds the guest
    console: str  # path of the serial log on the host
    engagement: Engagement = Engagement()
    vcpus: int = 1
    icr: str = ""  # as in its spec, as is the next one
    disengage_seconds: float = 0

    @property
    def death(self) -> str:
        """How a guest that may leave its hypervisor was killed, in a few words; "" while it lives."""
        now = self.engagement
        if now.state != "killed":
            return ""
        if now.cause == "deadline":
            return f"killed by its host: it had not left its hypervisor within {self.disengage_seconds:g} s"
        if now.cause == "refused":
            return f"killed by its host, which refused ({now.refused}) and lets no guest stay behind its hypervisor"
        by = f"{now.reason} at RIP {now.rip}" if now.reason else "no VM exit recorded"
        return f"killed: {by}" if now.cause == "exit" else f"killed ({now.cause}): {by}"
