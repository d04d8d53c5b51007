"""Do a campaign's guests fit its hosts? Asked before anything is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness import stacks
from harness.campaign.spec import Campaign
from harness.config import Loc
from harness.errors import InputError, UnavailableError
from harness.hosts.model import Capabilities, Host, PhysicalFunction, VirtualFunction
from harness.stacks.base import HUGEPAGE_KIB

_NO_IMAGE = "0" * 16  # no guest is made here


def check_resources(campaign: Campaign, found: Mapping[str, Capabilities]) -> None:
    """`found` are capabilities of the campaign's hosts, by name; hosts without are not checked.

    Raises InputError that names, for each host, stack and key, what is impossible.
    """
    problems: list[tuple[Loc, str]] = []
    for host in campaign.hosts:
        if host.name not in found:
            continue
        after = as_provisioned(found[host.name], host)
        for place, name in enumerate(campaign.spec.stacks):
            problems += [(loc, f"{host.name}: {text}") for loc, text in _problems(campaign, place, name, after)]
    if problems:
        lines = [campaign.wrong(loc, text) for loc, text in problems]
        rest = "".join(f"\n  {line.where}: {line.what}" for line in lines[1:])
        raise InputError(lines[0].what + rest, where=lines[0].where)


def as_provisioned(found: Capabilities, host: Host) -> Capabilities:
    """What the host can do once it is provisioned and booted anew: its inventory decides what is set aside."""
    variables = host.variables
    pages = int(str(variables.get("nohype_hugepages_2m", 0)))
    return replace(
        found,
        lost=(),
        isolated=tuple(core for core in _cores(str(variables.get("nohype_isolated_cores", ""))) if core < found.cores),
        hugepages_total={**found.hugepages_total, HUGEPAGE_KIB: pages},
        hugepages_free={**found.hugepages_free, HUGEPAGE_KIB: pages},
        physical_functions=tuple(_with_vfs(function, host) for function in found.physical_functions),
    )


def _problems(campaign: Campaign, place: int, name: str, after: Capabilities) -> list[tuple[Loc, str]]:
    stack = stacks.get(name)
    unable = stack.problems(after)
    if unable:
        return [(("stacks", place), f"cannot run {name}: {text}") for text in unable]
    size = campaign.spec.guest
    try:
        disengagement = campaign.spec.disengagement
        stack.guest_spec("check", size.vcpus, size.memory_mib, _NO_IMAGE, after, frozenset(), disengagement)
    except UnavailableError as error:
        # The stack's words name icr, vCPUs, memory or virtual functions; the nearest key is the one that asks for them.
        words = {" icr ": "icr", "vCPU": "vcpus", "core": "vcpus", "MiB": "memory_mib"}
        key = next((key for word, key in words.items() if word in error.what), "")
        loc: Loc = ("guest", key) if key else ("guest",)
        return [(loc, f"stack {name}: {error.what}")]
    return []


def _with_vfs(function: PhysicalFunction, host: Host) -> PhysicalFunction:
    wanted = str(host.variables.get("nohype_data_pf", ""))
    if wanted not in (function.netdev, function.address):
        return function
    count = min(int(str(host.variables.get("nohype_vfs", 0))), function.total_vfs)
    return replace(
        function, vfs=tuple(VirtualFunction("", number, "vfio-pci", None, "", "") for number in range(count))
    )


def _cores(text: str) -> tuple[int, ...]:
    """2-3,6 as (2, 3, 6)."""
    cores: list[int] = []
    for part in filter(None, text.split(",")):
        first, _, last = part.partition("-")
        cores += range(int(first), int(last or first) + 1)
    return tuple(cores)
