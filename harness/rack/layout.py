"""Where the emulated rack keeps its things, and the addresses it gives its hosts.

Every address lies in 127.0.N.0/24, N being the rack file's `network`: the hosts look like machines with addresses of
their own, yet nothing outside this control node can reach them and no interface, route or namespace has to be made.
Two racks with different networks (and state folders) can be up side by side.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from harness.paths import state_dir

IPMI_PORT = 623  # RMCP, IPMI 2.0 specification section 13.1.2
BMC_VM_PORT = 9002  # where QEMU's ipmi-bmc-extern meets ipmi_sim
CONSOLE_PORT = 2323
EXPORTER_PORT = 9177
MAX_HOSTS = 8


def rack_dir() -> Path:
    return state_dir() / "rack"


def rack_inventory() -> Path:
    return rack_dir() / "inventory" / "hosts.yml"


@dataclass(frozen=True)
class Slot:
    """The place of one host in the rack; `number` counts from 1, `network` is the rack file's."""

    number: int
    name: str
    network: int

    @property
    def folder(self) -> Path:
        return rack_dir() / "hosts" / self.name

    @property
    def address(self) -> str:
        return f"127.0.{self.network}.{10 + self.number}"

    @property
    def bmc_address(self) -> str:
        return f"127.0.{self.network}.{110 + self.number}"

    @property
    def disk(self) -> Path:
        return self.folder / "disk.qcow2"

    @property
    def console_log(self) -> Path:
        return self.folder / "console.log"

    @property
    def monitor(self) -> Path:
        return self.folder / "monitor.sock"

    @property
    def qemu_pid_file(self) -> Path:
        return self.folder / "qemu.pid"

    @property
    def resume_file(self) -> Path:
        """Names the snapshot that the next power-on restores instead of booting."""
        return self.folder / "resume"
