"""Guests of this host: create, list, destroy."""

from __future__ import annotations

import contextlib
import difflib
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from . import bare, counters, kvm, network, nohype, qemu, records, sriov, xen
from . import spec as specs
from .errors import AgentError
from .records import Record
from .spec import Spec
from .system import ROOT, lost_cpus, online_cpus, run, text
from .wait import until


class Machine(Protocol):
    """What holds guests of a kind: a module."""

    def check_resources(self, spec: Spec, root: Path) -> None:
        """Raises AgentError where the host cannot hold the guest; cores are looked at already."""

    def console_log(self, name: str, root: Path) -> Path:
        """Where the guest's console goes."""

    def launch(self, spec: Spec, record: Record, given: qemu.Resources, messages: Path, root: Path) -> Record:
        """Make the guest, ready to run; the record with its process. Raises AgentError."""

    def resume(self, record: Record, root: Path) -> None:
        """Let it run."""

    def clear(self, record: Record, root: Path) -> None:
        """Free what it held, also where its launch failed half-way. Its unit has been stopped. Raises AgentError."""


_MACHINES: Mapping[str, Machine] = {"kvm": kvm, "bare": bare, "hvm": xen, "pvh": xen}
RECLAIM_SECONDS = 30.0  # until Linux has a guest's cores back: 30 ms each where it was measured, on an emulated host


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
    known = [nohype.refreshed(record, root) for record in records.load_all(root) if record.ready]
    return [record.document(running=records.is_running(record, root)) for record in known]


def destroy(name: str, root: Path = ROOT) -> list[dict[str, object]]:
    """Stop a guest; its record stays for its exits. Doing it again changes nothing."""
    with records.lock(root):
        return [_stop(_known(name, root), root).document(running=False)]


def kill(name: str, root: Path = ROOT) -> dict[str, object]:
    """End a guest that has no hypervisor, by NMI; its QEMU stays and tells of its end until it is destroyed."""
    with records.lock(root):
        record = _known(name, root)
        if record.stopped or not record.may_disengage:
            what = "has ended" if record.stopped else f"is one of stack {record.stack}, whose hypervisor is there"
            raise AgentError(
                f"guest {name!r} {what}: there is nothing to kill",
                where="nohype-host guest kill",
                fix=f"nohype-host guest destroy {name}",
            )
        record = nohype.kill(record, root)
        records.save(record, root)
        return record.document(running=True)


def destroy_all(root: Path = ROOT) -> list[dict[str, object]]:
    """Stop every running guest and return those."""
    with records.lock(root):
        return [_stop(r, root).document(running=False) for r in settle(root) if not r.stopped]


def settle(root: Path = ROOT) -> list[Record]:
    """Clear away after guests that ended by themselves and after killed `guest create`s. Needs the lock.

    Of those that run, what the kernel says is kept: when their QEMU has ended, nobody can tell any more.
    """
    kept = []
    for record in records.load_all(root):
        if not record.ready:
            _clear(record, root)
            records.forget(record, root)
        elif not record.stopped and not records.is_running(record, root):
            kept.append(_stop(record, root))
        else:
            fresh = nohype.refreshed(record, root)
            if fresh != record:
                records.save(fresh, root)
            kept.append(fresh)
    return kept


def vfs_in_use(root: Path = ROOT) -> dict[str, str]:
    """PCI address of each VF a guest has -> the guest's name.

    A guest with a core that is lost may still run there, and keeps its VF as it keeps its memory.
    """
    return {r.vf: r.name for r in records.load_all(root) if r.vf and (not r.ready or _holds_vf(r, root))}


def _holds_vf(record: Record, root: Path) -> bool:
    return records.is_running(record, root) or bool(record.engagement.lost)


def check_resources(spec: Spec, running: list[Record], root: Path = ROOT) -> None:
    """Raises AgentError where the host cannot hold the guest beside the running ones."""
    owners = {cpu: record.name for record in running for cpu in record.cpus}
    taken = [f"{cpu} (guest {owners[cpu]})" for cpu in spec.cpus if cpu in owners]
    if taken:
        raise AgentError(f"cores already pinned: {', '.join(taken)}", where="guest spec: cpus", fix="name free cores")
    _MACHINES[spec.kind].check_resources(spec, root)


def free_number(running: list[Record]) -> int:
    """The lowest number no running guest has."""
    used = {record.number for record in running}
    return next(number for number in range(len(used) + 1) if number not in used)


def _allocate(spec: Spec, running: list[Record], root: Path) -> tuple[Record, qemu.Resources]:
    """Choose address, MAC and VF or tap, and write the record that holds them."""
    own = free_number(running)
    if spec.nic == "vf":
        vf, netdev = _free_vf(root)
        placement = network.place(network.own_address(netdev, root), own)
        mac, vf_address, tap = vf.mac, vf.address, ""
    else:
        placement = network.place(network.own_address(network.BRIDGE, root), own)
        # Xen's own scripts make the interface of a domain.
        mac, vf_address, tap = network.guest_mac(spec.name, root), "", "" if spec.on_xen else f"nhtap{own}"
    record = Record(
        name=spec.name,
        stack=spec.stack,
        kind=spec.kind,
        address=placement.address,
        mac=mac,
        vf=vf_address,
        image=spec.image,
        vcpus=spec.vcpus,
        vcpu_threads=(),
        domain=0,
        cpus=spec.cpus,
        memory_mib=spec.memory_mib,
        started_at=0.0,
        unit=f"nohype-guest-{spec.name}.service",
        console=str(_MACHINES[spec.kind].console_log(spec.name, root)),
        number=own,
        tap=tap,
        pid=0,
        pid_start="",
        ready=False,
        stopped=False,
        base=(),
        final=(),
        engagement=records.Engagement(),
        stub=(),
        ending=False,
        icr=spec.icr,
        disengage_seconds=spec.disengage_seconds,
    )
    given = qemu.Resources(
        image=specs.image_folder(spec, root),
        kernel=specs.kernel(spec, root),
        address=placement.address,
        gateway=placement.gateway,
        netmask=placement.netmask,
        mac=mac,
        tap=tap,
        vf=vf_address,
        vhost=(root / "dev/vhost-net").exists(),
        console_log=Path(record.console),
        console_socket=kvm.console_socket(spec.name, root),
        qmp_socket=kvm.qmp_socket(spec.name, root),
    )
    records.save(record, root)
    return record, given


def _free_vf(root: Path) -> tuple[sriov.VirtualFunction, str]:
    """A VF no guest has, and its PF's netdev."""
    device = sriov.find_pf(sriov.read_config(root).pf, root)
    used = vfs_in_use(root)
    pf = next(pf for pf in sriov.physical_functions(root, guests=used) if pf.address == device.name)
    driver = sriov.guest_driver(root)
    for vf in pf.vfs:
        if vf.driver == driver and not vf.guest:
            return vf, pf.netdev
    owners = ", ".join(f"{vf.address}: {vf.guest or vf.driver or 'no driver'}" for vf in pf.vfs)
    raise AgentError(
        f"no free virtual function on {pf.netdev or pf.address} ({owners or 'it has none'})",
        where="guest spec: nic",
        fix="destroy a guest, or: systemctl restart nohype-sriov.service",
    )


def _start(spec: Spec, record: Record, given: qemu.Resources, root: Path) -> dict[str, object]:
    machine = _MACHINES[spec.kind]
    folder = records.log_folder(spec.name, root)
    messages = folder / records.MESSAGES
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o755, parents=True)
    try:
        record = machine.launch(spec, record, given, messages, root)._replace(started_at=time.time(), ready=True)
        records.save(record, root)
        machine.resume(record, root)
    except nohype.RefusedError:
        raise
    except (AgentError, OSError) as error:
        said = " | ".join(text(messages).splitlines()[-3:]) or str(error)
        raise AgentError(f"the guest did not start: {said}", where=record.unit, fix=f"see {messages}") from None
    return record.document(running=True)


def _known(name: str, root: Path) -> Record:
    found = {record.name: record for record in settle(root)}
    if name in found:
        return found[name]
    near = difflib.get_close_matches(name, found, n=1, cutoff=0.5)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise AgentError(f"no guest {name!r} since this host booted{hint}", fix="see: nohype-host guest list")


def _stop(record: Record, root: Path) -> Record:
    """End the guest if it runs, keep its final counts, free what it held."""
    if record.stopped:
        return record
    record = record._replace(ending=True)
    records.save(record, root)
    _clear(record, root)
    gone = lost_cpus(root) if record.may_disengage else ()
    lost = tuple(cpu for cpu in record.cpus if cpu in gone)
    record = record._replace(engagement=record.engagement._replace(lost=lost))
    record = record._replace(final=counters.rows_of(record, counters.read(root)), stopped=True)
    records.save(record, root)
    return record


def _clear(record: Record, root: Path) -> None:
    """Stop the unit and free what it held; each whether or not it exists."""
    run(["systemctl", "stop", record.unit], check=False)
    if record.pid and records.is_running(record, root):
        raise AgentError(
            "the guest's process does not end", where=f"{record.unit}, process {record.pid}", fix="reboot the host"
        )
    _MACHINES[record.kind].clear(record, root)
    if record.may_disengage:
        _await_cores(record, root)


def _await_cores(record: Record, root: Path) -> None:
    """Until Linux has the guest's cores again. Those that are lost do not come back; the guest's end tells of them."""
    until(
        lambda: set(record.cpus) <= {*online_cpus(root), *lost_cpus(root)},
        seconds=RECLAIM_SECONDS,
        what=f"the return of cores {', '.join(map(str, record.cpus))} of guest {record.name} to the host",
        where="/sys/devices/system/cpu/online",
        fix="echo 1 > /sys/devices/system/cpu/cpuN/online for each that is missing, or reboot the host",
    )


def _drop_old_logs(known: list[Record], root: Path) -> None:
    """Logs of earlier boots' guests go when a new guest comes; those of this boot stay."""
    names = {record.name for record in known}
    for folder in records.log_folder("", root).glob("*"):
        if folder.name not in names:
            with contextlib.suppress(OSError):
                shutil.rmtree(folder)
