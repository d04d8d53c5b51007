"""Bring the emulated rack up and down; power, state and snapshots of its hosts."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from harness.config import nearest
from harness.errors import HarnessError, InputError, UnavailableError
from harness.guests.build import build as build_guest_image
from harness.rack import processes
from harness.rack.bmc import EMULATION, ipmi_sim_argv, lan_conf, password_file
from harness.rack.bmc import USER as BMC_USER
from harness.rack.description import RackDescription, load_rack
from harness.rack.image import build as build_host_image
from harness.rack.inventory import write_inventory
from harness.rack.layout import Slot, rack_dir
from harness.rack.machine import power_on_script, qemu_argv
from harness.steps import Step, silent
from harness.toolbox.cache import digest, locked
from harness.toolbox.keys import control_key
from harness.toolbox.process import require_root
from harness.toolbox.root import Toolbox, toolbox
from harness.wait import until

BOOT_SECONDS = 300  # a cold TCG boot takes 30 s on a quiet machine; a busy one may need many times that


@dataclass(frozen=True)
class HostState:
    """What `rack status` tells of one host."""

    name: str
    address: str
    bmc: str  # "running" | "stopped"
    power: str  # "on" | "off"
    ssh: bool
    console_log: Path


@dataclass(frozen=True)
class Rack:
    """A rack that has been described and laid out; its hosts may be on or off."""

    description: RackDescription
    slots: list[Slot]
    tools: Toolbox

    def slot(self, name: str) -> Slot:
        for slot in self.slots:
            if slot.name == name:
                return slot
        names = [slot.name for slot in self.slots]
        raise InputError(f"the rack has no host {name!r}{nearest(name, names)}", fix=f"hosts: {', '.join(names)}")


def current() -> Rack:
    """The rack that is up. Raises UnavailableError where there is none."""
    plan = rack_dir() / "rack.yml"
    if not plan.exists():
        raise UnavailableError("the emulated rack is not up", fix="nohype rack up")
    return _rack(load_rack(plan))


def _rack(description: RackDescription) -> Rack:
    return Rack(description, description.slots(), toolbox())


def build(step: Step = silent) -> Path:
    """The folder of the hosts' image; it, the guests' and the toolbox come from the cache or are built. Needs root."""
    require_root("the emulated rack")
    with step("toolbox: QEMU, ipmi_sim, Prometheus"):
        toolbox()
    return build_host_image(build_guest_image(step), step)


def up(rack_file: Path, step: Step = silent, *, replace: bool = False) -> Rack:
    """Build what is missing, start every BMC, switch every host on, wait until all answer SSH.

    Hosts that are up stay as they are; with `replace`, a rack of another description or image is taken down first.
    Raises UnavailableError without root, when another rack is up, or when a host does not boot within BOOT_SECONDS.
    """
    description = load_rack(rack_file)
    host_image = build(step)
    rack = _rack(description)
    home = rack_dir()
    if replace and _is_another(rack, host_image):
        with step("rack down: it was made from something else"):
            down()
    with locked(home / ".lock"):
        _lay_out(rack, rack_file, host_image)
        for slot in rack.slots:
            _start_bmc(rack, slot)
        started = [slot for slot in rack.slots if power_state(slot) == "off"]
        for slot in started:
            power_on(rack, slot)
    for slot in rack.slots:
        with step(f"{slot.name}: boot until SSH answers") if slot in started else silent(""):
            await_ssh(slot)
    return rack


def _lay_out(rack: Rack, rack_file: Path, host_image: Path) -> None:
    """Write every host's folder. What a laid-out rack was made from is kept, to notice a changed description."""
    home = rack_dir()
    if _is_another(rack, host_image):
        raise UnavailableError(
            "another rack is up (its description, its host image or its QEMU differs)",
            where=str(rack_file),
            fix="nohype rack down",
        )
    password = password_file(home).read_text(encoding="ascii").strip()
    described, qemu = rack.description, rack.tools.version("qemu-system-x86")
    for slot, host in zip(rack.slots, described.hosts, strict=True):
        slot.folder.mkdir(parents=True, exist_ok=True)
        (slot.folder / "bmc-state").mkdir(exist_ok=True)
        if not slot.disk.exists():
            backing = host_image / "disk.raw"
            rack.tools.run(
                ["qemu-img", "create", "-q", "-f", "qcow2", "-F", "raw", "-b", str(backing), str(slot.disk)],
                binds=[slot.folder, host_image],
            )
        script = slot.folder / "power-on"
        argv = qemu_argv(slot, host, deterministic=described.deterministic, iommu=described.iommu, qemu=qemu)
        script.write_text(power_on_script(slot, argv), encoding="utf-8")
        script.chmod(0o700)
        (slot.folder / "board.emu").write_text(EMULATION, encoding="ascii")
        conf = slot.folder / "lan.conf"
        conf.touch(mode=0o600)
        conf.write_text(lan_conf(slot, script, password), encoding="utf-8")
        (slot.folder / "image").write_text(str(host_image), encoding="utf-8")
    keys = json.loads((host_image / "manifest.json").read_text(encoding="utf-8"))["ssh_host_keys"]
    write_inventory(rack.description, rack.slots, control_key(), keys)
    if rack_file.resolve() != (home / "rack.yml").resolve():
        shutil.copyfile(rack_file, home / "rack.yml")
    _stamp().write_text(_made_of(rack, host_image), encoding="ascii")


def _stamp() -> Path:
    return rack_dir() / "made-of"


def _made_of(rack: Rack, host_image: Path) -> str:
    return digest([rack.description.model_dump(mode="json"), str(host_image), str(rack.tools.root)])


def _is_another(rack: Rack, host_image: Path) -> bool:
    """Whether the rack that is laid out was made from another description or image."""
    return _stamp().exists() and _stamp().read_text(encoding="ascii") != _made_of(rack, host_image)


def _start_bmc(rack: Rack, slot: Slot) -> None:
    if bmc_running(slot):
        return
    argv = rack.tools.command(ipmi_sim_argv(slot.folder), binds=disk_folders(slot))
    processes.start(argv, slot.folder / "bmc.pid", slot.folder / "bmc.log")


def disk_folders(slot: Slot) -> list[Path]:
    """What a program needs to see that opens the host's disk: its own part and the image behind it."""
    return [slot.folder, Path((slot.folder / "image").read_text(encoding="utf-8"))]


def bmc_running(slot: Slot) -> bool:
    return processes.running(slot.folder / "bmc.pid", str(slot.folder)) is not None


def power_state(slot: Slot) -> str:
    return "on" if processes.running(slot.qemu_pid_file, str(slot.folder)) is not None else "off"


def ipmi(rack: Rack, slot: Slot, *words: str) -> str:
    """One ipmitool command to the host's BMC over the LAN. The password travels in a file, not on a command line."""
    return rack.tools.run(ipmi_argv(slot, *words), binds=[rack_dir()], timeout=60)


def ipmi_argv(slot: Slot, *words: str) -> list[str]:
    """ipmitool's arguments for this host's BMC."""
    return [
        *("ipmitool", "-I", "lanplus", "-H", slot.bmc_address, "-U", BMC_USER, "-N", "2", "-R", "3"),
        *("-f", str(password_file(rack_dir())), *words),
    ]


def power_on(rack: Rack, slot: Slot) -> None:
    """Switch the host on through its BMC and wait until its machine runs."""

    def asked() -> bool:
        with contextlib.suppress(HarnessError):  # the BMC needs a moment after its own start
            ipmi(rack, slot, "chassis", "power", "on")
            return True
        return False

    until(asked, seconds=60, what="answer of the BMC", where=slot.name, fix=f"see {slot.folder / 'bmc.log'}")
    until(
        lambda: power_state(slot) == "on",
        seconds=30,
        what="power on",
        where=slot.name,
        fix=f"see {slot.folder / 'qemu.log'}",
    )


def power_off(rack: Rack, slot: Slot) -> None:
    """Switch the host off through its BMC, at once, as pulling the plug would."""
    ipmi(rack, slot, "chassis", "power", "off")
    until(lambda: power_state(slot) == "off", seconds=30, what="power off", where=slot.name)


def ssh_answers(slot: Slot, timeout: float = 1.0) -> bool:
    """Whether the host's sshd sends its banner (an open port is not enough: QEMU forwards it before the host boots)."""
    try:
        with socket.create_connection((slot.address, 22), timeout=timeout) as connection:
            connection.settimeout(timeout)
            return connection.recv(4) == b"SSH-"
    except OSError:
        return False


def await_ssh(slot: Slot, seconds: float = BOOT_SECONDS) -> None:
    """Raises DeadlineError naming the console log; at once when the machine is not running any more."""

    def answered() -> bool:
        if power_state(slot) == "off":
            raise UnavailableError("the machine ended", where=slot.name, fix=f"see {slot.folder / 'qemu.log'}")
        return ssh_answers(slot, timeout=5)

    until(answered, seconds=seconds, what="boot", where=slot.name, fix=f"see its console: {slot.console_log}")


def switched_on() -> frozenset[str]:
    """Names of the hosts whose machines run; empty when no rack is up."""
    plan = rack_dir() / "rack.yml"
    slots = load_rack(plan).slots() if plan.exists() else []
    return frozenset(slot.name for slot in slots if power_state(slot) == "on")


def status() -> list[HostState]:
    """State of every host; empty when no rack is up."""
    if not (rack_dir() / "rack.yml").exists():
        return []
    description = load_rack(rack_dir() / "rack.yml")
    states = []
    for slot in description.slots():
        power = power_state(slot)
        states.append(
            HostState(
                name=slot.name,
                address=slot.address,
                bmc="running" if bmc_running(slot) else "stopped",
                power=power,
                ssh=power == "on" and ssh_answers(slot, timeout=5),
                console_log=slot.console_log,
            )
        )
    return states


def down() -> bool:
    """Stop every process of the rack and delete its files (the cache stays). False when there was no rack.

    Needs nothing from the rack's own description, so that a half-made rack goes down as well.
    """
    home = rack_dir()
    if not home.exists():
        return False
    require_root("the emulated rack")
    with locked(home.parent / ".rack-down.lock"):
        for folder in _host_folders(home):
            processes.stop(folder / "bmc.pid", str(folder))  # first, or it would restart what ends
            processes.stop(folder / "qemu.pid", str(folder))
        shutil.rmtree(home)
    (home.parent / ".rack-down.lock").unlink(missing_ok=True)
    return True


def _host_folders(home: Path) -> Iterator[Path]:
    hosts = home / "hosts"
    if hosts.is_dir():
        yield from sorted(hosts.iterdir())
