"""Guests of this host: create, list, destroy."""

from __future__ import annotations

import contextlib
import difflib
import os
import shutil
import time
from pathlib import Path

from . import counters, network, qemu, records, sriov
from . import spec as specs
from .errors import AgentError
from .qmp import Qmp
from .records import Record
from .spec import Spec
from .system import ROOT, isolated_cpus, memory_kib, number, online_cpus, run, text
from .wait import until

START_SECONDS = 120.0  # until QEMU has built the machine; filling hugepages is the long part on emulated hosts
HUGEPAGE_MIB = 2


def create(document: object, root: Path = ROOT) -> dict[str, object]:
    """Start the guest and return it (harness.guests.model.Guest) once its vCPUs run where they should.

    Raises AgentError; nothing of the guest is left then.
    """
    spec = specs.parse(document, root)
    with records.lock(root):
        others = settle(root)
        same = next((r for r in others if r.name == spec.name), None)
        if same:
            raise AgentError(
                f"guest {spec.name!r} exists ({'stopped' if same.stopped else 'running'})",
                where="guest spec: name",
                fix="take another name: a name is used once per boot, so that exits stay attributable to one guest",
            )
        running = [r for r in others if not r.stopped]
        check_resources(spec, running, root)
        _drop_old_logs(others, root)
        record, given = _allocate(spec, running, root)
        try:
            return _start(spec, record, given, root)
        except BaseException:  # also when we are told to end: nothing may stay behind
            _clear(record, root)
            records.forget(record, root)
            raise


def listing(root: Path = ROOT) -> list[dict[str, object]]:
    """Every guest of this boot, ended ones too."""
    return [r.document(running=records.is_running(r, root)) for r in records.load_all(root) if r.ready]


def destroy(name: str, root: Path = ROOT) -> list[dict[str, object]]:
    """Stop a guest; its record stays for its exits. Doing it again changes nothing."""
    with records.lock(root):
        found = {record.name: record for record in settle(root)}
        if name not in found:
            near = difflib.get_close_matches(name, found, n=1, cutoff=0.5)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise AgentError(f"no guest {name!r} since this host booted{hint}", fix="see: nohype-host guest list")
        return [_stop(found[name], root).document(running=False)]


def destroy_all(root: Path = ROOT) -> list[dict[str, object]]:
    """Stop every running guest and return those."""
    with records.lock(root):
        return [_stop(r, root).document(running=False) for r in settle(root) if not r.stopped]


def settle(root: Path = ROOT) -> list[Record]:
    """Clear away after guests that ended by themselves and after killed `guest create`s. Needs the lock."""
    kept = []
    for record in records.load_all(root):
        if not record.ready:
            _clear(record, root)
            records.forget(record, root)
        elif not record.stopped and not records.is_running(record, root):
            kept.append(_stop(record, root))
        else:
            kept.append(record)
    return kept


def vfs_in_use(root: Path = ROOT) -> dict[str, str]:
    """PCI address of each VF a guest has -> the guest's name."""
    return {r.vf: r.name for r in records.load_all(root) if r.vf and (not r.ready or records.is_running(r, root))}


def check_resources(spec: Spec, running: list[Record], root: Path = ROOT) -> None:
    """Raises AgentError where the host cannot hold the guest beside the running ones."""
    if not (root / "dev/kvm").exists():
        raise AgentError(
            "no /dev/kvm",
            where="/dev/kvm",
            fix="provision and activate the stack; is virtualization on in the firmware's setup?",
        )
    owners = {cpu: record.name for record in running for cpu in record.cpus}
    taken = [f"{cpu} (guest {owners[cpu]})" for cpu in spec.cpus if cpu in owners]
    if taken:
        raise AgentError(f"cores already pinned: {', '.join(taken)}", where="guest spec: cpus", fix="name free cores")
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


def free_number(running: list[Record]) -> int:
    """The lowest number no running guest has."""
    used = {record.number for record in running}
    return next(number for number in range(len(used) + 1) if number not in used)


def own_cores(cpus: tuple[int, ...], root: Path = ROOT) -> tuple[int, ...]:
    """Where the other threads of a pinned guest's QEMU run: the host's own cores, never the guest's."""
    online = set(online_cpus(root))
    return tuple(sorted(online - set(isolated_cpus(root)) - set(cpus) or online - set(cpus)))


def log_folder(name: str, root: Path = ROOT) -> Path:
    return root / "var/lib/nohype/guests" / name


def console_socket(name: str, root: Path = ROOT) -> Path:
    return records.folder(root) / f"{name}.console"


def _qmp_socket(name: str, root: Path) -> Path:
    return records.folder(root) / f"{name}.qmp"


def _allocate(spec: Spec, running: list[Record], root: Path) -> tuple[Record, qemu.Resources]:
    """Choose address, MAC and VF or tap, and write the record that holds them."""
    own = free_number(running)
    if spec.nic == "vf":
        vf, netdev = _free_vf(root)
        placement = network.place(network.own_address(netdev, root), own)
        mac, vf_address, tap = vf.mac, vf.address, ""
    else:
        placement = network.place(network.own_address(network.BRIDGE, root), own)
        mac, vf_address, tap = network.guest_mac(spec.name, root), "", f"nhtap{own}"
    record = Record(
        name=spec.name,
        stack=spec.stack,
        address=placement.address,
        mac=mac,
        vf=vf_address,
        image=spec.image,
        vcpu_threads=(),
        cpus=spec.cpus,
        memory_mib=spec.memory_mib,
        started_at=0.0,
        unit=f"nohype-guest-{spec.name}.service",
        console=str(log_folder(spec.name, root) / "console.log"),
        number=own,
        tap=tap,
        pid=0,
        pid_start="",
        ready=False,
        stopped=False,
        base=(),
        final=(),
    )
    given = qemu.Resources(
        image=specs.image_folder(spec, root),
        address=placement.address,
        gateway=placement.gateway,
        netmask=placement.netmask,
        mac=mac,
        tap=tap,
        vf=vf_address,
        vhost=(root / "dev/vhost-net").exists(),
        console_log=Path(record.console),
        console_socket=console_socket(spec.name, root),
        qmp_socket=_qmp_socket(spec.name, root),
    )
    records.save(record, root)
    return record, given


def _free_vf(root: Path) -> tuple[sriov.VirtualFunction, str]:
    """A VF no guest has, and its PF's netdev."""
    device = sriov.find_pf(sriov.read_config(root).pf, root)
    used = vfs_in_use(root)
    pf = next(pf for pf in sriov.physical_functions(root, guests=used) if pf.address == device.name)
    for vf in pf.vfs:
        if vf.driver == "vfio-pci" and not vf.guest:
            return vf, pf.netdev
    owners = ", ".join(f"{vf.address}: {vf.guest or vf.driver or 'no driver'}" for vf in pf.vfs)
    raise AgentError(
        f"no free virtual function on {pf.netdev or pf.address} ({owners or 'it has none'})",
        where="guest spec: nic",
        fix="destroy a guest, or: systemctl restart nohype-sriov.service",
    )


def _start(spec: Spec, record: Record, given: qemu.Resources, root: Path) -> dict[str, object]:
    folder = log_folder(spec.name, root)
    messages = folder / "qemu.log"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755, parents=True)
    if record.tap:
        network.add_tap(record.tap)
    aside = own_cores(spec.cpus, root) if spec.cpus else ()
    run(qemu.unit_argv(record.unit, qemu.argv(spec, given), messages=messages, cpus=aside))
    pid = int(run(["systemctl", "show", "--property=MainPID", "--value", record.unit]).strip() or "0")
    try:
        with _connect(given.qmp_socket, pid, root) as qmp:
            record = record._replace(pid=pid, pid_start=records.process_start(pid, root))
            record = record._replace(vcpu_threads=qmp.vcpu_threads())
            _pin(record)
            record = record._replace(base=_earlier_counts(record, root), started_at=time.time(), ready=True)
            records.save(record, root)
            qmp.execute("cont")
    except (AgentError, OSError) as error:
        said = " | ".join(text(messages).splitlines()[-3:]) or str(error)
        raise AgentError(f"QEMU did not start the guest: {said}", where=record.unit, fix=f"see {messages}") from None
    return record.document(running=True)


def _connect(path: Path, pid: int, root: Path) -> Qmp:
    """QEMU's QMP socket as soon as it listens. Raises AgentError when QEMU ends first."""
    connections: list[Qmp] = []

    def listens() -> bool:
        try:
            connections.append(Qmp(path, seconds=START_SECONDS))
        except (FileNotFoundError, ConnectionRefusedError):
            return not records.process_start(pid, root)
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


def _stop(record: Record, root: Path) -> Record:
    """End the guest if it runs, keep its final counts, free what it held."""
    if record.stopped:
        return record
    _clear(record, root)
    record = record._replace(final=counters.rows_of(record, counters.read(root)), stopped=True)
    records.save(record, root)
    return record


def _clear(record: Record, root: Path) -> None:
    """Stop the unit and remove tap and sockets; each whether or not it exists."""
    run(["systemctl", "stop", record.unit], check=False)
    if record.pid and records.is_running(record, root):
        raise AgentError("QEMU does not end", where=f"{record.unit}, process {record.pid}", fix="reboot the host")
    if record.tap:
        network.delete_tap(record.tap, root)
    for path in (_qmp_socket(record.name, root), console_socket(record.name, root)):
        path.unlink(missing_ok=True)


def _drop_old_logs(known: list[Record], root: Path) -> None:
    """Logs of earlier boots' guests go when a new guest comes; those of this boot stay."""
    names = {record.name for record in known}
    for folder in (root / "var/lib/nohype/guests").glob("*"):
        if folder.name not in names:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)
