"""Long-running local processes of the rack, found again by pid file and killed only when they are still ours."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path

from harness.wait import until


def start(argv: Sequence[str], pid_file: Path, log: Path) -> None:
    """Start `argv` in a session of its own (Ctrl-C in the terminal does not reach it)."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            list(argv), stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    pid_file.write_text(f"{process.pid}\n", encoding="ascii")


def running(pid_file: Path, marker: str) -> int | None:
    """The process id in `pid_file` if that process lives and has `marker` on its command line, else None."""
    try:
        pid = int(pid_file.read_text(encoding="ascii"))
        words = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0]
    except (OSError, ValueError):
        return None
    # A pid file may outlive its process and the number may have gone to another one.
    return pid if marker in words and state != "Z" else None


def stop(pid_file: Path, marker: str, *, seconds: float = 5) -> None:
    """End the process politely, then by force; a process that is not ours is left alone."""
    pid = running(pid_file, marker)
    if pid is not None:
        for attempt in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.kill(pid, attempt)
                until(lambda: running(pid_file, marker) is None, seconds=seconds, what=f"end of process {pid}")
                break
            except ProcessLookupError:
                break
            except Exception:
                if attempt is signal.SIGKILL:
                    raise
    pid_file.unlink(missing_ok=True)
