"""The rack file: what the emulated rack consists of (docs/reference/rack-file.md)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from harness.config import FileModel, load
from harness.paths import repo_root
from harness.rack.layout import MAX_HOSTS, Slot

# Seen: a host that works keeps one real core busy, one that boots more; two on two cores took minutes to boot Xen.
_REAL_CORES = 2


class HostDescription(FileModel):
    """One emulated server."""

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{0,20}$")
    cores: int = Field(default=4, ge=2, le=16)
    memory_mib: int = Field(default=3072, ge=1024, le=65536)
    vfs: int = Field(default=4, ge=0, le=7)  # QEMU's igb, like the 82576, has 7 VFs beside the PF in use
    isolated_cores: int = Field(default=2, ge=0)  # the last ones; kvm-tuned guests get them to themselves
    hugepages_2m: int = Field(default=320, ge=0)

    @model_validator(mode="after")
    def _fits(self) -> HostDescription:
        if self.isolated_cores >= self.cores:
            raise ValueError(f"isolated_cores: {self.isolated_cores} of {self.cores} cores leaves none for the host")
        if self.hugepages_2m * 2 > self.memory_mib - 768:
            raise ValueError(
                f"hugepages_2m: {self.hugepages_2m} pages are {self.hugepages_2m * 2} MiB; "
                f"of memory_mib {self.memory_mib} at least 768 MiB must stay for the host"
            )
        return self

    @property
    def isolated_list(self) -> str:
        """Kernel CPU list, e.g. `2-3`; empty when nothing is isolated."""
        if not self.isolated_cores:
            return ""
        first, last = self.cores - self.isolated_cores, self.cores - 1
        return str(first) if first == last else f"{first}-{last}"


class RackDescription(FileModel):
    """The whole rack. `deterministic` runs every host under -icount: time then counts instructions."""

    deterministic: bool = False
    iommu: Literal["amd", "intel"] = (
        "amd"  # AMD-Vi, which goes with the CPU; or VT-d, which no real server has beside it
    )
    network: int = Field(default=10, ge=1, le=254)  # the hosts' addresses are 127.0.<network>.11 and up
    hosts: tuple[HostDescription, ...] = Field(min_length=1, max_length=MAX_HOSTS)

    @field_validator("hosts", mode="before")
    @classmethod
    def _as_tuple(cls, value: object) -> object:
        return tuple(value) if isinstance(value, list) else value

    @model_validator(mode="after")
    def _names_differ(self) -> RackDescription:
        names = [host.name for host in self.hosts]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"hosts: name {sorted(twice)[0]!r} is given twice")
        return self

    def slots(self) -> list[Slot]:
        """Every host's place, in the file's order."""
        return [Slot(number, host.name, self.network) for number, host in enumerate(self.hosts, start=1)]

    def crowded(self, cores: int) -> bool:
        """Whether so many hosts on so few real `cores` will be in each other's way, to where their timeouts fire."""
        return len(self.hosts) > 1 and cores < _REAL_CORES * len(self.hosts)


def default_rack_file() -> Path:
    return repo_root() / "inventory" / "rack" / "rack.yml"


def load_rack(path: Path) -> RackDescription:
    """Read a rack file. Raises InputError naming file, line and key."""
    return load(path, RackDescription)[0]
