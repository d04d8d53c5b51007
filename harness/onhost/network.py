"""Addresses and taps of guests. A guest's address is that of its host's own network with 10 + index at the end."""

from __future__ import annotations

import hashlib
import ipaddress
import json
from pathlib import Path
from typing import NamedTuple

from .errors import AgentError
from .system import ROOT, run, text

BRIDGE = "nohype0"
MAX_INDEX = 254 - 10


class Placement(NamedTuple):
    """Where a guest is on a network."""

    address: str
    gateway: str  # the host's own address there
    netmask: str


def own_address(netdev: str, root: Path = ROOT) -> ipaddress.IPv4Interface:
    """The host's IPv4 address on `netdev`. Raises AgentError when it has none."""
    if not (root / "sys/class/net" / netdev).exists():
        raise AgentError(f"network device {netdev!r} does not exist", fix="provision the host (roles kvm and sriov)")
    found = address_in(json.loads(run(["ip", "-json", "-4", "address", "show", "dev", netdev]) or "[]"))
    if found is None:
        raise AgentError(
            f"network device {netdev!r} has no IPv4 address, so guests on it cannot have one",
            fix="check nohype_bridge_address and nohype_data_address in the inventory, then provision the host again",
        )
    return found


def address_in(document: object) -> ipaddress.IPv4Interface | None:
    """The first global IPv4 address in what `ip -json address show` printed."""
    for link in document if isinstance(document, list) else []:
        for item in link.get("addr_info", ()):
            if item.get("family") == "inet" and item.get("scope") == "global":
                return ipaddress.IPv4Interface(f"{item['local']}/{item['prefixlen']}")
    return None


def place(own: ipaddress.IPv4Interface, index: int) -> Placement:
    """The address of the guest with `index` (0 upwards) on the network in which the host is `own`."""
    address = ipaddress.IPv4Address((int(own.ip) & ~0xFF) | (10 + index))
    if index > MAX_INDEX or address not in own.network or address in (own.ip, own.network.broadcast_address):
        raise AgentError(f"no address for guest number {index} in {own}", fix="destroy guests, or widen the network")
    return Placement(str(address), str(own.ip), str(own.netmask))


def mac(*parts: str) -> str:
    """A locally administered unicast MAC address, the same for the same parts."""
    digest = hashlib.sha256("/".join(parts).encode()).digest()
    return ":".join(f"{byte:02x}" for byte in (0x02, *digest[:5]))


def guest_mac(name: str, root: Path = ROOT) -> str:
    """The MAC address of a virtio guest: of host and name."""
    return mac(text(root / "etc/machine-id"), name)


def add_tap(name: str) -> None:
    """Create the tap on the bridge; one of the same name is a leftover and is replaced."""
    delete_tap(name)
    run(["ip", "tuntap", "add", "dev", name, "mode", "tap"])
    run(["ip", "link", "set", "dev", name, "master", BRIDGE, "up"])


def delete_tap(name: str, root: Path = ROOT) -> None:
    if (root / "sys/class/net" / name).exists():
        run(["ip", "link", "delete", "dev", name])
