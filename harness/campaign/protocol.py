"""What the engine needs from hosts. `harness.campaign.lab` does it with the harness's other rooms."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from harness.exits.model import ExitReading
from harness.guests.model import Guest
from harness.results.model import Fingerprint, GuestTotals
from harness.workloads.model import WorkloadResult
from harness.workloads.spec import Workload


class Tell(Protocol):
    """Takes what is being done now, in a few words; once more, with a `detail`, for each part of it."""

    def __call__(self, text: str, detail: str = "") -> None: ...


@dataclass(frozen=True)
class HostState:
    """Which boot a host is in, and of which stack ("" for none). With `lost` cores it must not be measured on."""

    boot_id: str
    stack: str
    lost: tuple[int, ...] = ()


class Bench(Protocol):
    """One connection to a host, from preparing it to its guests.

    Methods raise HarnessErrors; HostUnreachableError: the host is lost.
    """

    def prepare(self, stack: str, stacks: Sequence[str], folder: Path, tell: Tell) -> None:
        """Install what the stack needs, where it is not there yet, and at once what others of `stacks` still need.

        What those lack is no error of this one. Logs go to `folder`.
        """
        ...

    def boot(self, stack: str, tell: Tell, *, fresh: bool) -> float:
        """Boot into the stack; with `fresh` also a host that runs it already. Seconds of the reboot, 0 without one."""
        ...

    def state(self) -> HostState: ...

    def fingerprint(self, vcpus: int, memory_mib: int) -> Fingerprint:
        """What the host is, and what guests of that size are given on it."""
        ...

    def ask(self, guest: Guest) -> Mapping[str, str]:
        """What a guest that answers says of itself; facts of the fingerprint too."""
        ...

    def exits(self) -> ExitReading:
        """The counters of all guests since the host's boot."""
        ...

    def guests(self) -> tuple[Guest, ...]:
        """All since the host's boot, ended ones included."""
        ...

    def create(self, stack: str, name: str, vcpus: int, memory_mib: int) -> Guest:
        """Raises HostError where the host has lost a core, on which an earlier guest may still run."""
        ...

    def await_guest(self, guest: Guest, seconds: float) -> float:
        """Wait for the guest's SSH server; the seconds waited."""
        ...

    def destroy(self, guest: Guest) -> None:
        """End it; its counters stay."""
        ...

    def run(
        self, workload: Workload, guest: Guest, seconds: int, folder: Path, at_border: Callable[[], None]
    ) -> WorkloadResult:
        """`at_border` is called right before the workload begins and right after it ended."""
        ...

    def keep_console(self, guest: Guest, folder: Path) -> None:
        """Put the guest's console into the folder."""
        ...

    def keep_log(self, folder: Path) -> None:
        """Put the host's kernel log into the folder."""
        ...

    def close(self) -> None: ...


class Lab(Protocol):
    """The hosts of a campaign, by name."""

    def open(self, host: str) -> Bench: ...

    def power_cycle(self, host: str, seconds: float) -> None:
        """By the host's BMC; returns when SSH answers, within `seconds`."""
        ...

    def disagreements(self, host: str, totals: Sequence[GuestTotals]) -> dict[str, list[str]]:
        """For each guest, what Prometheus holds otherwise. Asked while the host still runs."""
        ...
