"""Guests of stack bare: no machine at all, but the guest image's programs on the host's own kernel.

They get what a guest would get, a core, as much memory and a virtual function, in namespaces of their own: what a
workload does there is what it could do at best.
"""

from __future__ import annotations

import ipaddress
from pathlib import Path

from . import records, sriov, units
from .errors import AgentError
from .qemu import Resources
from .records import Record
from .spec import Spec
from .system import ROOT, run, text
from .wait import until

_START_SECONDS = 60.0
# What sshd and the workloads write to. The rest of the image is read-only, so that each guest finds it as it was.
# RuntimeDirectory=sshd would be the host's own, and gone for the host's sshd with the unit.
_SCRATCH = ("/run", "/run/sshd:mode=0755", "/tmp", "/var/tmp")  # noqa: S108 - they are empty and its own


def check_resources(spec: Spec, root: Path = ROOT) -> None:
    """Nothing: what it gets besides core and virtual function is a limit, and set aside for nobody."""


def console_log(name: str, root: Path = ROOT) -> Path:
    """There is no console; this is what sshd says."""
    return records.log_folder(name, root) / records.MESSAGES


def launch(spec: Spec, record: Record, given: Resources, messages: Path, root: Path = ROOT) -> Record:
    """Start the image's sshd with the guest's network function, core and memory. Raises AgentError."""
    image = _raw_image(given.image)
    _add_network(spec.name, given, root)
    return units.start(_unit_argv(record.unit, spec, image, messages), record, root)


def resume(record: Record, root: Path = ROOT) -> None:
    """Nothing: its programs run since the launch."""


def clear(record: Record, root: Path = ROOT) -> None:
    """Give the virtual function back. The unit has been stopped."""
    # The driver goes first: with it goes the network device, wherever it is.
    sriov.bind(record.vf, sriov.guest_driver(root), root)
    run(["ip", "netns", "delete", record.name], check=False)


def _raw_image(folder: Path) -> Path:
    """The image's disk as the kernel can mount it; made once for each image."""
    raw = folder / "rootfs.raw"
    if not raw.exists():
        draft = folder / "rootfs.raw.new"
        run(["qemu-img", "convert", "-O", "raw", str(folder / "rootfs.qcow2"), str(draft)], seconds=300)
        draft.replace(raw)
    return raw


def _add_network(name: str, given: Resources, root: Path) -> None:
    """A network namespace whose only device is the virtual function, called eth0 as in guests."""
    device = root / "sys/bus/pci/devices" / given.vf
    driver = run(["modprobe", "--resolve-alias", text(device / "modalias")]).strip()
    if not driver:
        raise AgentError(
            "the kernel has no driver for the virtual function", where=given.vf, fix="install the driver's module"
        )
    run(["modprobe", driver])
    sriov.bind(given.vf, driver, root)
    until(
        lambda: bool(sriov.netdev_of(device)),
        seconds=_START_SECONDS,
        what="the function's network device",
        where=given.vf,
    )
    run(["udevadm", "settle"])  # udev may be about to rename it
    run(["ip", "netns", "add", name])
    run(["ip", "link", "set", "dev", sriov.netdev_of(device), "netns", name, "name", "eth0"])
    address = ipaddress.IPv4Interface(f"{given.address}/{given.netmask}")
    inside = ("ip", "-netns", name)
    run([*inside, "link", "set", "dev", "lo", "up"])
    run([*inside, "address", "add", address.with_prefixlen, "dev", "eth0"])
    run([*inside, "link", "set", "dev", "eth0", "up"])


def _unit_argv(unit: str, spec: Spec, image: Path, messages: Path) -> list[str]:
    properties = (
        *("Type=exec", f"RootImage={image}", "RootImageOptions=ro", "MountAPIVFS=yes"),
        *(f"TemporaryFileSystem={folder}" for folder in _SCRATCH),
        *(f"NetworkNamespacePath=/run/netns/{spec.name}", "PrivateIPC=yes", "ProtectHostname=yes"),
        *(f"AllowedCPUs={','.join(map(str, spec.cpus))}", f"MemoryMax={spec.memory_mib}M", "MemorySwapMax=0"),
        *(f"StandardError=append:{messages}", "TimeoutStopSec=15"),
    )
    return units.argv(unit, properties, ("/usr/sbin/sshd", "-D", "-e"))
