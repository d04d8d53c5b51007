"""Processes that tests start, and what becomes of them when a test run is killed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def bound_to_us(argv: Sequence[str]) -> list[str]:
    """The argument list that runs `argv` so that the kernel kills it when this process ends, however that comes.

    It needs no root and keeps the process id. What the program starts itself is not reached.
    """
    return ["setpriv", "--pdeathsig", "KILL", *argv]


def with_word(word: str) -> list[str]:
    """Command lines of running processes that contain `word`."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if word in line:
            found.append(line)
    return found
