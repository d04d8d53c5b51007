"""The guests of this boot: one JSON file each under /run/nohype/guests, kept after the guest has ended.

/run is empty after a boot, and so are the kernel's exit counters: records and counters begin together.
"""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from .errors import AgentError
from .system import ROOT, text

MESSAGES = "messages.log"  # in a guest's folder: what the program says that holds it

# One row of the kernel's table: thread id, vCPU, exit code, count.
Row = tuple[int, int, int, int]


class Histogram(NamedTuple):
    """The kernel's table. `counts` by (thread id, vCPU, exit code); on Xen domains stand for threads."""

    counts: dict[tuple[int, int, int], int]
    dropped: int


class Engagement(NamedTuple):
    """Whether a guest still has its hypervisor (harness.guests.model.Engagement). All empty for ordinary stacks."""

    state: str = ""  # "engaged" (with a hypervisor, may leave it), "disengaged", "killed"
    refused: str = ""  # errno's name of the last disengagement the host refused
    # Of the kill: "exit", "asked" (or its QEMU was ended), "memory" (was taken away), "torn down"; of one that never
    # left its hypervisor "deadline" (it had not in time) or "refused" (the host did not let it)
    cause: str = ""
    vcpu: int = -1  # that made the VM exit below
    reason: str = ""  # of the exit, as the CPU vendor names it
    exit_info_1: str = ""  # hexadecimal, as are the next two
    exit_info_2: str = ""
    rip: str = ""
    lost: tuple[int, ...] = ()  # those of its cores that were not confirmed to have left it


class Record(NamedTuple):
    """A guest and what the host needs to know to attribute its exits and to clear it away."""

    name: str
    stack: str
    kind: str  # of its spec
    address: str
    mac: str
    vf: str
    image: str
    vcpus: int
    vcpu_threads: tuple[int, ...]  # none on Xen
    domain: int  # Xen's number for it; 0 on KVM
    cpus: tuple[int, ...]
    memory_mib: int
    started_at: float  # seconds since the epoch
    unit: str
    console: str
    number: int  # of the guest's address and tap among running guests
    tap: str  # "" for a VF
    pid: int  # of QEMU, or of the xl that watches the domain; 0 until it runs
    pid_start: str  # start time of that process: a later process with the same id is not the guest
    ready: bool  # False while `guest create` works on it
    stopped: bool
    base: tuple[Row, ...]  # counts of earlier threads that had the same ids
    final: tuple[Row, ...]  # the guest's own counts at its end (only when stopped)
    engagement: Engagement  # as last seen
    stub: tuple[Row, ...]  # exits after disengagement, as last seen: the kernel's table lacks them
    ending: bool  # its end is now the host's doing: of a guest without hypervisor nothing is looked at any more
    icr: str = ""  # of its spec, as is the next one
    disengage_seconds: float = 0

    @property
    def may_disengage(self) -> bool:
        return bool(self.engagement.state)

    def document(self, *, running: bool) -> dict[str, object]:
        """The guest as the control node knows it (harness.guests.model.Guest)."""
        return {
            "name": self.name,
            "stack": self.stack,
            "state": "running" if running else "stopped",
            "address": self.address,
            "mac": self.mac,
            "vf": self.vf,
            "image": self.image,
            "vcpu_threads": self.vcpu_threads,
            "cpus": self.cpus,
            "memory_mib": self.memory_mib,
            "started_at": self.started_at,
            "unit": self.unit,
            "console": self.console,
            "engagement": self.engagement._asdict(),
            "vcpus": self.vcpus,
            "icr": self.icr,
            "disengage_seconds": self.disengage_seconds,
        }


def folder(root: Path = ROOT) -> Path:
    return root / "run/nohype/guests"


def log_folder(name: str, root: Path = ROOT) -> Path:
    """What a guest and its programs said."""
    return root / "var/lib/nohype/guests" / name


@contextmanager
def lock(root: Path = ROOT) -> Iterator[None]:
    """Hold the host's guests alone: one `guest create` or `destroy` at a time; freed when the process ends."""
    path = root / "run/nohype/lock"
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def save(record: Record, root: Path = ROOT) -> None:
    """Write the record; a reader sees the old or the new one, never half of it."""
    path = folder(root) / f"{record.name}.json"
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps(record._asdict()), encoding="utf-8")
    draft.replace(path)


def forget(record: Record, root: Path = ROOT) -> None:
    (folder(root) / f"{record.name}.json").unlink(missing_ok=True)


def load_all(root: Path = ROOT) -> list[Record]:
    """Every record of this boot by start time, those of guests being created included."""
    records = []
    for path in folder(root).glob("*.json"):
        try:
            records.append(_parse(json.loads(path.read_text(encoding="utf-8"))))
        except FileNotFoundError:
            continue  # ended between listing and reading
        except (ValueError, TypeError, KeyError) as error:
            raise AgentError(
                f"guest record cannot be understood: {error}",
                where=str(path),
                fix="it was written by another version; reboot the host, or stop its guest's unit and delete the file",
            ) from None
    return sorted(records, key=lambda record: (record.started_at, record.name))


def is_running(record: Record, root: Path = ROOT) -> bool:
    """Whether the very process of the record is alive."""
    if record.stopped or not record.pid:
        return False
    return process_start(record.pid, root) == record.pid_start


def process_start(pid: int, root: Path = ROOT) -> str:
    """Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat); "" if dead or a zombie."""
    fields = text(root / f"proc/{pid}/stat").rpartition(")")[2].split()
    return "" if len(fields) < 20 or fields[0] in "ZX" else fields[19]


def _parse(document: dict[str, Any]) -> Record:
    for key in ("vcpu_threads", "cpus"):
        document[key] = tuple(document[key])
    for key in ("base", "final", "stub"):
        document[key] = tuple(tuple(row) for row in document[key])
    engagement = Engagement(*document["engagement"])
    document["engagement"] = engagement._replace(lost=tuple(engagement.lost))
    return Record(**document)
