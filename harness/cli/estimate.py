"""How long a quickstart takes and how much room it needs: the figures, and the arithmetic on them.

How the figures are measured: wall time of each step of a cold `nohype quickstart` (caches empty, package mirror near
by) on two otherwise idle cores of an x86_64 server, by the durations that it prints. Disk: what `du` counts when it is
fullest, scratch files included. They are rounded up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

MEASURED_CORES = 2


@dataclass(frozen=True)
class Part:
    """Something that is made once and then kept.

    `seconds` is wall time on MEASURED_CORES; it keeps one core busy, or all of them where it is `parallel`.
    `disk_gb` (10^9 bytes) lies in the cache.
    """

    title: str
    seconds: float
    disk_gb: float
    parallel: bool = False

    @property
    def core_seconds(self) -> float:
        return self.seconds * (MEASURED_CORES if self.parallel else 1)

    def on(self, cores: int) -> float:
        """Seconds it takes alone on so many cores."""
        return self.core_seconds / (cores if self.parallel else 1)


TOOLBOX = Part("toolbox", 45, 1.0)
GUEST_IMAGE = Part("guest image", 45, 1.5)
HOST_IMAGE = Part("host image", 90, 3.0)
KERNEL_ROOT = Part("compiler and kernel source", 40, 1.5)
KERNEL = Part("NoHype kernel", 480, 3.0, parallel=True)

BOOT_SECONDS = 25  # the rack's hosts, from power on to SSH; they boot at the same time
RACK_DISK_GB = 2.0  # overlays of the hosts' disks and a campaign's artifacts, in the state folder
CAMPAIGN_SECONDS = 500  # campaigns/quickstart.yml on a rack whose hosts are not provisioned yet
HOST_CORES = 2  # fewer real cores than this slow an emulated host down
# Beside the memory of the rack's hosts, which their description names.
MEMORY_TO_MAKE_GIB = 3.0  # image building beside compiling
MEMORY_TO_RUN_GIB = 1.0  # QEMU's own, the harness, Ansible, Prometheus


@dataclass(frozen=True)
class Estimate:
    """Seconds from the beginning to the campaign, and of the campaign."""

    preparation: float
    campaign: float

    @property
    def total(self) -> float:
        return self.preparation + self.campaign

    def left(self, passed: float) -> float:
        """In all, when `passed` seconds have gone by since the beginning and the campaign has not begun."""
        return max(self.preparation - passed, 0.0) + self.campaign


def estimate(
    rack: Sequence[Part], kernel: Sequence[Part], cores: int, *, boots: bool = True, campaign: bool = True
) -> Estimate:
    """The time of what is to be made on so many cores: parts of the rack beside those of the kernel, then the campaign.

    Each side takes its parts one after the other. Together they take as long as the longer one, and no less than the
    cores need for the work of both.
    """
    booting = BOOT_SECONDS if boots else 0
    sides = (sum(part.on(cores) for part in rack) + booting, sum(part.on(cores) for part in kernel))
    work = sum(part.core_seconds for part in (*rack, *kernel)) + booting
    slower = max(HOST_CORES / cores, 1.0)
    return Estimate(max(*sides, work / cores), CAMPAIGN_SECONDS * slower if campaign else 0.0)


def minutes(seconds: float) -> str:
    """`14 min`; never less than one."""
    return f"{max(round(seconds / 60), 1)} min"
