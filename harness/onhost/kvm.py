"""Guests of KVM: QEMU processes, each held by a systemd unit."""

from __future__ import annotations

import os
from pathlib import Path

from . import counters, network, nohype, qemu, records, units
from .errors import AgentError
from .qemu import Resources
from .qmp import Qmp
from .records import Record
from .spec import Spec
from .system import ROOT, isolated_cpus, memory_kib, number, online_cpus
from .wait import until

START_SECONDS = 120.0  # until QEMU has built the machine; filling hugepages is the long part on emulated hosts
HUGEPAGE_MIB = 2


def check_resources(spec: Spec, root: Path = ROOT) -> None:
    """Raises AgentError where there is no KVM, or no memory for the guest."""
    if not (root / "dev/kvm").exists():
        raise AgentError(
            "no /dev/kvm",
            where="/dev/kvm",
            fix="provision and activate the stack; is virtualization on in the firmware's setup?",
        )
    if spec.hugepages:
        pool = root / "sys/kernel/mm/hugepages/hugepages-2048kB"
        free = number(pool / "free_hugepages") * HUGEPAGE_MIB
        if free < spec.memory_mib:
            total = number(pool / "nr_hugepages") * HUGEPAGE_MIB
            raise AgentError(
                f"{spec.memory_mib} MiB of 2 MiB pages wanted, {free} of {total} MiB are free",
                where="guest spec: memory_mib",
                fix="destroy guests, or raise nohype_hugepages_2m in the inventory, provision and reboot",
            )
    else:
        free = memory_kib("MemAvailable", root) // 1024
        if free < spec.memory_mib:
            raise AgentError(
                f"{spec.memory_mib} MiB wanted, {free} MiB of the host's memory are available",
                where="guest spec: memory_mib",
                fix="destroy guests, or ask for less",
            )


def launch(spec: Spec, record: Record, given: Resources, messages: Path, root: Path = ROOT) -> Record:
    """Start the guest's QEMU; its vCPUs are where they should be and stand still.

    Raises AgentError, RefusedError where the kernel does not let it disengage.
    """
    if record.tap:
        network.add_tap(record.tap)
    aside = own_cores(spec.cpus, root) if spec.cpus else ()
    command = qemu.unit_argv(record.unit, qemu.argv(spec, given), messages=messages, cpus=aside)
    record = units.start(command, record, root)
    with _connect(record, root) as qmp:
        record = record._replace(vcpu_threads=qmp.vcpu_threads())
        _pin(record)
        if spec.disengage:
            record = nohype.permit(record, root)
        return record._replace(base=_earlier_counts(record, root))


def resume(record: Record, root: Path = ROOT) -> None:
    """Let the vCPUs run."""
    with Qmp(qmp_socket(record.name, root), seconds=START_SECONDS) as qmp:
        qmp.execute("cont")


def clear(record: Record, root: Path = ROOT) -> None:
    """Remove what QEMU leaves. The unit has been stopped."""
    if record.tap:
        network.delete_tap(record.tap, root)
    for path in (qmp_socket(record.name, root), console_socket(record.name, root)):
        path.unlink(missing_ok=True)


def console_log(name: str, root: Path = ROOT) -> Path:
    return records.log_folder(name, root) / "console.log"


def console_socket(name: str, root: Path = ROOT) -> Path:
    return records.folder(root) / f"{name}.console"


def qmp_socket(name: str, root: Path = ROOT) -> Path:
    return records.folder(root) / f"{name}.qmp"


def own_cores(cpus: tuple[int, ...], root: Path = ROOT) -> tuple[int, ...]:
    """Where the other threads of a pinned guest's QEMU run: the host's own cores, never the guest's."""
    online = set(online_cpus(root))
    return tuple(sorted(online - set(isolated_cpus(root)) - set(cpus) or online - set(cpus)))


def _connect(record: Record, root: Path) -> Qmp:
    """QEMU's QMP socket as soon as it listens. Raises AgentError when QEMU ends first."""
    connections: list[Qmp] = []

    def listens() -> bool:
        try:
            connections.append(Qmp(qmp_socket(record.name, root), seconds=START_SECONDS))
        except (FileNotFoundError, ConnectionRefusedError):
            return not records.is_running(record, root)
        return True

    until(listens, seconds=START_SECONDS, what="QEMU's start")
    if not connections:
        raise AgentError("QEMU ended")
    return connections[0]


def _pin(record: Record) -> None:
    for thread, cpu in zip(record.vcpu_threads, record.cpus, strict=False):  # no cpus: nothing is pinned
        os.sched_setaffinity(thread, {cpu})


def _earlier_counts(record: Record, root: Path) -> tuple[records.Row, ...]:
    """What ended threads with the same ids have left in the kernel's table."""
    histogram = counters.read(root)
    if histogram is None:
        return ()
    threads = set(record.vcpu_threads)
    return tuple((*key, count) for key, count in histogram.counts.items() if key[0] in threads)
