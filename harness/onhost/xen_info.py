"""What Xen says of itself to its control domain, which cannot see the machine by its own means."""

from __future__ import annotations

from typing import NamedTuple

from .system import run


class Info(NamedTuple):
    """What Xen says of itself (`xl info`). Memory in MiB."""

    version: str
    scheduler: str
    commandline: str
    cores: int
    memory_mib: int
    free_mib: int
    hvm: bool
    hap: bool
    directio: bool  # PCI functions can be given to HVM guests: there is an IOMMU


def info() -> Info:
    """Ask Xen; it takes a moment."""
    return parse_info(run(["xl", "info"]))


def parse_info(said: str) -> Info:
    """What `xl info` printed."""
    fields = {key.strip(): value.strip() for key, _, value in (line.partition(":") for line in said.splitlines())}
    able = fields.get("virt_caps", "").split()
    return Info(
        version=fields["xen_version"],
        scheduler=fields["xen_scheduler"],
        commandline=fields["xen_commandline"],
        cores=int(fields["nr_cpus"]),
        memory_mib=int(fields["total_memory"]),
        free_mib=int(fields["free_memory"]),
        hvm="hvm" in able,
        hap="hap" in able,
        directio="hvm_directio" in able,
    )
