"""Guests that run without a hypervisor: what the NoHype kernel lets be asked about a QEMU's VM, beside that QEMU.

The requests and structures are those of the kernel's include/uapi/linux/kvm.h (kernel/README.md explains them). They
go to QEMU's own file descriptor of the VM, of which we take a duplicate; QEMU itself knows nothing of it.
"""

from __future__ import annotations

import errno
import fcntl
import os
import struct
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from . import reasons, records
from .errors import AgentError
from .records import Engagement, Record, Row
from .system import ROOT, isa
from .wait import until

KVM = 0xAE  # the type of KVM's requests
CHECK_EXTENSION = KVM << 8 | 0x03
CAP_NOHYPE = 1000
# What a guest may send to other cores. closed: no interrupt leaves its only vCPU. open: its vCPUs interrupt each other.
POLICIES = {"closed": 1, "open": 2}
VCPU_LOST = 1  # a status's flag: the vCPU's core answered neither NMI nor INIT
REQUIRED = 1  # a permit's flag: the host kills the guest unless it has disengaged by the deadline

# icr, flags, deadline_ms, eventfd, cpus (a pointer), cpus_len in bytes, reserved
PERMIT_LAYOUT = struct.Struct("=IIIiQII")
# vcpu, state, cause, cpu, exit_code, exit_info_1, exit_info_2, rip, disengage_ns, killed_ns, exits, refused, flags
STATUS_LAYOUT = struct.Struct("=IIIi9Q")
_WRITES, _READS = 1 << 30, 2 << 30
PERMIT = _WRITES | PERMIT_LAYOUT.size << 16 | KVM << 8 | 0xE0
STATUS = _WRITES | _READS | STATUS_LAYOUT.size << 16 | KVM << 8 | 0xE1
KILL = KVM << 8 | 0xE2

STATES = ("", "engaged", "disengaged", "killed")
CAUSES = ("", "exit", "asked", "memory", "torn down", "deadline", "refused")

_BY_NMI = ("nmi", "exception_or_nmi")
_VM = "anon_inode:kvm-vm"
_PIDFD_GETFD = 438  # the same on every architecture (include/uapi/asm-generic/unistd.h)
_KILL_SECONDS = 10.0  # an NMI takes microseconds; an emulated host may be busy with something else

_PERMIT_REFUSALS = {
    errno.EPERM: ("that takes CAP_SYS_ADMIN", "run nohype-host as root"),
    errno.ENOTTY: ("its kernel is no NoHype kernel", "boot the host into stack nohype"),
    errno.EOPNOTSUPP: ("its CPU or its set-up cannot do it", "the kernel's log says what is missing: dmesg"),
    errno.EBUSY: ("its vCPUs have run already", "destroy the guest and make it anew"),
    errno.EINVAL: (
        "it does not know this request",
        "kernel and nohype-host are of different versions: provision again",
    ),
}


class RefusedError(AgentError):
    """The kernel does not do what was asked of it."""


class VcpuStatus(NamedTuple):
    """What the kernel tells of one vCPU: `struct kvm_nohype_status`."""

    vcpu: int
    state: int
    cause: int
    cpu: int
    exit_code: int
    exit_info_1: int
    exit_info_2: int
    rip: int
    disengage_ns: int
    killed_ns: int
    exits: int
    refused: int
    flags: int


def policies(root: Path = ROOT) -> tuple[str, ...]:
    """What this host's kernel offers guests without hypervisor; none where it has no part in NoHype."""
    try:
        kvm = os.open(root / "dev/kvm", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return ()
    try:
        offered = fcntl.ioctl(kvm, CHECK_EXTENSION, CAP_NOHYPE)
    except OSError:
        return ()
    finally:
        os.close(kvm)
    return tuple(name for name, bit in POLICIES.items() if offered & bit)


def permit(record: Record, root: Path = ROOT) -> Record:
    """Let the guest leave its hypervisor, before its first instruction. Raises RefusedError with the reason.

    It gets no core but those it is pinned to, and the host kills it where it has not left in time.
    """
    asked = request(record.icr, record.cpus, record.disengage_seconds)
    with _vm(record) as vm:
        try:
            fcntl.ioctl(vm, PERMIT, asked.data)
        except OSError as error:
            raise refusal(error, record.icr) from None
    return refreshed(record._replace(engagement=Engagement("engaged")), root)


class Request(NamedTuple):
    """`struct kvm_nohype_permit`, and the bitmap that it points to: one is of use as long as the other lives."""

    data: bytes
    cpus: array[int]


def request(icr: str, cpus: Sequence[int], seconds: float) -> Request:
    """What permits a guest on these cores to leave its hypervisor within `seconds` from when it is made."""
    bitmap = array("Q", bytes(8 * (max(cpus) // 64 + 1)))
    for cpu in cpus:
        bitmap[cpu // 64] |= 1 << cpu % 64
    address, words = bitmap.buffer_info()
    # No eventfd: nothing here waits for the death of a guest.
    fields = (POLICIES[icr], REQUIRED, round(seconds * 1000), -1, address, words * bitmap.itemsize, 0)
    return Request(PERMIT_LAYOUT.pack(*fields), bitmap)


def refusal(error: OSError, policy: str) -> RefusedError:
    """Why a guest may not disengage."""
    reason, fix = _PERMIT_REFUSALS.get(error.errno or 0, (str(error.strerror), "see the kernel's log: dmesg"))
    if error.errno == errno.EINVAL and policy == "open":
        reason, fix = "it offers no guests with an open ICR", "ask for one vCPU and leave out icr"
    what = f"the host does not let the guest disengage: {reason} ({_name(error.errno or 0)})"
    return RefusedError(what, where="KVM_NOHYPE_PERMIT", fix=fix)


def kill(record: Record, root: Path = ROOT) -> Record:
    """End a disengaged guest by NMI, and wait until its cores tell. Raises RefusedError where it is not disengaged."""
    with _vm(record) as vm:
        try:
            fcntl.ioctl(vm, KILL)
        except OSError as error:
            raise RefusedError(
                f"only a disengaged guest can be killed; {record.name} is {refreshed(record, root).engagement.state} "
                f"({error.strerror})",
                where="KVM_NOHYPE_KILL",
                fix=f"nohype-host guest destroy {record.name}",
            ) from None
    until(
        lambda: refreshed(record, root).engagement.state == "killed",
        seconds=_KILL_SECONDS,
        what=f"the end of guest {record.name}",
        where="KVM_NOHYPE_KILL",
    )
    return refreshed(record, root)


def refreshed(record: Record, root: Path = ROOT) -> Record:
    """The record with what the kernel says now of a guest that may disengage; unchanged once QEMU ends or has ended.

    To end QEMU kills a disengaged guest by NMI, which would look like an exit of the guest's.
    """
    if record.ending or not record.may_disengage or not records.is_running(record, root):
        return record
    try:
        with _vm(record) as vm:
            statuses = [status(vm, vcpu) for vcpu in range(len(record.vcpu_threads))]
    except ProcessLookupError:
        return record
    return record._replace(
        engagement=engagement(statuses, isa(root), record.cpus), stub=stub_rows(statuses, record.vcpu_threads)
    )


def status(vm: int, vcpu: int) -> VcpuStatus:
    """Ask the kernel about one vCPU of the VM."""
    asked = STATUS_LAYOUT.pack(vcpu, *[0] * 12)
    return VcpuStatus(*STATUS_LAYOUT.unpack(fcntl.ioctl(vm, STATUS, asked)))


def engagement(statuses: Sequence[VcpuStatus], flavour: str, cpus: Sequence[int]) -> Engagement:
    """What the vCPUs' statuses say about their guest; vCPU n is pinned to the nth of `cpus`.

    Of several vCPUs, one exits and the others are stopped for it by NMI: the reason is that of the former.
    """
    first = statuses[0]
    state = STATES[first.state]
    refused = _name(first.refused) if first.refused else ""
    lost = tuple(cpus[each.vcpu] for each in statuses if each.flags & VCPU_LOST)
    if state != "killed":
        return Engagement(state, refused, lost=lost)
    cause = CAUSES[first.cause]
    named = [(_reason(each, flavour), each) for each in statuses if each.exits]
    if not named:
        return Engagement(state, refused, cause, lost=lost)
    reason, by = min(named, key=lambda pair: pair[0] in _BY_NMI)
    exit_of = (by.vcpu, reason, hex(by.exit_info_1), hex(by.exit_info_2), hex(by.rip))
    return Engagement(state, refused, cause, *exit_of, lost)


def stub_rows(statuses: Sequence[VcpuStatus], threads: Sequence[int]) -> tuple[Row, ...]:
    """The exits after disengagement as rows of the kernel's histogram: at most one for each vCPU, its last."""
    return tuple(
        (threads[each.vcpu], each.vcpu, each.exit_code & 0xFFFFFFFF, each.exits) for each in statuses if each.exits
    )


def _reason(found: VcpuStatus, flavour: str) -> str:
    return reasons.name(flavour, found.exit_code & 0xFFFFFFFF)


def _name(number: int) -> str:
    """An errno's name as the kernel's documents have it: Python prefers ENOTSUP, which on Linux is the same number."""
    return "EOPNOTSUPP" if number == errno.EOPNOTSUPP else errno.errorcode.get(number, str(number))


@contextmanager
def _vm(record: Record) -> Iterator[int]:
    """A duplicate of QEMU's descriptor of the VM. It is closed soon: a VM lives as long as one of them does."""
    vm = duplicate(record.pid, _VM)
    try:
        yield vm
    finally:
        os.close(vm)


def duplicate(pid: int, target: str) -> int:
    """A descriptor of ours for what process `pid` has open as `target`, by its name in /proc/PID/fd.

    Raises ProcessLookupError where the process, or such a descriptor of it, is gone.
    """
    process = os.pidfd_open(pid)
    try:
        return _take(process, _descriptor(pid, target))
    finally:
        os.close(process)


def _descriptor(pid: int, target: str) -> int:
    for link in Path(f"/proc/{pid}/fd").iterdir():
        try:
            if str(link.readlink()) == target:
                return int(link.name)
        except FileNotFoundError:  # closed meanwhile
            continue
    raise ProcessLookupError(errno.ESRCH, f"it has no {target}", f"/proc/{pid}/fd")


def _take(process: int, descriptor: int) -> int:
    """pidfd_getfd(2), which Python lacks."""
    import ctypes  # slow to load, and most commands do not need it

    libc = ctypes.CDLL(None, use_errno=True)
    taken = libc.syscall(_PIDFD_GETFD, process, descriptor, 0)
    if taken < 0:
        number = ctypes.get_errno()
        if number in (errno.ESRCH, errno.EBADF):  # it ended, or closed it, since it was found
            raise ProcessLookupError(number, os.strerror(number))
        raise OSError(number, os.strerror(number), "pidfd_getfd")
    return int(taken)
