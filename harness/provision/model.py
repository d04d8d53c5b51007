"""What provisioning tells while it runs, and in the end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

START, OK, CHANGED, SKIPPED, FAILED, UNREACHABLE = "start", "ok", "changed", "skipped", "failed", "unreachable"


@dataclass(frozen=True)
class TaskEvent:
    """A task on a host began or ended.

    `outcome` is one of start, ok, changed, skipped, failed, unreachable; `message` is empty unless something went
    wrong; `seconds` is the task's wall time (0 at its start). A failed task may yet be rescued by its playbook: what
    counts is how `run_playbook` ends.
    """

    host: str
    task: str
    role: str
    outcome: str
    message: str
    seconds: float

    @property
    def title(self) -> str:
        return f"{self.role}: {self.task}" if self.role else self.task


OnEvent = Callable[[TaskEvent], None]


@dataclass(frozen=True)
class HostSummary:
    """How many tasks ended how on one host."""

    host: str
    ok: int  # those that changed something included
    changed: int
    skipped: int


@dataclass(frozen=True)
class PlaybookResult:
    """A playbook that went through on every host. `log` is Ansible's own output; `seconds` is wall time."""

    hosts: tuple[HostSummary, ...]
    seconds: float
    log: Path
