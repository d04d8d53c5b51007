"""Guests as transient systemd units: whatever ends the program that asked, the unit is found by its name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from . import records
from .errors import AgentError
from .records import Record
from .system import run


def argv(unit: str, properties: Iterable[str], command: Sequence[str]) -> list[str]:
    """`systemd-run` that starts the command as the unit."""
    return [
        *("systemd-run", "--quiet", "--collect", "--expand-environment=no", f"--unit={unit}"),
        *(f"--property={each}" for each in properties),
        "--",
        *command,
    ]


def start(command: Sequence[str], record: Record, root: Path) -> Record:
    """Run what `argv` made; the record with the unit's main process. Raises AgentError where that ended at once."""
    run(command)
    pid = int(run(["systemctl", "show", "--property=MainPID", "--value", record.unit]).strip() or "0")
    begun = records.process_start(pid, root)
    if not begun:
        raise AgentError("it ended at once", where=record.unit)
    return record._replace(pid=pid, pid_start=begun)
