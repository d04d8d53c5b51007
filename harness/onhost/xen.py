"""Guests of Xen: domains made by xl(1), each held by a systemd unit whose main process is the xl that watches it."""

from __future__ import annotations

import json
import re
from pathlib import Path

from . import network, qemu, records, units, xen_info
from .errors import AgentError
from .qemu import Resources
from .records import Record
from .spec import Spec
from .system import ROOT, run, text
from .wait import until

# Where the role xen has xenconsoled write what guests print.
CONSOLES = "var/log/xen/console"
START_SECONDS = 120.0
# What the device model and the hypervisor's own tables take beside a guest's memory, MiB; xl asks for a few more.
_OVERHEAD_MIB = 32
_MADE = re.compile(r"Waiting for domain \S+ \(domid (\d+)\) to die")


def check_resources(spec: Spec, root: Path = ROOT) -> None:  # noqa: ARG001 - Xen is asked, whatever the root
    """Raises AgentError where Xen has no room for the guest."""
    free = xen_info.info().free_mib - _OVERHEAD_MIB
    if free < spec.memory_mib:
        raise AgentError(
            f"{spec.memory_mib} MiB wanted, Xen has {max(free, 0)} MiB free",
            where="guest spec: memory_mib",
            fix="destroy guests, ask for less, or give the control domain less (nohype_dom0_memory_mib)",
        )


def domain_config(spec: Spec, given: Resources, disk: Path) -> str:
    """The guest as xl.cfg(5) has it."""
    settings: dict[str, object] = {
        "name": spec.name,
        "type": spec.kind,
        "vcpus": spec.vcpus,
        "memory": spec.memory_mib,
        "kernel": str(given.kernel),
        "ramdisk": f"{given.image}/initrd.img",
        "cmdline": qemu.kernel_cmdline(spec, given),
        # Where the CPU promises an invariant TSC that is what guests get anyhow. Emulated CPUs do not promise it, and
        # guests would leave for Xen at each look at the clock.
        "tsc_mode": "native",
        "disk": [f"format=qcow2,vdev=xvda,access=rw,target={disk}"],
        "on_poweroff": "destroy",
        "on_reboot": "destroy",
        "on_crash": "destroy",
    }
    if given.vf:
        settings["pci"] = [given.vf]
    else:
        settings["vif"] = [f"mac={given.mac},bridge={network.BRIDGE}"]
    if spec.cpus:
        settings["cpus"] = [str(cpu) for cpu in spec.cpus]
    if spec.kind == "hvm":
        settings |= {"vga": "none", "usb": 0, "sdl": 0, "vnc": 0}
    return "".join(f"{key} = {json.dumps(value)}\n" for key, value in settings.items())


def console_log(name: str, root: Path = ROOT) -> Path:
    return root / CONSOLES / f"guest-{name}.log"


def disk(name: str, root: Path = ROOT) -> Path:
    """What a guest writes, over the image's disk."""
    return records.log_folder(name, root) / "disk.qcow2"


def launch(spec: Spec, record: Record, given: Resources, messages: Path, root: Path = ROOT) -> Record:
    """Make the domain, paused. Raises AgentError with what xl said."""
    written = disk(spec.name, root)
    image = ("-b", f"{given.image}/rootfs.qcow2", "-F", "qcow2")
    run(["qemu-img", "create", "-q", "-f", "qcow2", *image, str(written)])
    config = messages.with_name("domain.cfg")
    config.write_text(domain_config(spec, given, written), encoding="ascii")
    record = units.start(_unit_argv(record.unit, spec.name, config, messages), record, root)
    until(
        lambda: bool(_MADE.search(text(messages))) or not records.is_running(record, root),
        seconds=START_SECONDS,
        what="the domain's making",
        where=record.unit,
    )
    made = _MADE.search(text(messages))
    if not made:
        raise AgentError("xl ended")
    return record._replace(domain=int(made[1]))


def resume(record: Record, root: Path = ROOT) -> None:  # noqa: ARG001 - Xen is asked, whatever the root
    """Let the paused domain run."""
    run(["xl", "unpause", record.name])


def clear(record: Record, root: Path = ROOT) -> None:
    """Remove what the domain leaves. Its unit has been stopped. Raises AgentError where Xen still has it."""
    if record.domain and run(["xl", "domname", str(record.domain)], check=False).strip() == record.name:
        raise AgentError("the domain does not end", where=f"domain {record.domain}", fix="reboot the host")
    disk(record.name, root).unlink(missing_ok=True)


def _unit_argv(unit: str, name: str, config: Path, messages: Path) -> list[str]:
    """Makes the domain paused (-p) and stays with it (-F). The domain ends with its unit, always."""
    properties = (
        *("Type=exec", "TimeoutStopSec=30", f"ExecStop=xl destroy {name}", f"ExecStopPost=-xl destroy {name}"),
        *(f"Standard{stream}=append:{messages}" for stream in ("Output", "Error")),
    )
    return units.argv(unit, properties, ("xl", "create", "-p", "-F", str(config)))
