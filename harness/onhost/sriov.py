"""SR-IOV: what physical and virtual functions there are, and setting them up for guests."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from . import network
from .errors import AgentError
from .system import ROOT, link_name, number, on_xen, run, text, write

CONFIG = "etc/nohype/sriov.json"
_MAC = re.compile(r"([0-9a-f]{2}:){5}[0-9a-f]{2}")


def guest_driver(root: Path = ROOT) -> str:
    """The host's driver of VFs that guests may have."""
    return "pciback" if on_xen(root) else "vfio-pci"


class VirtualFunction(NamedTuple):
    """One VF; `document()` has the keys of harness.hosts.model.VirtualFunction."""

    address: str
    number: int
    driver: str
    iommu_group: int | None
    mac: str
    guest: str

    def document(self) -> dict[str, object]:
        return {("index" if key == "number" else key): value for key, value in self._asdict().items()}


class PhysicalFunction(NamedTuple):
    """One PF; `document()` has the keys of harness.hosts.model.PhysicalFunction."""

    address: str
    driver: str
    netdev: str
    firmware: str
    total_vfs: int
    vfs: tuple[VirtualFunction, ...]

    def document(self) -> dict[str, object]:
        return self._asdict() | {"vfs": [vf.document() for vf in self.vfs]}


class Asked(NamedTuple):
    """What only programs tell of a PF. `macs` by number of the VF."""

    firmware: str
    macs: Mapping[int, str]


class Config(NamedTuple):
    """/etc/nohype/sriov.json: {"pf": PCI address or netdev, "vfs": how many, "macs": [one each, or none at all]}."""

    pf: str
    vfs: int
    macs: tuple[str, ...]


class Action(NamedTuple):
    """One change: a program to run, or text to write to a file of sysfs."""

    what: str
    argv: tuple[str, ...] = ()
    path: Path = Path()
    value: str = ""

    def do(self) -> None:
        if self.argv:
            run(self.argv)
        else:
            write(self.path, self.value)


def ask_programs(netdev: str) -> Asked:
    """Firmware and VF addresses, by `ethtool` and `ip`."""
    return Asked(_firmware(netdev), vf_macs(netdev))


def ask_nothing(_netdev: str) -> Asked:
    """For those who look often and must not disturb guests by starting programs."""
    return Asked("", {})


def vf_macs(netdev: str) -> dict[int, str]:
    """MAC addresses of the virtual functions as their PF knows them, by index."""
    return macs_in(json.loads(run(["ip", "-json", "link", "show", "dev", netdev]) or "[]")) if netdev else {}


def macs_in(document: Any) -> dict[int, str]:
    """The same, from what `ip -json link show` printed. iproute2 calls the key `address`, older ones `mac`."""
    infos = [info for link in document for info in link.get("vfinfo_list", ())]
    return {int(info["vf"]): str(info.get("address") or info.get("mac") or "") for info in infos}


def physical_functions(
    root: Path = ROOT, *, guests: Mapping[str, str] | None = None, ask: Callable[[str], Asked] = ask_programs
) -> tuple[PhysicalFunction, ...]:
    """Every function that can have virtual ones. `guests` maps the PCI address of a VF in use to its guest's name."""
    found = []
    for path in sorted((root / "sys/bus/pci/devices").glob("*/sriov_totalvfs")):
        device = path.parent
        netdev = netdev_of(device)
        asked = ask(netdev)
        found.append(
            PhysicalFunction(
                address=device.name,
                driver=link_name(device / "driver"),
                netdev=netdev,
                firmware=asked.firmware,
                total_vfs=number(path),
                vfs=_vfs(device, guests or {}, asked.macs),
            )
        )
    return tuple(found)


def read_config(root: Path = ROOT) -> Config:
    """Raises AgentError where the file is missing or wrong."""
    path = root / CONFIG
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise AgentError(
            "this host's SR-IOV is not configured",
            where=f"/{CONFIG}",
            fix="provision the host (role sriov writes the file)",
        ) from None
    except ValueError as error:
        raise AgentError(f"not valid JSON: {error}", where=f"/{CONFIG}") from None
    if (
        not isinstance(document, dict)
        or not isinstance(document.get("pf"), str)
        or not isinstance(document.get("vfs"), int)
    ):
        raise AgentError('must hold {"pf": PCI address or netdev, "vfs": number}', where=f"/{CONFIG}")
    macs = tuple(document.get("macs") or ())
    if macs and (len(macs) != document["vfs"] or any(not _MAC.fullmatch(str(mac)) for mac in macs)):
        raise AgentError('"macs" must hold one lower-case MAC address for each VF, or nothing', where=f"/{CONFIG}")
    if macs and any(int(mac[:2], 16) & 1 for mac in macs):
        raise AgentError('"macs" holds a multicast address (first byte is odd)', where=f"/{CONFIG}")
    return Config(document["pf"], document["vfs"], macs)


def find_pf(name: str, root: Path = ROOT) -> Path:
    """The sysfs folder of the PF given as netdev or PCI address. Raises AgentError listing what there is."""
    for path in (root / "sys/class/net" / name / "device", root / "sys/bus/pci/devices" / name):
        if path.exists():
            device = path.resolve()
            if (device / "sriov_totalvfs").exists():
                return device
            raise AgentError(
                f"{name!r} ({device.name}) is no SR-IOV physical function",
                where=f"/{CONFIG}",
                fix="switch SR-IOV on in the firmware's setup, or name another PF in nohype_data_pf",
            )
    there = [f"{pf.netdev or '?'} ({pf.address})" for pf in physical_functions(root, ask=ask_nothing)]
    raise AgentError(
        f"no network device or PCI function {name!r}; SR-IOV functions here: {', '.join(there) or 'none'}",
        where=f"/{CONFIG}",
        fix="set nohype_data_pf in the inventory and provision the host again",
    )


def plan_creation(config: Config, root: Path = ROOT, *, used: Mapping[str, str] | None = None) -> list[Action]:
    """What is to be done until the right number of VFs exists. `used`: VFs that guests have (see physical_functions).

    The PF is brought up first: while it is down a VF's driver waits in vain for its mailbox.
    """
    device = find_pf(config.pf, root)
    netdev = netdev_of(device)
    total = number(device / "sriov_totalvfs")
    if not 1 <= config.vfs <= total:
        raise AgentError(f"{config.vfs} VFs wanted; {device.name} can have 1 to {total}", where=f"/{CONFIG}")
    actions = []
    if netdev and not number_hex(device / "net" / netdev / "flags") & 1:  # IFF_UP
        actions.append(Action(f"bring {netdev} up", argv=("ip", "link", "set", "dev", netdev, "up")))
    driver = guest_driver(root)
    if not (root / "sys/bus/pci/drivers" / driver).is_dir():
        module = "xen-pciback" if driver == "pciback" else driver
        actions.append(Action(f"load {module}", argv=("modprobe", module)))
    now = number(device / "sriov_numvfs")
    if now != config.vfs:
        busy = [vf for vf in _vfs(device, used or {}, {}) if vf.guest]
        if busy:
            raise AgentError(
                f"the number of VFs cannot change from {now} to {config.vfs} while guest {busy[0].guest!r} has one",
                where=device.name,
                fix="nohype-host guest destroy --all",
            )
        if text(device / "sriov_drivers_autoprobe", "0") != "0":
            # Otherwise the host's own VF driver takes each VF for a moment, and udev renames it meanwhile.
            actions.append(Action("keep VF drivers off", path=device / "sriov_drivers_autoprobe", value="0"))
        if now:
            actions.append(Action(f"remove {now} VFs", path=device / "sriov_numvfs", value="0"))
        actions.append(Action(f"create {config.vfs} VFs", path=device / "sriov_numvfs", value=str(config.vfs)))
    return actions


def plan_binding(config: Config, root: Path = ROOT, *, macs: Mapping[int, str]) -> list[Action]:
    """What is to be done until every VF has its MAC address (`macs`: those they have) and the driver for guests."""
    device = find_pf(config.pf, root)
    netdev = netdev_of(device)
    pf_mac = text(device / "net" / netdev / "address")
    driver = guest_driver(root)
    actions = []
    for vf in _vfs(device, {}, macs):
        wanted = config.macs[vf.number] if config.macs else network.mac(pf_mac, str(vf.number))
        if vf.mac != wanted:
            argv = ("ip", "link", "set", "dev", netdev, "vf", str(vf.number), "mac", wanted)
            actions.append(Action(f"VF {vf.number}: MAC address {wanted}", argv=argv))
        actions += _rebinding(f"VF {vf.number}: ", vf.address, driver, root)
    return actions


def bind(address: str, driver: str, root: Path = ROOT) -> None:
    """Give a VF to a driver, which has been loaded. Raises AgentError where that does not take it."""
    for action in _rebinding("", address, driver, root):
        action.do()
    if link_name(root / "sys/bus/pci/devices" / address / "driver") != driver:
        raise AgentError(f"driver {driver} does not take it", where=address, fix="see dmesg")


def _rebinding(title: str, address: str, driver: str, root: Path) -> list[Action]:
    """What is to be done until a VF belongs to `driver`."""
    folder = root / "sys/bus/pci/devices" / address
    now = link_name(folder / "driver")
    if now == driver:
        return []
    unbind = [Action(f"{title}unbind {now}", path=folder / "driver/unbind", value=address)] if now else []
    return [
        Action(f"{title}for {driver}", path=folder / "driver_override", value=driver),
        *unbind,
        Action(f"{title}bind {address}", path=root / "sys/bus/pci/drivers_probe", value=address),
    ]


def setup(root: Path = ROOT, *, used: Mapping[str, str] | None = None) -> dict[str, object]:
    """Make the VFs of /etc/nohype/sriov.json ready for guests; changes nothing where they are.

    Prints what was done: {"changed": bool, "actions": [...], "vfs": [...]}.
    """
    config = read_config(root)
    done = []
    for action in plan_creation(config, root, used=used):
        action.do()
        done.append(action.what)
    device = find_pf(config.pf, root)
    netdev = netdev_of(device)
    for action in plan_binding(config, root, macs=vf_macs(netdev)):
        action.do()
        done.append(action.what)
    vfs = _vfs(device, used or {}, vf_macs(netdev))
    driver = guest_driver(root)
    unbound = [vf.address for vf in vfs if vf.driver != driver]
    if unbound or len(vfs) != config.vfs:
        raise AgentError(
            f"{len(vfs)} of {config.vfs} VFs exist, not bound to {driver}: {', '.join(unbound) or 'none'}",
            where=device.name,
            fix="is the IOMMU on in the firmware's setup, and with intel_iommu=on? see dmesg",
        )
    return {"changed": bool(done), "actions": done, "vfs": [vf.document() for vf in vfs]}


def number_hex(path: Path) -> int:
    """The hexadecimal number in the file, 0 where there is none."""
    return int(text(path, "0") or "0", 16)


def netdev_of(device: Path) -> str:
    """The function's network device; "" where it has none."""
    return next((path.name for path in sorted((device / "net").glob("*"))), "")


def _vfs(device: Path, guests: Mapping[str, str], macs: Mapping[int, str]) -> tuple[VirtualFunction, ...]:
    found = []
    for link in device.glob("virtfn*"):
        folder = link.resolve()
        index = int(link.name.removeprefix("virtfn"))
        group = link_name(folder / "iommu_group")
        found.append(
            VirtualFunction(
                address=folder.name,
                number=index,
                driver=link_name(folder / "driver"),
                iommu_group=int(group) if group else None,
                mac=macs.get(index, ""),
                guest=guests.get(folder.name, ""),
            )
        )
    return tuple(sorted(found, key=lambda vf: vf.number))


def _firmware(netdev: str) -> str:
    """The NIC's firmware version as `ethtool -i` says; "" where it does not."""
    if not netdev:
        return ""
    for line in run(["ethtool", "-i", netdev], check=False).splitlines():
        key, _, value = line.partition(":")
        if key == "firmware-version":
            return value.strip()
    return ""
