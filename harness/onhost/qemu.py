"""QEMU's command line for a guest, and that of the systemd unit that holds it. Text in, text out."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from . import units
from .spec import Spec

PROGRAM = "qemu-system-x86_64"


class Resources(NamedTuple):
    """What the host gave to one guest."""

    image: Path  # folder of the guest image
    kernel: Path
    address: str
    gateway: str
    netmask: str
    mac: str
    tap: str  # "" with a VF
    vf: str  # PCI address, "" with virtio
    vhost: bool
    console_log: Path
    console_socket: Path
    qmp_socket: Path


def kernel_cmdline(spec: Spec, given: Resources) -> str:
    """A panic ends the guest at once (`panic=-1` with QEMU's -no-reboot), so that nobody waits for a dead one."""
    network = f"ip={given.address}::{given.gateway}:{given.netmask}:{spec.name}:eth0:none"
    console, disk = ("hvc0", "/dev/xvda") if spec.on_xen else ("ttyS0", "/dev/vda")
    base = f"console={console} net.ifnames=0 {network} panic=-1 quiet {spec.extra_cmdline}".rstrip()
    return base if spec.disengage else f"root={disk} rw {base}"


def argv(spec: Spec, given: Resources) -> list[str]:
    """The guest begins stopped (-S): its threads are placed before the first instruction runs."""
    machine = "q35,hpet=off"
    memory: list[str] = []
    if spec.hugepages:
        machine += ",memory-backend=ram"
        backend = f"memory-backend-file,id=ram,size={spec.memory_mib}M,mem-path=/dev/hugepages,share=on,prealloc=on"
        memory = ["-object", backend]
    if spec.nic == "vf":
        nic = ["-device", f"vfio-pci,host={given.vf},id=net0"]
    else:
        vhost = "on" if given.vhost else "off"
        nic = [
            *("-netdev", f"tap,id=net0,ifname={given.tap},script=no,downscript=no,vhost={vhost}"),
            *("-device", f"virtio-net-pci,netdev=net0,mac={given.mac},romfile="),
        ]
    if spec.disengage:  # no device but the network card: the others need a hypervisor. Its root is in its memory.
        initrd = "initrd-ram.img"
        devices = nic
    else:
        initrd = "initrd.img"
        # snapshot=on: writes go to a file QEMU has already unlinked, gone with the process however it ends.
        disk = f"if=none,id=root,file={given.image}/rootfs.qcow2,format=qcow2,snapshot=on,cache=unsafe"
        devices = [
            *("-drive", disk),
            *("-device", "virtio-blk-pci,drive=root"),
            *nic,
            *("-object", "rng-random,id=rng,filename=/dev/urandom"),
            *("-device", "virtio-rng-pci,rng=rng"),
        ]
    console = f"socket,id=console,path={given.console_socket},server=on,wait=off,logfile={given.console_log}"
    return [
        PROGRAM,
        *("-name", f"guest={spec.name},debug-threads=on"),
        *("-nodefaults", "-no-user-config", "-no-reboot", "-S"),
        *("-display", "none"),
        *("-accel", "kvm"),
        *("-machine", machine),
        *("-cpu", f"host{spec.cpu_flags}"),
        *("-smp", str(spec.vcpus)),
        *("-m", f"{spec.memory_mib}M"),
        *memory,
        *(("-overcommit", "cpu-pm=on") if spec.idle_in_guest else ()),
        *("-kernel", str(given.kernel)),
        *("-initrd", f"{given.image}/{initrd}"),
        *("-append", kernel_cmdline(spec, given)),
        *devices,
        *("-chardev", console),
        *("-serial", "chardev:console"),
        *("-qmp", f"unix:{given.qmp_socket},server=on,wait=off"),
    ]


def unit_argv(unit: str, command: list[str], *, messages: Path, cpus: tuple[int, ...]) -> list[str]:
    """`systemd-run` that starts the command as a transient unit.

    `cpus` is where QEMU's own threads may run (empty: anywhere). VFIO pins the guest's memory, hence no memlock limit.
    """
    affinity = [f"CPUAffinity={','.join(map(str, cpus))}"] if cpus else []
    properties = ("Type=exec", "LimitMEMLOCK=infinity", "TimeoutStopSec=15", f"StandardError=append:{messages}")
    return units.argv(unit, (*properties, *affinity), command)
