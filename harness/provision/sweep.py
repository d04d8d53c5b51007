"""End what a run of Ansible left behind.

Ansible's workers have sessions of their own, and connections kept for reuse outlive the run, so neither ends with
the process that ansible-runner started. All of them inherit its environment, which names the run's private folder.
"""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

from harness.wait import until


def sweep(variable: str, value: str, *, seconds: float = 10) -> None:
    """Kill every process of this user whose environment began with `variable`=`value`; return when none is left."""
    mark = f"{variable}={value}".encode()

    def kill() -> bool:
        found = _processes(mark)
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not found

    until(kill, seconds=seconds, what="end of Ansible's processes", interval=0.02)


def _processes(mark: bytes) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()  # empty for those that have ended but are not reaped yet
        except OSError:
            continue  # ended, or another user's
        if mark in environment.split(b"\0"):
            found.append(int(folder.name))
    return found
