"""What a quickstart needs of this machine, and whether it is there: told and checked before anything is started."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from harness.cli.estimate import (
    GUEST_IMAGE,
    HOST_IMAGE,
    KERNEL,
    KERNEL_ROOT,
    MEMORY_TO_MAKE_GIB,
    MEMORY_TO_RUN_GIB,
    RACK_DISK_GB,
    TOOLBOX,
    Estimate,
    Part,
    estimate,
    minutes,
)
from harness.errors import UnavailableError
from harness.guests import image as guest_image
from harness.hosts.control_node import existing
from harness.kernel import image as kernel_image
from harness.kernel import recipe as kernel_recipe
from harness.paths import cache_dir, state_dir
from harness.rack import control
from harness.rack import image as host_image
from harness.rack.description import load_rack
from harness.report.words import count
from harness.toolbox.debian import root_ready
from harness.toolbox.root import toolbox_ready

GB, MIB, GIB = 10**9, 2**20, 2**30
_MEMINFO = Path("/proc/meminfo")


@dataclass(frozen=True)
class Room:
    """What one file system has to hold: bytes, `folder` lying in it."""

    folder: Path
    needed: float
    free: float


@dataclass(frozen=True)
class Needs:
    """`to_make` and `cached` are the parts of the rack and of the kernel; memory is in bytes."""

    to_make: tuple[Part, ...]
    cached: tuple[Part, ...]
    cores: int
    estimate: Estimate
    disk: tuple[Room, ...]
    memory_needed: float
    memory_free: float

    def check(self) -> None:
        """Raises UnavailableError where there is not enough room or memory."""
        for room in self.disk:
            if room.free < room.needed:
                raise UnavailableError(
                    f"{room.free / GB:.1f} GB free on the disk, {room.needed / GB:.1f} GB are needed",
                    where=str(room.folder),
                    fix="make room (docs/how-to/clear-caches.md), or set NOHYPE_CACHE and NOHYPE_STATE to folders on a "
                    "larger disk",
                )
        if self.memory_free < self.memory_needed:
            raise UnavailableError(
                f"{self.memory_free / GIB:.1f} GiB of memory are free, {self.memory_needed / GIB:.1f} GiB are needed",
                where=str(_MEMINFO),
                fix="end other programs, or give rack hosts less memory (memory_mib in inventory/rack/rack.yml)",
            )


def needs(rack_file: Path, *, kernel: bool, runs: bool = True) -> Needs:
    """What it takes to bring up the rack and to run the quickstart's campaign on it; changes nothing.

    `kernel`: some stack boots the NoHype kernel. Without `runs`, parts are made and nothing is switched on.
    """
    rack, of_kernel = _ready_rack(), _ready_kernel() if kernel else {}
    missing_rack = [part for part, ready in rack.items() if not ready]
    missing_kernel = [part for part, ready in of_kernel.items() if not ready]
    missing = (*missing_rack, *missing_kernel)
    cores = len(os.sched_getaffinity(0))
    on = control.switched_on()
    off = [host for host in load_rack(rack_file).hosts if host.name not in on] if runs else []
    beside = max(MEMORY_TO_MAKE_GIB if missing else 0, MEMORY_TO_RUN_GIB if runs else 0)
    state_gb = RACK_DISK_GB if off else 0
    return Needs(
        to_make=missing,
        cached=tuple(part for part in (*rack, *of_kernel) if part not in missing),
        cores=cores,
        estimate=estimate(missing_rack, missing_kernel, cores, boots=bool(off), campaign=runs),
        disk=_rooms({cache_dir(): sum(part.disk_gb for part in missing), state_dir(): state_gb}),
        memory_needed=beside * GIB + sum(host.memory_mib for host in off) * MIB,
        memory_free=_free_memory(),
    )


def needs_view(needs: Needs) -> RenderableType:
    """The needs in a few lines."""
    table = Table(box=None, show_header=False, pad_edge=False)
    total = needs.estimate.total
    time = f"about {minutes(total)} on {count(needs.cores, 'core')}" if total else "none: all is in the cache"
    table.add_row("time", time)
    for room in needs.disk:
        text = f"{room.needed / GB:.1f} GB in {room.folder}, {room.free / GB:.0f} GB are free"
        table.add_row("disk", Text(text, overflow="fold"))
    table.add_row("memory", f"{needs.memory_needed / GIB:.1f} GiB, {needs.memory_free / GIB:.1f} GiB are free")
    for title, parts in (("to make", needs.to_make), ("there already", needs.cached)):
        if parts:
            table.add_row(title, ", ".join(part.title for part in parts))
    return table


def _ready_rack() -> Mapping[Part, bool]:
    guests = guest_image.ready()
    return {
        TOOLBOX: toolbox_ready(),
        GUEST_IMAGE: guests,
        HOST_IMAGE: guests and host_image.ready(guest_image.current().folder),
    }


def _ready_kernel() -> Mapping[Part, bool]:
    if kernel_image.ready():
        return {KERNEL: True}  # nobody needs its compiler then
    return {KERNEL_ROOT: root_ready(kernel_recipe.chosen().builder), KERNEL: False}


def _rooms(needed_gb: Mapping[Path, float]) -> tuple[Room, ...]:
    """One for each file system; folders of the same one share its room."""
    rooms: dict[int, Room] = {}
    for folder, gb in needed_gb.items():
        there = existing(folder)
        device = there.stat().st_dev
        before = rooms.get(device, Room(folder, 0, shutil.disk_usage(there).free))
        if gb:
            rooms[device] = Room(folder if not before.needed else before.folder, before.needed + gb * GB, before.free)
    return tuple(rooms.values())


def _free_memory() -> float:
    """Bytes that programs can have without swapping (proc_meminfo(5): MemAvailable)."""
    found = re.search(r"^MemAvailable:\s+(\d+) kB$", _MEMINFO.read_text(encoding="ascii"), re.MULTILINE)
    assert found is not None  # since Linux 3.14
    return int(found[1]) * 1024
